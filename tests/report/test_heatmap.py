import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from requant.evaluate.sensitivity_table import gather, write_table
from requant.report.heatmap import LONGEST_NAMES, MOST_ROWS, draw_sensitivity, in_cell, shortened


def write(path, values, column="psnr_db", samples=3, synthetic=False, name="layer{}.weights"):
    """Write a table with a tensor per row of values, in 8, 4 and 2 bits; None where it can't be stored so."""
    tensors = []
    for position, row in enumerate(values, 1):
        cells = [
            {
                "scheme": f"kmeans_{bits}", "bits": bits, "bytes": bits, "reason": "too small" if value is None else "",
                "figures": {} if value is None else {column: value if math.isfinite(value) else None},
            }
            for bits, value in zip((8, 4, 2), row, strict=True)
        ]  # fmt: skip
        tensors.append(
            {"position": position, "name": name.format(position), "types": ["conv"], "shape": [1000, position],
             "bytes": 4000 * position, "cells": cells}
        )  # fmt: skip
    write_table(gather([{"samples": samples, "synthetic": synthetic, "tensors": tensors}]), path)
    return path


def drawn(folder, *arguments, **options):
    """Return the texts of a heat map in their order, which matplotlib writes beside the outlines of their letters."""
    output = folder / "map.svg"
    draw_sensitivity("m", "kmeans", write(folder / "table.tsv", *arguments, **options), output)
    return re.findall(r"<!-- (.*?) -->", output.read_text())


def test_it_has_names_sizes_bits_and_figures(tmp_path):
    texts = drawn(tmp_path, [(60.0, 41.25, 20.0), (math.inf, 50.0, 104.6)])
    assert {"m, kmeans: which layers hurt", "8 bits", "4 bits", "2 bits"} <= set(texts)
    assert {"layer1.weights", "4.0 kB", "layer2.weights", "8.0 kB"} <= set(texts)
    assert [text for text in texts if text in ("60.0", "41.2", "20.0", "equal", "50.0", "105")] == [
        "60.0", "41.2", "20.0", "equal", "50.0", "105",
    ]  # fmt: skip
    assert "One tensor is quantized, all others stay float; 3 samples." in texts
    assert "In the cells: PSNR against the float model (dB); lower is worse." in texts


def test_the_same_table_gives_the_same_bytes(tmp_path):
    table = write(tmp_path / "table.tsv", [(60.0, 41.0, 20.0), (50.0, None, 20.0)])
    for name in ("a.svg", "b.svg"):
        draw_sensitivity("m", "kmeans", table, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()


def test_made_up_samples_and_what_can_not_be_stored_are_said(tmp_path):
    texts = drawn(tmp_path, [(60.0, None, 20.0)], samples=1, synthetic=True)
    assert "One tensor is quantized, all others stay float; 1 made-up sample. –: can't be stored so." in texts
    assert "–" in texts


@pytest.mark.parametrize("rows", [[(None, None, None)], [(40.0, 40.0, 40.0)], [(math.inf, math.inf, math.inf)]])
def test_there_need_be_no_difference(tmp_path, rows):
    assert "8 bits" in drawn(tmp_path, rows)


@pytest.mark.parametrize(
    ("column", "word"), [("kl_divergence", "divergence"), ("snr_db", "SNR"), ("agreement", "agree")]
)
def test_the_figure_is_named(tmp_path, column, word):
    assert any(text.startswith(f"In the cells: {word}") for text in drawn(tmp_path, [(0.9, 0.5, 0.25)], column))


def test_of_many_tensors_the_most_sensitive_are_drawn_in_the_order_of_the_model(tmp_path):
    rows = [(60.0, 50.0, 20.0 if position % 2 else 40.0) for position in range(2 * MOST_ROWS)]
    texts = drawn(tmp_path, rows)
    names = [text for text in texts if text.startswith("layer")]
    assert names == [f"layer{position}.weights" for position in range(2, 2 * MOST_ROWS + 1, 2)]
    assert any(text.endswith(f"Shown are the {MOST_ROWS} most sensitive of {2 * MOST_ROWS} tensors.") for text in texts)


def test_all_of_as_many_as_fit_are_drawn(tmp_path):
    texts = drawn(tmp_path, [(60.0, 50.0, 20.0)] * MOST_ROWS)
    assert not any("most sensitive" in text for text in texts)
    assert f"layer{MOST_ROWS}.weights" in texts


def test_long_names_lack_their_middle():
    name = "encoder.layers.11.attention.output.dense.weight_to_fp16"
    short = shortened([name, "conv"])
    assert short == ["encoder.layers.11.at…nse.weight_to_fp16"[:20] + "…" + name[-19:], "conv"]
    assert len(short[0]) == LONGEST_NAMES[0]


def test_names_that_would_be_shortened_to_one_are_shortened_less():
    names = [f"encoder.layers.11.part_{part}.attention.output.dense.weight" for part in "ab"]
    assert len(set(shortened(names))) == 2
    assert max(map(len, shortened(names))) <= LONGEST_NAMES[-1]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("psnr_db", 41.26, "41.3"), ("snr_db", 104.6, "105"), ("snr_db", -3.0, "-3.0"), ("psnr_db", math.inf, "equal"),
        ("agreement", 0.875, "88 %"), ("kl_divergence", 0.0, "0"), ("kl_divergence", 3.4e-7, "3e-7"),
        ("kl_divergence", 9.96e-4, "0.0010"), ("kl_divergence", 0.0304, "0.030"), ("kl_divergence", 0.33, "0.33"),
        ("kl_divergence", 1.04, "1.0"), ("kl_divergence", 12.4, "12"), ("kl_divergence", math.nan, "–"),
    ],
)  # fmt: skip
def test_figures_are_short(column, value, text):
    assert in_cell(column, value) == text


def pixels(svg):
    """Return the colours of the cells, row by row: the SVG turns the picture upside down."""
    text = re.search(r'data:image/png;base64,([^"]+)', svg.read_text())[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode("".join(text.split())))).convert("RGB"))[::-1]
    height, width = picture.shape[0] // 2, picture.shape[1] // 3
    return [
        [tuple(picture[row * height + height // 2, column * width + width // 2].tolist()) for column in range(3)]
        for row in range(2)
    ]


def test_a_figure_has_the_same_colour_in_every_map(tmp_path):
    found = []
    for index, worst in enumerate((10.0, 60.0)):
        table = write(tmp_path / f"{index}.tsv", [(60.0, 40.0, 20.0), (60.0, 40.0, worst)])
        draw_sensitivity("m", "kmeans", table, tmp_path / f"{index}.svg")
        found.append(pixels(tmp_path / f"{index}.svg"))
    assert found[0][0] == found[1][0]
    assert sum(found[0][1][2]) < sum(found[1][1][2])
