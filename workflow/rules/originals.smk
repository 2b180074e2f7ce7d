rule verify:
    """Check a preserved original against its digests; everything of the model hangs on the record."""
    input:
        original_files,
    output:
        "results/{model}/original.json",
    log:
        "results/{model}/logs/verify.log",
    priority: 100
    params:
        original=lambda wildcards: str(settings(wildcards).original),
        locked=lambda wildcards: settings(wildcards).locked_digest,
        code=CODE["originals"],
    script:
        "../../scripts/verify.py"


rule originals:
    """Check all preserved originals."""
    input:
        expand("results/{model}/original.json", model=MODELS),


# Before the first job of a run, whichever that is: a changed original stops the run before any model is worked on.
onstart:
    require_unchanged_originals()
    require_frameworks()
    if workflow.local_exec:
        start_warm_process()
