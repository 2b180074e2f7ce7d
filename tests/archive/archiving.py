"""Archives for the tests: releases of small real models, put in as the workflow does."""

import shutil
from pathlib import Path

from requant.archive.release import MadeFiles, ReleaseFiles, archive_release
from requant.archive.software import describe_software
from requant.originals import Entry, lock_original
from requant.report.page import SectionFiles
from tests.archive.ocfl_py import ocfl
from tests.archive.releasing import TABLE_FUNCTION
from tests.workflow.project import REPOSITORY

FUNCTION = "my tables.py:table"


def require_valid(root):
    """Hold a storage root against ocfl-py, an independent implementation."""
    found = ocfl.StorageRoot(root=str(root))
    assert found.validate(log_warnings=True, log_errors=True), root
    assert found.num_objects == found.good_objects == len([p for p in Path(root).iterdir() if p.is_dir()])


def tree(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def lay_out_project(folder, made, release):
    """Lay the files of a release out as a project; return the original."""
    results = folder / "results" / release.model
    shutil.copytree(made, results, ignore=shutil.ignore_patterns("original", "code", "workflow", "report"))
    original = folder / "models_original" / release.original.name
    original.parent.mkdir(exist_ok=True)
    source = made / "original" / release.original.name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, original)
    lock_original(original, Entry(release.original.origin, release.original.licence))
    code = made / TABLE_FUNCTION.partition(":")[0]
    if code.exists():
        shutil.copy(code, folder / "my tables.py")
    return original


def release_files(release, name, schemes=None):
    """Return what the workflow would hand on, with paths relative to the project's folder."""
    results = Path("results") / release.model
    variants = [made for made in release.variants if schemes is None or made.scheme in schemes]

    def files(made, functions=()):
        evaluation = results / "evaluation" / f"{release.model}_{made.scheme}.json"
        return MadeFiles(made.scheme, results / made.model.path, evaluation, {}, functions)

    functions = {made.scheme: (FUNCTION,) for made in variants if made.functions}
    return ReleaseFiles(
        release.model,
        name,
        Path("models_original") / release.original.name,
        files(release.float_model),
        tuple(files(made, functions.get(made.scheme, ())) for made in variants),
        SectionFiles(
            results / "original.json", results / "summary.tsv", results / "judgement.json", results / "data.json"
        ),
        describe_software("0" * 64, REPOSITORY / "requirements" / "run.lock"),
        user_files=(Path("my tables.py"),) if functions else (),
        workflow=REPOSITORY,
    )


def archive(store, release, name, schemes=None):
    return archive_release(store, release_files(release, name, schemes))
