"""What users ran before there was a workflow: one script that quantizes in a loop and saves, and evaluates nothing.

    python -m benchmarks.coremltools_loop PLAN FOLDER

PLAN is JSON: the schemes by model. coremltools' own functions do all the work. What they refuse is told and left out,
to the loop's advantage; forms of iOS 18's operator set are among that, for a program made for an older system.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.quantize import coremltools_config

LOOKUP_TABLE = "config/lookup_tables/panter_dite.py"


def quantize_all(plan: dict[str, list[str]], folder: Path) -> dict[str, str]:
    """Write all variants of all models; return what was refused, and how."""
    import coremltools as ct

    refused = {}
    for path, schemes in plan.items():
        model = ct.models.MLModel(path, skip_model_load=True)
        for scheme in schemes:
            target = folder / f"{Path(path).stem}_{scheme}{Path(path).suffix}"
            try:
                _write(model, scheme, target)
            except Exception as error:  # whatever it raises is the result
                refused[target.name] = type(error).__name__
    return refused


def _write(model: Any, scheme: str, target: Path) -> None:
    from coremltools.models.neural_network.quantization_utils import quantize_weights

    if target.suffix == ".mlmodel":
        mode, _, bits = scheme.rpartition("_")
        options = {"lut_function": _table_function()} if mode == "custom_lut" else {}
        quantize_weights(model, int(bits), mode, **options).save(str(target))
        return
    compress, config = _custom_config(scheme) if scheme.startswith("custom_lut") else coremltools_config(scheme)
    compress(model, config=config).save(str(target))


def _custom_config(scheme: str) -> tuple[Any, Any]:
    """Return coremltools' function for tables of one's own, and its configuration with the demo's table."""
    from coremltools.optimize import coreml as cto

    bits, function = int(scheme.rpartition("_")[2]), _table_function()
    op = cto.OpPalettizerConfig(mode="custom", lut_function=lambda weights: function(bits, weights))
    return cto.palettize_weights, cto.OptimizationConfig(global_config=op)


def _table_function() -> Any:
    import runpy

    return runpy.run_path(LOOKUP_TABLE)["panter_dite"]


def main() -> None:
    """Print what was refused as JSON."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    printed, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: PTH123, SIM115  coremltools prints
    refused = quantize_all(plan, Path(sys.argv[2]))
    sys.stdout = printed
    print(json.dumps({"made": sum(map(len, plan.values())) - len(refused), "refused": refused}))


if __name__ == "__main__":
    main()
