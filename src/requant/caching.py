"""The folder in which Snakemake keeps results for other checkouts: whether it can be used, and links to it that broke.

Nothing heavy is imported here, because Snakemake reads the Snakefile again for every job.
"""

from __future__ import annotations

from pathlib import Path

from requant.errors import RequantError

VARIABLE = "SNAKEMAKE_OUTPUT_CACHE"  # Snakemake's own


def require_usable(location: str | None) -> None:
    """Make sure that results can be kept where the environment says.

    Args:
        location: what the variable SNAKEMAKE_OUTPUT_CACHE holds, None if it is not set. A URI of a storage is taken as
            it is.

    Raises:
        RequantError: if there is no such folder, or its path is relative.
    """
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
