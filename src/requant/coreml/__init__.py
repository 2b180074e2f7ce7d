"""One Core ML model as a value: its files, its bytes, its weights, its inputs and outputs, and who can load it.

Nothing is imported here, so that `requant.coreml.kind` stays usable without the second that `coremltools` takes.
"""
