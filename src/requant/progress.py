"""How far long work is, told now and then: in the log of a job, and to who watches it run; and sizes for people."""

from __future__ import annotations

import logging
import sys
import time

SMALLEST_IN_MB = 10_000  # what has fewer bytes would be shown as 0.00 or 0.01 MB
INTERVAL = 10.0  # seconds between two messages, and before the first: short work says nothing


def amount(count: int) -> tuple[str, str]:
    """Return a number of bytes for people, and its unit."""
    return (f"{count / 1e6:.2f}", "MB") if count >= SMALLEST_IN_MB else (f"{count:,}", "bytes")


class Progress:
    """Tells how much of some work is done, and how long the rest may take."""

    def __init__(self, what: str, total: int) -> None:
        """Begin.

        Args:
            what: is done, as `quantizing kmeans_4`.
            total: bytes that are to be worked on.
        """
        self._what, self._total, self._done = what, total, 0
        self._started = self._last = time.monotonic()

    def advance(self, size: int) -> None:
        """Say that more bytes are done."""
        self._done += size
        now = time.monotonic()
        if now - self._last >= INTERVAL and 0 < self._done < self._total:
            self._last = now
            message = in_words(self._what, self._done, self._total, now - self._started)
            logging.info("%s", message)
            print(message, file=sys.stderr, flush=True)


def in_words(what: str, done: int, total: int, seconds: float) -> str:
    """Return how far something is, as `quantizing kmeans_4: 35 %, 1,400 of 4,000 MB, about 2 minutes left`.

    Args:
        what: is done.
        done: bytes that are done, more than 0.
        total: of all bytes.
        seconds: that it took so far.
    """
    left = seconds * (total - done) / done
    rest = f"{left:.0f} seconds" if left < 90 else f"{left / 60:.0f} minutes"
    return f"{what}: {100 * done / total:.0f} %, {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, about {rest} left"
