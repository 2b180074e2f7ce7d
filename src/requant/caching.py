"""The folder in which Snakemake keeps results for other checkouts: whether it can be used, and links to it that broke.

Snakemake finds a result in it by the code, the parameters, the inputs and the environment of a job, not by its
wildcards. Of the rules that take part, all that their bytes hang on is among these; others have wildcards that are not.

Nothing heavy is imported here, because Snakemake reads the Snakefile again for every job.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from requant.errors import RequantError

VARIABLE = "SNAKEMAKE_OUTPUT_CACHE"  # Snakemake's own
CACHED_RULES = ("convert", "quantize")


def require_usable(location: str | None, rules: Iterable[str] = CACHED_RULES) -> None:
    """Make sure that results can be kept where the environment says.

    Args:
        location: what the variable SNAKEMAKE_OUTPUT_CACHE holds, None if it is not set. A URI of a storage is taken as
            it is.
        rules: what is to be cached, the values of Snakemake's option `--cache`.

    Raises:
        RequantError: if there is no such folder, its path is relative or it can't be written to, or if rules are asked
            for that can't be cached, or none by name, which gets lost on the way to the jobs of a cluster.
    """
    unfit = sorted(set(rules) - set(CACHED_RULES))
    if unfit or not set(rules):
        what = f"the rule {unfit[0]}, which can't be shared between checkouts" if unfit else "no rule"
        raise RequantError(f"--cache names {what}. Write: --cache {' '.join(CACHED_RULES)}")
    if not location:
        raise RequantError(
            f"--cache wants a folder for the results that checkouts share: set the variable {VARIABLE} to its "
            "absolute path."
        )
    if "://" in location:
        return
    if not Path(location).is_absolute():
        raise RequantError(
            f"{VARIABLE} is {location}, a relative path, which leads elsewhere from the folders of results. Give an "
            "absolute path."
        )
    if not Path(location).is_dir():
        raise RequantError(f"{VARIABLE} is {location}, but there is no such folder. Make it with: mkdir {location}")
    if not os.access(location, os.R_OK | os.W_OK | os.X_OK):
        raise RequantError(
            f"{VARIABLE} is {location}, where you may not write. Ask the owner of that folder to let you."
        )


def remove_broken_links(results: Path) -> list[Path]:
    """Remove the links to files that are no longer in a cache, so that these results are made again.

    Snakemake takes a link that leads nowhere for a result that is there, and fails.

    Returns:
        The links that were removed.
    """
    links = [path for path in sorted(results.glob("*/*/*")) if path.is_symlink() and not path.exists()]
    for path in links:
        path.unlink()
    return links
