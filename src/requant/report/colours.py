"""One colour and one marker per mode, one kind of line per family of a mode, for all plots.

They are told apart by colour-blind readers and in grey.

The colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), with a grey and a violet in place of
their yellow and black, which are not seen on a white and on a dark page.
"""

from __future__ import annotations

from typing import Any

MODE_STYLES: dict[str, tuple[str, str]] = {
    "linear": ("#0072B2", "o"),
    "linear_symmetric": ("#56B4E9", "D"),
    "linear_lut": ("#E69F00", "s"),
    "kmeans": ("#009E73", "^"),
    "unique": ("#999999", "P"),
    "custom_lut": ("#CC79A7", "v"),
    "prune": ("#8B62B8", "X"),
}
# The families of a mode, as kmeans and kmeans_group16, in their order.
LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
ACCENT = "#D55E00"
INK = "#333333"
