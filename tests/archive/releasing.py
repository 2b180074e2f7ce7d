"""Releases for the tests: small real models, converted, quantized, run and judged, laid out as a release's folder."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import coremltools
import numpy as np

from requant.archive.bill_of_materials import NAME as BILL
from requant.archive.bill_of_materials import bill_of_materials
from requant.archive.crate import NAME as CRATE
from requant.archive.crate import crate_metadata
from requant.archive.record import ArchivedFile, Made, Original, Release, Software
from requant.convert.conversion import make_float_model
from requant.coreml.model import to_bytes
from requant.evaluate.comparison import evaluate
from requant.evaluate.data import describe_data, load_data
from requant.evaluate.data.settings import read_data_option
from requant.evaluate.judgement import flat_figures
from requant.evaluate.outputs import run_all
from requant.fingerprint import fingerprint
from requant.originals import lock_original, read_lock, verify
from requant.quantize.scheme import Scheme
from requant.quantize.variant import make_variant
from requant.records import write_record
from requant.report.summary import summarize, write_summary
from requant.runtime import load
from tests.workflow.project import DIGITS, REPOSITORY, picture_network

TABLE = """import numpy as np


def table(bits, weights):
    entries = np.linspace(weights.min(), weights.max(), 2**bits, dtype=np.float32)
    return entries, np.abs(weights.ravel()[:, None] - entries).argmin(1).astype(np.uint8)
"""
TABLE_FUNCTION = "code/my tables.py:table"
SELECTION = {"weight_threshold": 0, "rules": [{"type": "innerProduct", "store": "untouched"}], "fallback": "float16"}


def archived(folder, path):
    data = (folder / path).read_bytes()
    return ArchivedFile(path, hashlib.sha256(data).hexdigest(), len(data))


class Maker:
    """Makes the files of one model's release in a folder."""

    def __init__(self, folder, model, original):
        self.folder, self.model = folder, model
        self.original = folder / "original" / original.name
        self.original.parent.mkdir(parents=True)
        if original.is_dir():
            shutil.copytree(original, self.original)
        else:
            shutil.copy(original, self.original)
        lock_original(self.original)
        self.record = verify(self.original, read_lock(self.original.parent))
        write_record(folder / "original.json", self.record)
        (self.original.parent / "SHA256SUMS").unlink()
        self.data = read_data_option(None)
        write_record(folder / "data.json", describe_data(self.data))
        self.evaluations = []

    def float_model(self, suffix):
        path = self.folder / "float" / f"{self.model}{suffix}"
        path.parent.mkdir()
        audit = make_float_model(self.original, self.record, path)
        return self._made("float", path, audit, {"compute_precision": "float32", "inputs": None})

    def variant(self, float_model, scheme, functions=()):
        path = self.folder / "variants" / f"{self.model}_{scheme}{''.join(Path(float_model.model.path).suffixes)}"
        path.parent.mkdir(exist_ok=True)
        function = f"{self.folder}/{functions[0]}" if functions else None
        audit = make_variant(self.folder / float_model.model.path, Scheme.parse(scheme), path, function)
        command = f"snakemake --cores all results/{self.model}/variants/{path.name}"
        made = self._made(scheme, path, audit, SELECTION)
        return replace(made, functions=tuple(functions), command=command)

    def _made(self, scheme, path, audit, settings):
        write_record(path.with_name(path.name + ".json"), audit)
        runner = load(path)
        outputs = run_all(runner, load_data(self.data, runner.inputs))
        self.reference = outputs if scheme == "float" else self.reference
        figures = evaluate(path, audit, self.record["bytes"], outputs, self.reference)
        self.evaluations.append(figures)
        write_record(self.folder / "evaluation" / f"{self.model}_{scheme}.json", figures)
        flat = {key: value for key, value in flat_figures(figures).items() if key != "each"}
        return Made(
            scheme,
            archived(self.folder, path.relative_to(self.folder).as_posix()),
            archived(self.folder, f"{path.relative_to(self.folder).as_posix()}.json"),
            archived(self.folder, f"evaluation/{self.model}_{scheme}.json"),
            settings,
            figures={"size_mb": path.stat().st_size / 1e6, "ios": str(figures["ios"]), **flat},
        )

    def finish(self, kind, float_model, variants, workflow=True, **original):
        summary = summarize(self.model, self.evaluations, {})
        write_summary(summary, self.folder / "summary.tsv", self.folder / "judgement.json")
        page = self.folder / "report" / "index.html"
        page.parent.mkdir()
        page.write_text("<!DOCTYPE html><title>The page</title>")
        if workflow:
            copy_workflow(self.folder / "workflow")
        own = ("original/", "float/", "variants/", "evaluation/")
        paths = sorted(f.relative_to(self.folder).as_posix() for f in self.folder.rglob("*") if f.is_file())
        release = Release(
            self.model,
            "1.0",
            "2025-03-01T12:00:00+00:00",
            kind,
            Original(
                self.original.name,
                tuple(archived(self.folder, path) for path in paths if path.startswith("original/")),
                **original,
            ),
            float_model,
            tuple(variants),
            summary.recommendation.scheme,
            tuple(archived(self.folder, path) for path in paths if not path.startswith(own)),
            Software(
                "0.1.0",
                fingerprint("coreml", "quantize"),
                "",
                "3.12.3",
                {"coremltools": coremltools.__version__, "numpy": np.__version__, "snakemake": "9.27.1"},
            ),
        )
        describe(self.folder, release)
        return release


def describe(folder, release):
    """Write what describes a release into its folder."""
    (folder / "release.json").write_text(json.dumps(release.to_table()))
    (folder / CRATE).write_bytes(crate_metadata(release))
    (folder / BILL).write_bytes(bill_of_materials(release))


def copy_workflow(folder):
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow")
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", folder / "Snakefile")


def network_release(folder, scratch):
    """Make a release of a NeuralNetwork that is one file, with a blank in its name, and a function of the user's."""
    original = scratch / "my painter.mlmodel"
    original.write_bytes(to_bytes(picture_network(), "painter"))
    maker = Maker(folder, "painter", original)
    file = folder / TABLE_FUNCTION.partition(":")[0]
    file.parent.mkdir()
    file.write_text(TABLE)
    float_model = maker.float_model(".mlmodel")
    variants = [
        maker.variant(float_model, "linear_8"),
        maker.variant(float_model, "kmeans_2"),
        maker.variant(float_model, "custom_lut_4", [TABLE_FUNCTION]),
    ]
    licence = {"origin": "Trained for the tests, see §2 of their <README>.", "licence": "apache-2.0"}
    return maker.finish("NeuralNetwork", float_model, variants, **licence)


def program_release(folder):
    """Make a release of an ML Program that is a folder, without the workflow's files, of unknown licence."""
    maker = Maker(folder, "digits", DIGITS)
    float_model = maker.float_model(".mlpackage.zip")
    return maker.finish("ML Program", float_model, [maker.variant(float_model, "kmeans_4")], workflow=False)
