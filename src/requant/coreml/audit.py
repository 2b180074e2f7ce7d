"""The audit of a model: what its file really stores, tensor by tensor, held against the float model.

It is made from the bytes that were written, read back, not from what was meant to be written.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.deployment import oldest_system
from requant.coreml.inventory import stored_weights
from requant.coreml.model import Model
from requant.coreml.weights import StoredWeight, bits_per_weight
from requant.errors import RequantError


def signal_to_noise(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return `10 log10(power of the reference / power of the difference)` in dB; infinite where there is none."""
    wanted = np.asarray(reference, np.float64)
    noise = float(np.square(np.asarray(other, np.float64) - wanted).sum())
    signal = float(np.square(wanted).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def audit(variant: Model, float_model: Model, scheme: str) -> dict[str, Any]:
    """Return what a variant stores.

    Returns:
        The scheme, bits per weight (tables and scales counted in), the oldest systems, the SNR of all weights together
        in dB, and for each tensor its name, shape, form, bits and SNR. An infinite SNR (nothing changed) is None.

    Raises:
        RequantError: if a tensor is missing, has another shape, or is not finite.
    """
    before = {weight.name: weight for weight in stored_weights(float_model)}
    after = stored_weights(variant)
    missing = sorted(set(before) - {weight.name for weight in after})
    if missing:
        raise RequantError(f"the variant {scheme} of {float_model.path} lost the tensor {missing[0]}.")
    tensors = [_tensor(before[weight.name], weight, scheme) for weight in after]
    system = oldest_system(variant)
    return {
        "scheme": scheme,
        "bits_per_weight": round(bits_per_weight(after), 4),
        "ios": system.ios,
        "macos": system.macos,
        "spec_version": system.spec_version,
        "weights": sum(weight.values.size for weight in after),
        "weight_snr_db": _all_snr(before, after),
        "tensors": tensors,
    }


def _tensor(before: StoredWeight, after: StoredWeight, scheme: str) -> dict[str, Any]:
    if before.values.shape != after.values.shape or not np.isfinite(after.values).all():
        raise RequantError(f"the tensor {after.name} came out of {scheme} damaged.")
    return {
        "name": after.name,
        "shape": list(after.values.shape),
        "form": after.form,
        "bits": after.bits,
        "bytes": after.stored_bytes,
        "snr_db": _finite(signal_to_noise(before.values, after.values)),
    }


def _all_snr(before: dict[str, StoredWeight], after: list[StoredWeight]) -> float | None:
    wanted = [before[weight.name].values.reshape(-1) for weight in after]
    found = [weight.values.reshape(-1) for weight in after]
    return _finite(signal_to_noise(np.concatenate(wanted), np.concatenate(found))) if after else None


def _finite(decibels: float) -> float | None:
    return round(decibels, 4) if math.isfinite(decibels) else None
