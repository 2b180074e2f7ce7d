rule verify:
    """Check a preserved original against its digests; everything of the model hangs on the record."""

    # Touched originals are looked at before any job is planned (require_unchanged_originals): bytes count, not dates.
    # A storage has dates alone to tell a touched one by: there, it is verified again.
    input:
        files=original_files if STORAGE else ancient(original_files),
        lock=ancient(stored_lock),
    output:
        "results/{model}/original.json",
    log:
        "results/{model}/logs/verify.log",
    priority: 100
    resources:
        **needs("verify"),
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
# Dry runs, reports and the processes of jobs do not come here.
onstart:
    begin_run()
    require_new_originals()
    require_frameworks()
    note_beginning()
    if workflow.local_exec:
        start_warm_process()
        lift_limit_of_jobs()
