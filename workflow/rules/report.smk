rule summarize:
    """Write the table of a model's variants and recommend one."""
    input:
        evaluations,
    output:
        table=report(
            "results/{model}/summary.tsv",
            caption="../report/summary.rst",
            category="{model}",
            labels={"result": "table of all variants"},
        ),
        judgement="results/{model}/judgement.json",
    log:
        "results/{model}/logs/summarize.log",
    resources:
        **needs("report"),
    params:
        targets=lambda wildcards: settings(wildcards).targets,
        system=deployment_target,
        code=CODE["report"],
    script:
        "../../scripts/summarize.py"


rule plot:
    """Draw size against fidelity, with every mode."""
    input:
        table=table_to_draw,
        judgement="results/{model}/judgement.json",
    output:
        report(
            "results/{model}/fidelity.svg",
            caption="../report/fidelity.rst",
            category="{model}",
            labels={"result": "size against fidelity"},
        ),
    log:
        "results/{model}/logs/plot.log",
    resources:
        **needs("report"),
    params:
        code=CODE["report"],
    script:
        "../../scripts/plot.py"


rule sheet:
    """Show the outputs of all variants side by side."""
    input:
        table=table_to_draw,
        evaluations=evaluations,
        outputs=all_outputs,
        judgement="results/{model}/judgement.json",
        model=lambda wildcards: float_path(wildcards.model),
        data="results/{model}/data.json",
    output:
        report(
            "results/{model}/sheet.png",
            caption="../report/sheet.rst",
            category="{model}",
            labels={"result": "outputs side by side"},
        ),
    log:
        "results/{model}/logs/sheet.log",
    resources:
        **needs("report"),
    params:
        data=evaluation_data,
        code=CODE["report"],
    script:
        "../../scripts/sheet.py"


rule viewer:
    """Gather what the page shows sample by sample: pictures to wipe between, changed labels, heat maps."""
    input:
        table=table_to_draw,
        evaluations=evaluations,
        outputs=all_outputs,
        judgement="results/{model}/judgement.json",
        model=lambda wildcards: float_path(wildcards.model),
        data="results/{model}/data.json",
    output:
        "results/{model}/viewer.json",
    log:
        "results/{model}/logs/viewer.log",
    resources:
        **needs("report"),
    params:
        data=evaluation_data,
        code=CODE["report"],
    script:
        "../../scripts/viewer.py"


rule page:
    """Write the report: one self-contained page for all models."""
    input:
        originals=expand("results/{model}/original.json", model=MODELS),
        data=expand("results/{model}/data.json", model=RUN),
        tables=expand("results/{model}/summary.tsv", model=MODELS),
        judgements=expand("results/{model}/judgement.json", model=MODELS),
        plots=expand("results/{model}/fidelity.svg", model=WITH_VARIANTS),
        sheets=expand("results/{model}/sheet.png", model=SHOWN),
        viewers=expand("results/{model}/viewer.json", model=SHOWN),
        maps=configured_sensitivities(),
    output:
        "results/report/index.html",
    log:
        "results/report/page.log",
    resources:
        **needs("report"),
    params:
        models=list(MODELS),
        code=CODE["report"],
    script:
        "../../scripts/page.py"
