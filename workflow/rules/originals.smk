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


# Conversions wait for this file, so that a changed original stops the run before any other model is worked on. They
# take it as ancient: that one more model is verified is no reason to convert the others again.
rule originals:
    """Check all preserved originals."""
    input:
        expand("results/{model}/original.json", model=MODELS),
    output:
        "results/originals.txt",
    log:
        "results/originals.log",
    priority: 100
    params:
        text="\n".join(sorted(MODELS)),
    shell:
        "(echo 'verified:' && echo '{params.text}') > {output} 2> {log}"
