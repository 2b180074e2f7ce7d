"""What a job did in a line or two with figures, from the record that it wrote; for its log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from requant.progress import amount

Record = Mapping[str, Any]


def verified(original: Record) -> str:
    """Return what was found of an original."""
    return f"{original['original']}: {_count(len(original['sha256']), 'file')}, {_size(original['bytes'])}, as locked"


def described(data: Record) -> str:
    """Return what the evaluation data is."""
    return f"{data['description']}, {_count(len(data['sha256']), 'file')}"


def stored(audit: Record, path: Path) -> str:
    """Return what a float model or a variant became, and which tensors did not take its scheme, and why."""
    bits = audit["bits_per_weight"]
    figures = [
        f"{path}: {_size(path.stat().st_size)}",
        *([f"{bits:.2f} bits per weight"] if bits is not None else []),
        *([] if audit["weight_snr_db"] is None else [f"weight SNR {audit['weight_snr_db']:.1f} dB"]),
        f"from iOS {audit['ios']}, macOS {audit['macos']}",
    ]
    left = [tensor for tensor in audit["tensors"] if tensor["reason"]]
    lines = [", ".join(figures)]
    if left:
        lines.append(f"{len(left)} of {_count(len(audit['tensors']), 'tensor')} did not take {audit['scheme']}:")
        lines += [f"  {tensor['name']}: {tensor['form']}; {tensor['reason']}" for tensor in left]
    return "\n".join(lines)


def evaluated(evaluation: Record) -> str:
    """Return the size of a variant and the main figure of each of its outputs."""
    size = f"{evaluation['file']}: {_size(evaluation['bytes'])}, {evaluation['ratio']:.1f} times smaller"
    return "\n".join([size, *(f"  {name}: {_figures(each)}" for name, each in evaluation["outputs"].items())])


def raised(proof: Record) -> str:
    """Return what the proof that a program was raised unchanged came to."""
    if not proof["samples"]:
        return f"it has the operator set of iOS {proof['ios']} already; nothing had to be raised"
    equal = "equal" if proof["equal"] else "equal up to rounding"
    samples = _count(proof["samples"], "sample")
    return f"raised from iOS {proof['from_ios']} to iOS {proof['ios']}: the outputs are {equal} on {samples}"


def _figures(output: Record) -> str:
    shown = {
        "psnr_db": ("PSNR", "{:.1f} dB"),
        "snr_db": ("SNR", "{:.1f} dB"),
        "agreement": ("agreement", "{:.1%}"),
        "accuracy": ("accuracy", "{:.1%}"),
        "max_error": ("max error", "{:.3g}"),
    }
    figures = ", ".join(
        f"{title} {form.format(output[name]) if output[name] is not None else 'infinite (equal)'}"
        for name, (title, form) in shown.items()
        if name in output
    )
    return figures or "no figures"


def _size(count: int) -> str:
    return " ".join(amount(count))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
