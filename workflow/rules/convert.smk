rule convert:
    """Bring an original to a float Core ML model, written canonically; refuse one that is quantized already."""
    input:
        record="results/{model}/original.json",
    output:
        model="results/{model}/float/{model}.{suffix}",
        audit="results/{model}/float/{model}.{suffix}.json",
    log:
        "results/{model}/logs/convert.{suffix}.log",
    params:
        original=lambda wildcards: str(settings(wildcards).original),
        code=CODE["convert"],
    script:
        "../../scripts/convert.py"
