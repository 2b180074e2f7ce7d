# requant: from preserved originals to judged variants. The whole flow on one screen; the rules are in workflow/rules.

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


# Only looked at with --sdm: without it, the rules run in the environment that snakemake itself runs in.
container: "docker://python:3.12-slim"


report: "workflow/report/workflow.rst"


localrules:
    all,
    variants,
    packages,
    sensitivity,
    originals,
    archive,


include: "workflow/rules/common.smk"


rule all:
    """Make and judge all configured variants, and write the report (this is the default)."""
    input:
        "results/report/index.html",
        configured_variants(),
        expand("results/{model}/summary.tsv", model=MODELS),
        expand("results/{model}/fidelity.svg", model=WITH_VARIANTS),
        expand("results/{model}/sheet.png", model=SHOWN),
        configured_sensitivities(),


rule variants:
    """Make all configured variants, without judging them."""
    input:
        configured_variants(),


rule packages:
    """Lay out the folders that Xcode takes of all configured ML Program variants."""
    input:
        configured_packages(),


rule sensitivity:
    """Measure which layers hurt, of all models that are configured for it."""
    input:
        all_sensitivities,


rule check:
    """Fail if a model has no variant that is good enough, or a worse one than its last release; for CI."""
    input:
        judgements=expand("results/{model}/judgement.json", model=MODELS),
        tables=expand("results/{model}/summary.tsv", model=MODELS),
    output:
        "results/check.json",
    log:
        "results/check.log",
    resources:
        **needs("report"),
    params:
        archive=ARCHIVE,
        releases=lambda wildcards: archived_releases(),
        code=CODE["regression"],
    script:
        "scripts/check.py"


include: "workflow/rules/originals.smk"
include: "workflow/rules/convert.smk"
include: "workflow/rules/quantize.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/sensitivity.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/archive.smk"
include: "workflow/rules/run.smk"
