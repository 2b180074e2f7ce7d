"""Quantize Core ML models from preserved originals, run and judge every variant, on any machine.

The library behind the workflow. It knows nothing of Snakemake: plain functions on plain values. Its rooms, from the
ground floor up, are `coreml`, `originals`, `convert`, `quantize`, `runtime`, `evaluate`, `report` and
`configuration`; each imports only from those before it.
"""

__version__ = "0.1.0"
