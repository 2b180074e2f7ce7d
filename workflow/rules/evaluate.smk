rule data:
    """Write down which evaluation data a model has, by digest."""
    input:
        evaluation_files,
    output:
        "results/{model}/data.json",
    log:
        "results/{model}/logs/data.log",
    resources:
        **needs("data"),
    params:
        data=evaluation_data,
        code=CODE["data"],
    script:
        "../../scripts/data.py"


rule predict:
    """Run the delivered file of a variant, or the float model, on the evaluation data."""
    input:
        model=lambda wildcards: variant_path(wildcards.model, wildcards.variant),
        data="results/{model}/data.json",
    output:
        "results/{model}/outputs/{model}_{variant}.npz",
    log:
        "results/{model}/logs/predict_{variant}.log",
    resources:
        **needs("predict"),
    params:
        data=evaluation_data,
        code=CODE["predict"],
    script:
        "../../scripts/predict.py"


rule prove_raised:
    """Run the float model with the newer operator set of a specification version: its outputs must not change."""
    input:
        model=lambda wildcards: float_path(wildcards.model),
        data="results/{model}/data.json",
    output:
        "results/{model}/raised/{version}.json",
    log:
        "results/{model}/logs/raise_{version}.log",
    resources:
        **needs("raise"),
    params:
        data=evaluation_data,
        code=CODE["raise"],
    script:
        "../../scripts/prove_raised.py"


rule evaluate:
    """Judge a variant: size, stored bits, systems that run it, and its outputs against the float model's."""
    input:
        model=lambda wildcards: variant_path(wildcards.model, wildcards.variant),
        audit=lambda wildcards: variant_path(wildcards.model, wildcards.variant) + ".json",
        outputs=lambda wildcards: outputs_of(wildcards.model, wildcards.variant),
        reference=lambda wildcards: outputs_of(wildcards.model, "float"),
        original="results/{model}/original.json",
        raised=proof_of_raising,
        conversion=conversion_check,
        metrics=metric_files,
    output:
        "results/{model}/evaluation/{model}_{variant}.json",
    log:
        "results/{model}/logs/evaluate_{variant}.log",
    resources:
        **needs("evaluate"),
    params:
        metrics=lambda wildcards: settings(wildcards).metrics,
        code=CODE["evaluate"],
    script:
        "../../scripts/evaluate.py"
