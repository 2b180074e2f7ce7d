"""The audit of a model: what its file really stores, tensor by tensor, held against the float model.

It is made from the bytes that were written, read back, not from what was meant to be written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.deployment import oldest_system
from requant.coreml.inventory import each_weight
from requant.coreml.model import Model
from requant.coreml.reading import reading
from requant.coreml.weights import StoredWeight
from requant.errors import RequantError
from requant.progress import Progress

UNTOUCHED = "untouched"
Requests = Mapping[str, tuple[str, str]]


def signal_to_noise(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return `10 log10(power of the reference / power of the difference)` in dB; infinite where there is none."""
    wanted = np.asarray(reference, np.float64)
    noise = float(np.square(np.asarray(other, np.float64) - wanted).sum())
    return decibels(float(np.square(wanted).sum()), noise)


def decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB; infinite where there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def audit(variant: Model, float_model: Model, scheme: str, requests: Requests | None = None) -> dict[str, Any]:
    """Return what a variant stores.

    Args:
        variant: read back from the bytes that are delivered.
        float_model: what it was made from.
        scheme: the name of what was done.
        requests: by the name of a tensor, what was asked for it (`untouched` for nothing) and why, where that is not
            the scheme; None where nothing was asked.

    Returns:
        The scheme, what type of model it is, bits per weight (tables and scales counted in; None where there are no
        weights), the oldest systems, the SNR in dB of all weights that can be quantized together (statistics of a
        normalization would outweigh them), how many tensors stayed untouched, and for each tensor its name, shape, what
        was asked for and why, form, bits, bytes, bits per weight, SNR, largest error and share of zeros. An infinite
        SNR (nothing changed) is None.

    Raises:
        RequantError: if a tensor is missing, has another shape, is not finite, or was not to be touched and is not
            identical to the bit.
    """
    with reading(variant.path):
        return _audited(variant, float_model, scheme, requests or {})


def _audited(variant: Model, float_model: Model, scheme: str, requests: Requests) -> dict[str, Any]:
    tensors = []
    progress = Progress(f"{float_model.path.name}: auditing {scheme}", sum(map(len, float_model.files.values())))
    powers = np.zeros(2)
    for before, after in zip_longest(each_weight(float_model), each_weight(variant)):
        if before is None or after is None or before.name != after.name:
            raise RequantError(f"the variant {scheme} of {float_model.path} lost the tensor {(before or after).name}.")
        record, signal, noise = _tensor(before, after, scheme, requests.get(after.name))
        tensors.append(record)
        powers += (signal, noise) if after.quantizable else 0
        progress.advance(before.stored_bytes)
    system = oldest_system(variant)
    count = sum(int(np.prod(record["shape"])) for record in tensors)
    stored = sum(record["bytes"] for record in tensors)
    return {
        "scheme": scheme,
        "type": variant.type,
        "bits_per_weight": round(8 * stored / count, 4) if count else None,
        "ios": system.ios,
        "macos": system.macos,
        "spec_version": system.spec_version,
        "weights": count,
        "weight_snr_db": _finite(decibels(*powers)) if tensors else None,
        "untouched": sum(record["requested"] == UNTOUCHED for record in tensors),
        "tensors": tensors,
    }


def _tensor(
    before: StoredWeight, after: StoredWeight, scheme: str, request: tuple[str, str] | None
) -> tuple[dict[str, Any], float, float]:
    """Return the record of a tensor, the power of its numbers and that of their errors."""
    requested, reason = request or ("", "")
    if before.values.shape != after.values.shape or not np.isfinite(after.values).all():
        raise RequantError(f"the tensor {after.name} came out of {scheme} damaged.")
    if requested == UNTOUCHED and not _identical(before, after):
        raise RequantError(f"the tensor {after.name} was not to be touched, but came out of {scheme} changed.")
    signal, noise, largest = _errors(before.values, after.values)
    count = max(after.values.size, 1)  # a tensor may be empty
    record = {
        "name": after.name,
        "shape": list(after.values.shape),
        "requested": requested,
        "reason": reason,
        "form": after.form,
        "bits": after.bits,
        "bytes": after.stored_bytes,
        "bits_per_weight": round(8 * after.stored_bytes / count, 4),
        "snr_db": _finite(decibels(signal, noise)),
        "max_error": largest,
        "zeros": round(float(1 - np.count_nonzero(after.values) / count), 6) if after.values.size else 0.0,
    }
    return record, signal, noise


def _identical(before: StoredWeight, after: StoredWeight) -> bool:
    same_form = (before.form, before.bits, before.stored_bytes) == (after.form, after.bits, after.stored_bytes)
    return same_form and np.array_equal(before.values.view(np.uint32), after.values.view(np.uint32))


def _errors(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the power of some numbers, that of their errors, and the largest error, in little memory."""
    signal = noise = largest = 0.0
    wanted, found = before.reshape(-1), after.reshape(-1)
    step = 1 << 18
    for start in range(0, wanted.size, step):
        numbers = wanted[start : start + step].astype(np.float64)
        error = found[start : start + step].astype(np.float64) - numbers
        signal += float(np.square(numbers).sum())
        noise += float(np.square(error).sum())
        largest = max(largest, float(np.abs(error).max()))
    return signal, noise, largest


def _finite(number: float) -> float | None:
    return round(number, 4) if math.isfinite(number) else None
