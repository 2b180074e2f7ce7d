rule convert:
    """Bring an original to a float Core ML model, written canonically; refuse one that is quantized already."""
    input:
        record="results/{model}/original.json",
        stored=ancient(stored_original),
        files=conversion_files,
    output:
        model="results/{model}/float/{model}.{suffix}",
        audit="results/{model}/float/{model}.{suffix}.json",
    log:
        "results/{model}/logs/convert.{suffix}.log",
    cache: USES_CACHE
    conda:
        environment
    resources:
        **needs(conversion_kind),
    # All that the bytes hang on has to be here or among the inputs, the name in the package too: wildcards are no part of
    # what the cache between checkouts looks for (docs/caching.md).
    params:
        name=lambda wildcards: f"{wildcards.model}.{wildcards.suffix}",
        original=lambda wildcards: str(settings(wildcards).original),
        conversion=conversion_without_limits,
        frameworks=frameworks,
        versions=framework_versions,
        code=conversion_code,
    script:
        "../../scripts/convert.py"


rule check_conversion:
    """Hold the float model against the source, run in its own framework; stop if the conversion is not good enough."""
    input:
        model=lambda wildcards: float_path(wildcards.model),
        original="results/{model}/original.json",
        stored=ancient(stored_original),
        data="results/{model}/data.json",
        files=conversion_files,
    output:
        "results/{model}/conversion.json",
    log:
        "results/{model}/logs/check_conversion.log",
    # Before variants of a model are made that is not what it should be.
    priority: 90
    conda:
        environment
    resources:
        **needs("check"),
    params:
        original=lambda wildcards: str(settings(wildcards).original),
        conversion=lambda wildcards: settings(wildcards).conversion,
        data=evaluation_data,
        frameworks=frameworks,
        code=CODE["check"],
    script:
        "../../scripts/check_conversion.py"
