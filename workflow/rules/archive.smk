# Of the archive: what is made of a model goes into it as a release, with the original.


rule archive:
    """Archive a release of every configured model: its original, its variants, figures and page."""
    input:
        in_project([f"{ARCHIVE}/releases/{model}/{RELEASE}.json" for model in MODELS]),
        [storage(f"{REMOTE}/{model}/{RELEASE}.zip") for model in MODELS] if REMOTE else [],


rule archive_release:
    """Add a release of a model to the archive; the receipt says where it is."""
    input:
        unpack(released),
    output:
        in_project([f"{ARCHIVE}/releases/{{model}}/{RELEASE}.json"]),
    log:
        "results/{model}/logs/archive.log",
    resources:
        **needs("archive"),
    params:
        archive=lambda wildcards: ARCHIVE,
        release=RELEASE,
        made_original=lambda wildcards: str(settings(wildcards).original),
        locked=lambda wildcards: settings(wildcards).locked_digest,
        wanted=config["archive"]["variants"],
        schemes=lambda wildcards: list(map(str, settings(wildcards).schemes)),
        conversion=conversion_without_limits,
        conversion_functions=conversion_functions,
        selections=selections_of_variants,
        functions=functions_of_variants,
        made_by=MADE_BY,
    script:
        "../../scripts/archive_release.py"


if REMOTE:

    rule copy_release:
        """Copy a release to the remote archive, as one zip."""
        input:
            in_project([f"{ARCHIVE}/releases/{{model}}/{RELEASE}.json"]),
        output:
            storage(f"{REMOTE}/{{model}}/{RELEASE}.zip"),
        log:
            "results/{model}/logs/copy_release.log",
        resources:
            **needs("archive"),
        params:
            archive=lambda wildcards: ARCHIVE,
            release=RELEASE,
        script:
            "../../scripts/copy_release.py"
