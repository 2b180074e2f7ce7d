"""What a release of a model consists of, as a value: the one source of its description in every standard's terms.

A release is a tree of files; all paths here are relative to its root, with `/` between the parts:

    original/NAME…                 the preserved original, as it lies in `models_original/` (a folder for a package)
    float/MODEL.mlmodel            the float model, or `.mlpackage.zip`, and its audit beside it (`.json`)
    variants/MODEL_SCHEME.mlmodel  the variants, likewise
    evaluation/MODEL_SCHEME.json   the figures of each
    code/NAME.py                   functions of the user's that the making of a variant calls
    workflow/Snakefile             the workflow that made all this, with what it includes beside it as in the project,
                                   so `workflow/workflow/rules/quantize.smk` and `workflow/scripts/quantize.py`
    report/index.html              the page, for this model alone
    summary.tsv, judgement.json, data.json, original.json, conversion.json
    release.json                   this record
    bom.cdx.json                   the bill of materials
    ro-crate-metadata.json         the description for everybody else
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1  # of the record; another number is another meaning


@dataclass(frozen=True)
class ArchivedFile:
    """A file of a release: its path, its SHA-256 in hexadecimal, and its size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Original:
    """The preserved original: its name, its files, and what its owner said of it (empty where nothing was said)."""

    name: str
    files: tuple[ArchivedFile, ...]
    origin: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Made:
    """A model that was made of the original: the float model (scheme `float`) or a variant.

    Attributes:
        scheme: `float`, or the name of the scheme, as `kmeans_4_group16`.
        model: the delivered file.
        audit: what each of its tensors stores.
        evaluation: the file with its figures; None if it was not evaluated.
        settings: what its making hangs on beside its input: for the float model the conversion, for a variant the
            selection of tensors.
        functions: the user's functions that it calls, as `code/FILE.py:FUNCTION`.
        command: that makes this file again in the project.
        figures: the evaluation's most telling numbers by column of the table of variants, as `psnr_db`, with the ends
            of their confidence intervals where they have one, `psnr_db_low` and `psnr_db_high`.
    """

    scheme: str
    model: ArchivedFile
    audit: ArchivedFile
    evaluation: ArchivedFile | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    command: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Software:
    """What made a release.

    Attributes:
        requant: its version.
        code: the digest of its code that conversion and quantization hang on (`requant.fingerprint`).
        lock: the SHA-256 of the lock file of its dependencies; empty where it is not known.
        python: its version.
        libraries: versions by the name of the distribution: coremltools, numpy, onnxruntime, snakemake and what else
            counts.
    """

    requant: str
    code: str
    lock: str
    python: str
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Release:
    """The record of a release.

    Attributes:
        model: the model's name in the configuration.
        name: of the release, as `1.0`.
        created: when, in ISO 8601 with the offset from UTC, in seconds.
        type: `NeuralNetwork`, `ML Program` or what else the float model is.
        original: the preserved original.
        float_model: what was made of it by conversion.
        variants: what was made of the float model.
        recommended: the scheme that the judgement recommends; None if there is none.
        others: further files, as the page, the tables, the user's code, the workflow.
        software: what made it.
    """

    model: str
    name: str
    created: str
    type: str
    original: Original
    float_model: Made
    variants: tuple[Made, ...]
    recommended: str | None
    others: tuple[ArchivedFile, ...]
    software: Software

    def to_table(self) -> dict[str, Any]:
        """Return the record for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @property
    def files(self) -> tuple[ArchivedFile, ...]:
        """Return all files that the record names; not the record and the descriptions that are made of it."""
        made = [
            file for each in (self.float_model, *self.variants) for file in (each.model, each.audit, each.evaluation)
        ]
        return (*self.original.files, *(file for file in made if file), *self.others)
