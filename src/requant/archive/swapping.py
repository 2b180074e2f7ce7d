"""Two folders change places at once: `renameat2` of Linux, `renamex_np` of macOS."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_EXCHANGE = 2  # RENAME_EXCHANGE in <linux/fs.h>, RENAME_SWAP in <sys/stdio.h>
_HERE = -100  # AT_FDCWD of Linux: paths are relative to the current folder


def swap(new: Path, place: Path, aside: Path) -> None:
    """Put a folder in the place of another one on the same file system; that one is where the new one was, or aside.

    Where the file system can't exchange two folders at once, the one that is there is put aside first. Whoever is
    killed between the two steps leaves it aside, to be put back.

    Raises:
        OSError: if the folders can't be moved.
    """
    if not _exchanged(new, place):
        place.rename(aside)
        new.rename(place)


def _exchanged(first: Path, second: Path) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "darwin":
        exchange = getattr(library, "renamex_np", None)
        return exchange is not None and exchange(*names, _EXCHANGE) == 0
    exchange = getattr(library, "renameat2", None)
    return exchange is not None and exchange(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
