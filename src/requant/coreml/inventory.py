"""What a model stores, whichever kind it is."""

from __future__ import annotations

from requant.coreml import network, program
from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.weights import COMPRESSED, StoredWeight
from requant.errors import RequantError


def stored_weights(model: Model) -> list[StoredWeight]:
    """Return every weight tensor of a model, decoded, with how it is stored."""
    if model.kind is Kind.NEURAL_NETWORK:
        return network.stored_weights(model.spec)
    return program.stored_weights(model)


def require_float(model: Model) -> None:
    """Make sure that no weight of a model is quantized, palettized or pruned already.

    Raises:
        RequantError: if one is, naming the tensors and their bits.
    """
    compressed = [weight for weight in stored_weights(model) if weight.form in COMPRESSED]
    if compressed:
        shown = [f"  {w.name}: {w.form}" + (f", {w.bits} bits" if w.bits else "") for w in compressed[:8]]
        more = [f"  and {len(compressed) - 8} more"] if len(compressed) > 8 else []
        raise RequantError(
            f"{model.path} is quantized already. Keep the float original; a quantized model cannot be quantized again. "
            "Found:\n" + "\n".join(shown + more)
        )
