"""The one exception that is meant for the user."""

from __future__ import annotations


class RequantError(Exception):
    """Something the user can mend: what is wrong, in which file, model, layer or key, and what to do."""
