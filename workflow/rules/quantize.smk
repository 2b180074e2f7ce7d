rule quantize:
    """Quantize the float model by one scheme, as kmeans_4, and audit what the file really stores."""
    input:
        model=float_model,
        custom=custom_function_files,
    output:
        model="results/{model}/variants/{model}_{scheme}.{suffix}",
        audit="results/{model}/variants/{model}_{scheme}.{suffix}.json",
    log:
        "results/{model}/logs/quantize_{scheme}.{suffix}.log",
    cache: USES_CACHE
    resources:
        **needs(quantizing_kind),
    # Without the name, which is in the package, the cache would take another model's variant (docs/caching.md).
    params:
        name=lambda wildcards: f"{wildcards.model}_{wildcards.scheme}.{wildcards.suffix}",
        scheme=lambda wildcards: wildcards.scheme,
        custom=custom_function,
        selection=selection,
        code=CODE["quantize"],
    script:
        "../../scripts/quantize.py"


if STORAGE:

    # The plugin for S3 remembers that a folder was not there, and does not see the one that another machine put there.
    localrules:
        package,


rule package:
    """Lay out the .mlpackage folder of an ML Program variant, for Xcode."""
    input:
        "results/{model}/variants/{model}_{scheme}.mlpackage.zip",
    output:
        directory("results/{model}/variants/{model}_{scheme}.mlpackage"),
    log:
        "results/{model}/logs/package_{scheme}.log",
    resources:
        **needs("package"),
    shell:
        "requant unpack {input} {output} 2>&1 | tee {log}"
