"""The one exception that is meant for the user, and how what a stranger's file says is shown."""

from __future__ import annotations


class RequantError(Exception):
    """Something the user can mend: what is wrong, in which file, model, layer or key, and what to do."""


class UnforeseenError(RequantError):
    """A model that can't be read for a reason that is known by its cause only: it is damaged, or we are wrong."""


def printable(text: str) -> str:
    """Return a text for the terminal, which names in a stranger's file can't steer; its lines stay."""
    return "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in text.split("\n"))
