"""What a licence is called in the SPDX list, so that programs know it again (https://spdx.org/licenses/)."""

from __future__ import annotations

from cyclonedx.spdx import fixup_id


def spdx_id(licence: str) -> str | None:
    """Return the identifier of a licence in the SPDX list, as `Apache-2.0`; None if it has none.

    Args:
        licence: in the owner's words; upper and lower case count as the same.
    """
    return fixup_id(licence.strip())


def spdx_page(licence: str) -> str | None:
    """Return the address of a licence in the SPDX list; None if it is not in there."""
    identifier = spdx_id(licence)
    return f"https://spdx.org/licenses/{identifier}" if identifier else None
