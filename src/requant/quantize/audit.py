from requant.coreml.audit import audit, signal_to_noise  # noqa
