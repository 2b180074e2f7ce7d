"""One colour and one marker per mode, for all plots; told apart by colour-blind readers and in grey.

The colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

MODE_STYLES: dict[str, tuple[str, str]] = {
    "linear": ("#0072B2", "o"),
    "linear_symmetric": ("#56B4E9", "D"),
    "linear_lut": ("#E69F00", "s"),
    "kmeans": ("#009E73", "^"),
    "custom_lut": ("#CC79A7", "v"),
}
ACCENT = "#D55E00"
INK = "#333333"
