# What all rules share: the checked configuration, the wildcards, the input functions.

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate
from snakemake_interface_storage_plugins.exceptions import FileOrDirectoryNotFoundError

from requant.archive.software import CODE as CODE_OF_MODELS
from requant.archive.software import CODE_LIBRARIES
from requant.caching import VARIABLE, remove_broken_links, require_usable
from requant.configuration import (
    ModelSettings,
    read_models,
    require_scheme,
    require_unique_keys,
    require_valid,
    sensitivity_schemes,
    version_of,
)
from requant.convert import format_of, is_core_ml, require_framework
from requant.convert.settings import LIMITS
from requant.coreml.kind import Kind
from requant.coreml.systems import OPSETS
from requant.errors import RequantError
from requant.evaluate.data import data_files
from requant.evaluate.kept import trim_outputs
from requant.fingerprint import fingerprint
from requant.frameworks import FRAMEWORKS, converting_versions
from requant.job import share_library
from requant.originals import LOCK_NAME, fetched, read_lock, sha256, verify
from requant.records import remove_unfinished, touched_since
from requant.quantize.scheme import FAMILY_PATTERN, PATTERN, Scheme
from requant.resources import disk_mb, memory_mb, runtime
from requant.single_run import claim
from requant.user_function import files_of_function
from requant.warm import start as start_warm_process

SCHEMA = Path(workflow.current_basedir) / "../schemas/config.schema.yaml"


# With a default storage, as S3, the results and the originals are in it. What else models hang on, as evaluation data and
# functions, is part of the project and stays in its folder (docs/clusters.md).
STORAGE = workflow.storage_settings.default_storage_prefix if workflow.storage_settings else None
COPIES = Path(".snakemake/originals_of_storage")


def retrieve(path: Path, target: Path) -> bool:
    """Copy a file or folder of the default storage; return whether it has one."""
    provider = workflow.storage_registry.default_storage_provider
    stored = provider.object(f"{STORAGE.rstrip('/')}/{path.as_posix()}")
    stored.set_local_path(target)
    if not stored.exists():
        return False
    stored.retrieve_object()
    return True


@cache
def readable(original: Path) -> Path:
    """Return where an original can be read: in its place, or a copy of it where it is in a storage."""
    return fetched(original, COPIES, retrieve) if STORAGE else original


def in_project(files: list[str]) -> list[str]:
    """Return files that are in the folder of the project, also where there is a default storage."""
    return list(map(local, files)) if STORAGE else files


def checked_models() -> dict[str, ModelSettings]:
    """Return the settings of all models, or stop before any job with one message for the user."""
    try:
        for configfile in workflow.configfiles:
            require_unique_keys(Path(configfile))
        require_valid(config, yaml.safe_load(SCHEMA.read_text()))
        validate(config, schema=str(SCHEMA))  # fills in the defaults
        return read_models(config, readable)
    except RequantError as error:
        raise WorkflowError(f"{', '.join(map(str, workflow.configfiles))}: {error}") from None


MODELS = checked_models()
WITH_VARIANTS = [name for name, model in MODELS.items() if model.schemes]  # the others are only converted and judged
RUN = [name for name, model in MODELS.items() if model.is_run]
SHOWN = [name for name in WITH_VARIANTS if name in RUN]  # whose outputs are shown side by side

# Scripts import the library, which neither the triggers nor the cache of Snakemake look at: its digest is a parameter.
COREML = ["records.py", "coreml"]
CODECS = ("coremltools", "numpy", "protobuf")  # whose versions the bytes of a model that is written can hang on
CODE = {
    "originals": fingerprint("originals", libraries=()),
    "data": fingerprint("originals", "records.py", "user_function.py", "evaluate/data", libraries=("numpy",)),
    "take": fingerprint(
        *COREML,
        "convert/__init__.py",
        "convert/conversion.py",
        "convert/settings.py",
        "convert/coreml_model.py",
        libraries=CODECS,
    ),
    "convert": fingerprint(
        *COREML,
        "frameworks.py",
        "user_function.py",
        "convert",
        libraries=(*CODECS, "onnx", "onnxruntime", "sympy"),
    ),
    "check": fingerprint(
        *COREML,
        "convert",
        "runtime",
        "evaluate",
        libraries=("coremltools", "numpy", "onnx", "onnxruntime", "pillow", "scipy"),
    ),
    "quantize": fingerprint(*COREML, "user_function.py", "quantize", libraries=(*CODECS, "scipy")),
    "raise": fingerprint(
        *COREML,
        "runtime",
        "evaluate",
        libraries=("coremltools", "numpy", "onnx", "onnxruntime", "pillow", "scipy"),
    ),
    "predict": fingerprint(
        *COREML,
        "runtime",
        "user_function.py",
        "evaluate/data",
        "evaluate/outputs.py",
        libraries=("coremltools", "numpy", "onnx", "onnxruntime", "pillow", "scipy"),
    ),
    "evaluate": fingerprint(
        "evaluate",
        "coreml/mapped.py",
        "coreml/package.py",
        libraries=("flip-evaluator", "numpy", "scikit-image", "scipy"),
    ),
    "sensitivity": fingerprint(
        *COREML,
        "user_function.py",
        "quantize",
        "runtime",
        "evaluate",
        libraries=("coremltools", "numpy", "onnx", "onnxruntime", "pillow", "scipy"),
    ),
    "regression": fingerprint("evaluate", "report", "archive", libraries=("pandas",)),
    "report": fingerprint("evaluate", "report", libraries=("matplotlib", "pandas", "pillow")),
}

# Of the archive: the digest of all that models hang on, and where a release goes.
MADE_BY = fingerprint(*CODE_OF_MODELS, libraries=CODE_LIBRARIES)
ARCHIVE, RELEASE = config["archive"]["folder"], config["archive"]["release"]
REMOTE = (config["archive"]["remote"] or "").rstrip("/")


wildcard_constraints:
    model="|".join(re.escape(name) for name in sorted(MODELS, key=len, reverse=True)),
    scheme=PATTERN,
    variant=f"float|{PATTERN}",
    version=r"\d+",
    family=FAMILY_PATTERN,
    part=r"\d+",
    suffix=r"mlmodel|mlpackage\.zip",


# With --software-deployment-method conda, the rules of a source run in an environment of its framework.
USES_CONDA = "conda" in map(str, workflow.deployment_settings.deployment_method)
if USES_CONDA:
    share_library()


# Asked for by --cache. The rules say so only then, for otherwise Snakemake recommends that option in every run.
USES_CACHE = workflow.workflow_settings.cache is not None


def prepare_cache() -> None:
    """Make sure that the cache between checkouts can be used, and forget the results that it has lost."""
    if USES_CACHE:
        try:
            require_usable(os.environ.get(VARIABLE), workflow.workflow_settings.cache)
        except RequantError as error:
            raise WorkflowError(str(error)) from None
    lost = remove_broken_links(Path("results"))
    if lost:
        logger.info(
            f"{len(lost)} results, as {lost[0]}, were links to files that are gone from a cache. They are made again."
        )


if workflow.is_main_process:
    prepare_cache()


def require_frameworks() -> None:
    """Tell the user if an original that is to be converted needs a framework that is not installed.

    That stops the run; with --keep-going, only the job that needs it will fail.
    """
    for model in MODELS.values():
        if not USES_CONDA and not Path(float_path(model.name)).exists():
            try:
                require_framework(model.original)
            except RequantError as error:
                if not workflow.execution_settings.keep_going:
                    raise WorkflowError(f"models.{model.name}: {error}") from None
                logger.warning(f"models.{model.name} will fail, the others go on: {error}")


def begin_run() -> None:
    """Claim the folder for this run, and clear away what killed ones left unfinished; or stop with a message."""
    try:
        if not claim(Path(".snakemake/running")):
            logger.warning("The file system of this folder has no locks: take care that no other run is started here.")
    except RequantError as error:
        raise WorkflowError(str(error)) from None
    remove_unfinished(Path("results"))


def lift_limit_of_jobs() -> None:
    """Let a local run start as many jobs a second as it can.

    Snakemake's limit, which is for clusters, has it look at all jobs that are ready again a second after each time that it
    did: the more jobs have ended, the more often. With a thousand of them it does little else. No option turns it off.
    """
    workflow.scheduler.job_rate_limiter = None


def require_unchanged(model: ModelSettings) -> None:
    """Check an original against its digests, or stop with a message for the user."""
    try:
        verify(model.original, read_lock(model.original.parent))
    except RequantError as error:
        raise WorkflowError(f"models.{model.name}: {error}") from None


def require_unchanged_originals() -> None:
    """Check the originals that have a record and were touched since; stop with a message for the user.

    Here, and not by a job of `verify`, because a job removes the old record first: an original that is restored, or was
    only copied again, would have everything made again. A stamp remembers when an original was found unchanged.
    """
    for model in MODELS.values():
        record, stamp = Path(f"results/{model.name}/original.json"), Path(f".snakemake/originals/{model.name}")
        if not record.exists():
            continue
        checked = max(path.stat().st_mtime_ns for path in (record, stamp) if path.exists())
        # A file that was added to a package has no date to go by.
        added = {path for path in model.original.rglob("*") if path.is_file()} - {model.original, *model.locked_files}
        if added or touched_since(checked, model.locked_files):
            require_unchanged(model)
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()


def require_new_originals() -> None:
    """Check the originals that have no record yet; of those in a storage, copies were checked when they were fetched."""
    for model in MODELS.values():
        if not STORAGE and not Path(f"results/{model.name}/original.json").exists():
            require_unchanged(model)


if workflow.is_main_process:
    require_unchanged_originals()


def settings(wildcards) -> ModelSettings:
    return MODELS[wildcards.model]


@cache
def original_mb(model: str) -> float:
    """Return the size of a model's original in MB."""
    settings = MODELS[model]
    folder = readable(settings.original).parent
    files = [folder / path.relative_to(settings.original.parent) for path in settings.locked_files]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def input_mb(wildcards, input) -> float:
    """Return the size of what a job works on: its inputs, once they are made, and its model's original at least."""
    models = [wildcards.model] if hasattr(wildcards, "model") else MODELS
    try:
        size = input.size_mb
    except FileOrDirectoryNotFoundError:  # Snakemake asks again before the job is started
        size = 0
    return max(size, *map(original_mb, models)) if isinstance(size, int | float) else size


def needs(kind: str | Callable) -> dict:
    """Return the resources of a rule (`requant.resources`), whose jobs are of a kind, or of one for their wildcards."""

    def asked(figure: Callable, wildcards, input, *attempt: int) -> int:
        return figure(kind(wildcards) if callable(kind) else kind, input_mb(wildcards, input), *attempt)

    return {
        "mem_mb": lambda wildcards, input, attempt: asked(memory_mb, wildcards, input, attempt),
        "disk_mb": lambda wildcards, input: asked(disk_mb, wildcards, input),
        "runtime": lambda wildcards, input, attempt: asked(runtime, wildcards, input, attempt),
    }


def suffix_of(model: str) -> str:
    """Return the ending of the one file that carries a model."""
    return MODELS[model].kind.suffix.removeprefix(".")


def float_path(model: str) -> str:
    return f"results/{model}/float/{model}.{suffix_of(model)}"


def variant_path(model: str, variant: str) -> str:
    """Return the delivered file of a variant, or the float model for the variant `float`."""
    if variant == "float":
        return float_path(model)
    return f"results/{model}/variants/{model}_{variant}.{suffix_of(model)}"


def float_model(wildcards) -> str:
    """Return the float model, the only model that any variant is made from.

    A scheme that the kind of model can't store, or the ending of the other kind, is refused here: before any job.
    """
    model = settings(wildcards)
    try:
        require_scheme(Scheme.parse(wildcards.scheme), model)
    except RequantError as error:
        raise WorkflowError(f"models.{model.name}: {error}") from None
    if f".{wildcards.suffix}" != model.kind.suffix:
        raise WorkflowError(
            f"models.{model.name}: a model of kind {model.kind} is written as *{model.kind.suffix}, not as "
            f"*.{wildcards.suffix}."
        )
    return float_path(model.name)


def custom_function_files(wildcards) -> list[str]:
    """Return the files of the user's function, which the variants of the mode custom_lut hang on."""
    reference = custom_function(wildcards)
    return in_project([str(path) for path in files_of_function(reference)]) if reference else []


def custom_function(wildcards) -> str:
    """Return `file.py:function` where a tensor takes the mode custom_lut below 16 bits, nothing otherwise."""
    return function_of(settings(wildcards), parsed(wildcards.scheme))


def function_of(model: ModelSettings, scheme: Scheme) -> str:
    """Return the user's function that a variant calls, nothing if it calls none."""
    stored = model.selection.schemes(scheme)
    return (model.custom_lut or "") if any(s.mode == "custom_lut" and s.is_table for s in stored) else ""


def parsed(scheme: str) -> Scheme:
    """Return the scheme of a name, or stop with a message for the user."""
    try:
        return Scheme.parse(scheme)
    except RequantError as error:
        raise WorkflowError(str(error)) from None


def selection(wildcards) -> dict:
    """Return which tensors take a scheme, without the rules for other schemes."""
    return settings(wildcards).selection.for_scheme(parsed(wildcards.scheme)).to_table()


def proof_of_raising(wildcards) -> list[str]:
    """Return the record that the operator set which a variant needs leaves the float outputs unchanged."""
    model = settings(wildcards)
    if model.kind is not Kind.ML_PROGRAM or wildcards.variant == "float":
        return []
    version = version_of(parsed(wildcards.variant), model)
    return [f"results/{model.name}/raised/{version}.json"] if version > min(OPSETS.values()) else []


def frameworks(wildcards) -> list[str]:
    """Return the extra that the conversion of an original needs, if it needs one."""
    extra = format_of(settings(wildcards).original).extra
    return [extra] if extra else []


def environment(wildcards) -> str | None:
    """Return the conda environment of the framework that a conversion needs; none where it needs no other."""
    return next((f"../envs/{FRAMEWORKS[extra].environment}.yaml" for extra in frameworks(wildcards)), None)


def conversion_kind(wildcards) -> str:
    """Return what a conversion is for those who place it (`requant.resources.NEEDS`)."""
    model = settings(wildcards)
    if not is_core_ml(model.original):
        return "convert"
    return "take" if model.kind is Kind.ML_PROGRAM else "take_network"


def quantizing_kind(wildcards) -> str:
    return "quantize" if settings(wildcards).kind is Kind.ML_PROGRAM else "quantize_network"


def conversion_code(wildcards) -> str:
    return CODE["take" if is_core_ml(settings(wildcards).original) else "convert"]


def framework_versions(wildcards) -> dict[str, str]:
    """Return the versions of the framework that converts an original; with conda, Snakemake looks at the environment."""
    audit = Path(f"{float_path(wildcards.model)}.json")
    extras = [] if USES_CONDA else frameworks(wildcards)
    return {name: version for extra in extras for name, version in converting_versions(extra, audit).items()}


def conversion_without_limits(wildcards) -> dict:
    """Return what the conversion hangs on: another limit for its check is no reason to convert again."""
    return {key: value for key, value in settings(wildcards).conversion.items() if key not in LIMITS}


def conversion_files(wildcards) -> list[str]:
    return in_project([str(path) for path in settings(wildcards).conversion_files])


def conversion_check(wildcards) -> list[str]:
    """Return the record that holds the float model against its source; a Core ML original needs none."""
    return [] if is_core_ml(settings(wildcards).original) else [f"results/{wildcards.model}/conversion.json"]


def metric_files(wildcards) -> list[str]:
    """Return the files of the user's metrics: when one changes, its model is evaluated again."""
    return in_project([str(path) for path in settings(wildcards).metric_files])


def deployment_target(wildcards) -> str:
    system = settings(wildcards).deployment_target
    return f"iOS{system.ios}" if system else ""


def original_files(wildcards) -> list[str]:
    return [str(path) for path in settings(wildcards).locked_files]


def stored_lock(wildcards) -> list[str]:
    """Return the lock file of an original that is in a storage; where it is in its place, there is nothing to fetch."""
    return [str(settings(wildcards).original.parent / LOCK_NAME)] if STORAGE else []


def stored_original(wildcards) -> list[str]:
    """Return the files of an original that is in a storage, and its lock file: what a job that reads it has to be given."""
    return [*original_files(wildcards), *stored_lock(wildcards)] if STORAGE else []


def evaluation_data(wildcards) -> dict:
    """Return the evaluation data as a table of plain values, empty for inputs that are made up."""
    return settings(wildcards).data.to_table()


@cache
def files_of_data(model: str) -> list[str]:
    """Return the files of a model's evaluation data, or stop with a message for the user."""
    try:
        return [str(path) for path in data_files(MODELS[model].data)]
    except RequantError as error:
        raise WorkflowError(f"models.{model}: {error}") from None


def evaluation_files(wildcards) -> list[str]:
    return in_project(files_of_data(wildcards.model))


# Of an input function that fails, Snakemake takes no notice where there are older results: it would show those.
if workflow.is_main_process:
    for model in RUN:
        files_of_data(model)


def outputs_of(model: str, variant: str) -> list[str]:
    """Return the outputs of a variant, nothing of a model that is not run."""
    return [f"results/{model}/outputs/{model}_{variant}.npz"] if MODELS[model].is_run else []


def trim_kept_outputs() -> None:
    """Remove outputs beyond what the configuration keeps, the oldest first."""
    floats = [path for model in RUN for path in outputs_of(model, "float")]
    kept = [path for path in Path("results").glob("*/outputs/*.npz") if path.as_posix() not in floats]
    removed = trim_outputs(kept, map(Path, floats), round(config["keep_outputs"] * 1e6))
    if removed:
        logger.info(
            f"The outputs of {len(removed)} variants were removed: keep_outputs is {config['keep_outputs']} MB."
        )


def table_to_draw(wildcards) -> str:
    """Return the table of a model, or stop with a message if there is nothing in it to draw."""
    if not settings(wildcards).schemes:
        raise WorkflowError(f"models.{wildcards.model} has no variants, so that there is nothing to draw of it.")
    return f"results/{wildcards.model}/summary.tsv"


def variants_of(model: str) -> list[str]:
    """Return the float model and all configured schemes, the rows of a model's table."""
    return ["float", *map(str, MODELS[model].schemes)]


def measured_schemes(wildcards) -> list[str]:
    """Return the schemes of a family in which each tensor is measured alone, or stop before any job."""
    try:
        return [str(scheme) for scheme in sensitivity_schemes(wildcards.family, settings(wildcards))]
    except RequantError as error:
        raise WorkflowError(f"models.{wildcards.model}: {error}") from None


def measured_model(wildcards) -> str:
    """Return the float model whose tensors are measured, or stop before any job."""
    measured_schemes(wildcards)
    if not 1 <= int(wildcards.part) <= settings(wildcards).sensitivity.parts:
        raise WorkflowError(f"models.{wildcards.model}: sensitivity: there is no part {wildcards.part}.")
    return float_path(wildcards.model)


def measured_function(wildcards) -> str:
    """Return `file.py:function` where the family takes the mode custom_lut, nothing otherwise."""
    mode = Scheme.of_family(wildcards.family, 8).mode
    return (settings(wildcards).custom_lut or "") if mode == "custom_lut" else ""


def measured_function_files(wildcards) -> list[str]:
    reference = measured_function(wildcards)
    return in_project([str(path) for path in files_of_function(reference)]) if reference else []


def measured_parts(wildcards) -> list[str]:
    """Return the records of all parts of a model's tensors, or stop before any job."""
    measured_schemes(wildcards)
    parts = range(1, settings(wildcards).sensitivity.parts + 1)
    return [f"results/{wildcards.model}/sensitivity/{wildcards.family}/part_{part}.json" for part in parts]


def configured_sensitivities() -> list[str]:
    return [
        f"results/{name}/sensitivity/{family}.svg"
        for name, model in MODELS.items()
        for family in model.sensitivity.families
    ]


def all_sensitivities(wildcards) -> list[str]:
    """Return all heat maps that are configured, or stop with a message if there is none."""
    if not configured_sensitivities():
        raise WorkflowError(
            "no model of the configuration has the key sensitivity, as sensitivity: {families: [kmeans]}. One that is not "
            "configured is made by its name, as snakemake results/MODEL/sensitivity/kmeans.svg."
        )
    return configured_sensitivities()


def configured_variants() -> list[str]:
    return [variant_path(name, str(scheme)) for name, model in MODELS.items() for scheme in model.schemes]


def configured_packages() -> list[str]:
    return [path.removesuffix(".zip") for path in configured_variants() if path.endswith(".mlpackage.zip")]


def evaluations(wildcards) -> list[str]:
    return [f"results/{wildcards.model}/evaluation/{wildcards.model}_{v}.json" for v in variants_of(wildcards.model)]


def all_outputs(wildcards) -> list[str]:
    model = wildcards.model
    return [path for variant in variants_of(model) for path in outputs_of(model, variant)]


def released(wildcards) -> dict:
    """Return what a release of a model is made of, by name."""
    name, model = wildcards.model, settings(wildcards)
    folder = f"results/{name}"
    pictures = {"plot": "fidelity.svg"} if model.schemes else {}
    pictures |= {"sheet": "sheet.png", "viewer": "viewer.json"} if name in SHOWN else {}
    return {
        "originals": original_files(wildcards),
        "stored": stored_original(wildcards),
        "original": f"{folder}/original.json",
        "float_model": float_path(name),
        "float_audit": f"{float_path(name)}.json",
        "variants": [variant_path(name, str(scheme)) for scheme in model.schemes],
        "audits": [f"{variant_path(name, str(scheme))}.json" for scheme in model.schemes],
        "evaluations": evaluations(wildcards),
        "table": f"{folder}/summary.tsv",
        "judgement": f"{folder}/judgement.json",
        "conversion": conversion_check(wildcards),
        "user_files": in_project(files_of_user(model)),
        "maps": [f"{folder}/sensitivity/{family}.svg" for family in model.sensitivity.families],
        **({"data": f"{folder}/data.json"} if model.is_run else {}),
        **{part: f"{folder}/{file}" for part, file in pictures.items()},
    }


def archived_releases() -> dict[str, str]:
    """Return the digests of the receipts of all releases that the archive has of the configured models.

    The check looks at releases, and makes none, so that they are no input of it.
    """
    folder = Path(ARCHIVE) / "releases"
    receipts = sorted(path for model in MODELS for path in (folder / model).glob("*.json"))
    return {path.relative_to(folder).as_posix(): sha256(path) for path in receipts}


def files_of_user(model: ModelSettings) -> list[str]:
    """Return the files of the user's that a model's variants or figures hang on; each once."""
    table = files_of_function(model.custom_lut) if model.custom_lut else []
    return list(dict.fromkeys(map(str, (*model.conversion_files, *table, *model.metric_files))))


def conversion_functions(wildcards) -> list[str]:
    factory = settings(wildcards).conversion.get("factory")
    return [factory] if factory else []


def selections_of_variants(wildcards) -> dict:
    """Return which tensors take each scheme of a model."""
    model = settings(wildcards)
    return {str(scheme): model.selection.for_scheme(scheme).to_table() for scheme in model.schemes}


def functions_of_variants(wildcards) -> dict:
    """Return the user's function that each variant of a model calls, or nothing."""
    model = settings(wildcards)
    return {str(scheme): function_of(model, scheme) for scheme in model.schemes}
