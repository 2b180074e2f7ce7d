rule measure_sensitivity:
    """Quantize each tensor of one part of a model alone, in all bits of a family, and run what comes of it."""
    input:
        model=measured_model,
        data="results/{model}/data.json",
        custom=measured_function_files,
    output:
        "results/{model}/sensitivity/{family}/part_{part}.json",
    log:
        "results/{model}/logs/sensitivity_{family}_{part}.log",
    # The variants and the page need none of it.
    priority: -10
    resources:
        **needs("sensitivity"),
    params:
        schemes=measured_schemes,
        parts=lambda wildcards: settings(wildcards).sensitivity.parts,
        samples=lambda wildcards: settings(wildcards).sensitivity.samples,
        threshold=lambda wildcards: settings(wildcards).selection.weight_threshold,
        custom=measured_function,
        data=evaluation_data,
        code=CODE["sensitivity"],
    script:
        "../../scripts/sensitivity_part.py"


rule gather_sensitivity:
    """Write the table of what quantizing each tensor of a model alone does to its outputs."""
    input:
        parts=measured_parts,
        conversion=conversion_check,
    output:
        report(
            "results/{model}/sensitivity/{family}.tsv",
            caption="../report/sensitivity.rst",
            category="{model}",
            labels={"result": "which layers hurt, table, {family}"},
        ),
    log:
        "results/{model}/logs/sensitivity_{family}.log",
    resources:
        **needs("report"),
    params:
        code=CODE["sensitivity"],
    script:
        "../../scripts/sensitivity_table.py"


rule draw_sensitivity:
    """Draw which layers hurt: tensors down, bits across."""
    input:
        "results/{model}/sensitivity/{family}.tsv",
    output:
        report(
            "results/{model}/sensitivity/{family}.svg",
            caption="../report/sensitivity.rst",
            category="{model}",
            labels={"result": "which layers hurt, {family}"},
        ),
    log:
        "results/{model}/logs/sensitivity_{family}_map.log",
    resources:
        **needs("report"),
    params:
        code=CODE["report"],
    script:
        "../../scripts/sensitivity_map.py"
