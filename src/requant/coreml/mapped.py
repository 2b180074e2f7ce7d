"""Large files mapped into memory, so that only what is being looked at takes any.

The content of a file is a `bytes` object, or for a large one a `memoryview` of its mapping: both are indexed, sliced
and written alike. Pages that were read count as this process's memory, although the system may take them back at any
time; those of a weight that is done with are given back at once (`note_read`), so that a model of some gigabytes
passes through a fraction of them.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import IO

Content = bytes | memoryview
LARGE = 8 << 20  # bytes from which a file is mapped instead of read
PIECE = 1 << 20  # bytes that are copied at once
_KEPT = 128 << 20  # bytes of a mapping that may be read before all of its pages are given back


class _Mapping(mmap.mmap):
    """A mapped file that knows how much of it was read since its pages were last given back."""

    read_since = 0


def mapped(stream: IO[bytes], start: int = 0, size: int | None = None) -> memoryview:
    """Return the bytes of a file, or of a part of one that is not empty, without reading them.

    They stay what they are if the file is removed or another one takes its place; nobody may shorten it.

    Args:
        stream: the open file, which may be closed afterwards.
        start: of the part.
        size: of the part in bytes; None for all of the rest.
    """
    whole = _Mapping(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return memoryview(whole)[start : None if size is None else start + size]


def content_of(stream: IO[bytes], start: int = 0, size: int | None = None) -> Content:
    """Return the bytes of an open file or of a part of one, mapped if they are many; arguments as for `mapped`."""
    if size is None:
        size = os.fstat(stream.fileno()).st_size - start
    if size >= LARGE:
        return mapped(stream, start, size)
    stream.seek(start)
    return stream.read(size)


def pieces(content: Content) -> Iterator[memoryview]:
    """Yield content piece by piece, giving back what was read."""
    view = memoryview(content)
    for start in range(0, len(view), PIECE):
        piece = view[start : start + PIECE]
        note_read(content, len(piece))
        yield piece


def note_read(content: Content, size: int) -> None:
    """Say that some bytes of a file's content are about to be read; gives back the pages of what was read before.

    Who still looks at those just has them read again.
    """
    mapping = content.obj if isinstance(content, memoryview) else None
    if not isinstance(mapping, _Mapping):
        return
    mapping.read_since += size
    if mapping.read_since > _KEPT:
        with contextlib.suppress(AttributeError, OSError):  # a system without it keeps the pages
            mapping.madvise(mmap.MADV_DONTNEED)
        mapping.read_since = size
