"""The page in a real browser: headless Chromium, where there is one."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from requant.convert import FLOAT
from requant.evaluate.data import EvaluationData
from requant.evaluate.outputs import ModelOutputs
from requant.records import write_record
from requant.report.page import ModelSection, render_page
from requant.report.plots import plot_fidelity
from requant.report.summary import summarize
from requant.report.viewer import view
from tests.report.test_report import evaluation

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--enable-logging=stderr", "--virtual-time-budget=8000",
)  # fmt: skip


def opened(page, script, folder, *flags):
    """Return the document after a script has run at the end of the page, and what the browser logged."""
    path = folder / "page.html"
    begin, _, end = page.rpartition("</body>")  # the last one: there are others in the words of scripts
    path.write_text(f'{begin}<script type="module">{script}</script></body>{end}')
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    figures = [(FLOAT, 8, None), ("linear_8", 2, 45.0), ("kmeans_4", 1, 31.0), ("linear_4", 1.01, 22.0)]
    summary = summarize("net", [evaluation(s, round(1e6 * mb), psnr_db=db, ssim=0.9) for s, mb, db in figures], {})
    plot_fidelity(summary, folder / "fidelity.svg")
    Image.new("RGB", (40, 20), "white").save(folder / "sheet.png")
    random = np.random.default_rng(1)
    pictures = {scheme: random.integers(0, 256, (2, 16, 16, 3), np.uint8) for scheme, _, _ in figures}
    outputs = {scheme: ModelOutputs(["one", "two"], [], False, {"y": found}) for scheme, found in pictures.items()}
    data = EvaluationData(["one", "two"], lambda index: {"x": Image.new("RGB", (16, 16), (index, 0, 0))})
    variants = {scheme: found for scheme, found in outputs.items() if scheme != FLOAT}
    write_record(folder / "viewer.json", view(data, outputs[FLOAT], variants, dict.fromkeys(outputs, 1.0)))
    section = ModelSection(
        summary, "models_original/net.mlmodel", {"net.mlmodel": "0" * 64}, 8_000_000, "../net", "two pictures",
        folder / "fidelity.svg", folder / "sheet.png", folder / "viewer.json",
    )  # fmt: skip
    return render_page([section], "1.0")


def test_everything_is_drawn_and_nothing_complains(page, tmp_path):
    document, console = opened(page, "", tmp_path)
    assert console == []
    assert '<figure class="chart drawn">' in document
    assert document.count("aria-roledescription") > 3  # the points of the chart
    assert re.search(r'data-part="stage"[^>]*><img[^>]*><img[^>]*class="above"', document)


def test_a_table_sorts_by_numbers_both_ways(page, tmp_path):
    order = "[...document.querySelectorAll('tbody th a')].map((each) => each.textContent)"
    script = (
        "const heading = [...document.querySelectorAll('th button')].find((each) => each.textContent === 'MB');"
        f"heading.click(); const up = {order}; heading.click(); const down = {order};"
        "document.body.dataset.orders = JSON.stringify([up, down]);"
    )
    document, console = opened(page, script, tmp_path)
    assert console == []
    up = ["kmeans_4", "linear_4", "linear_8", "float"]
    found = re.search(r'data-orders="([^"]*)"', document)[1].replace("&quot;", '"')
    assert found == str([up, up[::-1]]).replace("'", '"').replace(" ", "")


def test_the_slider_shows_any_two_pictures_and_their_difference(page, tmp_path):
    script = (
        'const part = (name) => document.querySelector(`[data-part="${name}"]`);'
        "part('left').value = 'photograph'; part('right').value = 'linear_8'; part('difference').checked = true;"
        "part('wipe').value = 25; part('wipe').dispatchEvent(new Event('input'));"
        "part('difference').dispatchEvent(new Event('change'));"
    )
    document, console = opened(page, script, tmp_path)
    assert console == []
    assert "photograph (what went in) on the left, 8 times the difference to linear_8" in document
    assert re.search(r'data-part="stage"[^>]*--wipe: 25%[^>]*><img[^>]*><canvas', document)


def test_the_page_is_dark_where_the_system_is(page, tmp_path):
    script = "document.body.dataset.page = getComputedStyle(document.body).backgroundColor;"
    light, _ = opened(page, script, tmp_path)
    dark, console = opened(page, script, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert console == []
    colours = [re.search(r'data-page="([^"]*)"', document)[1] for document in (light, dark)]
    assert colours == ["rgb(251, 251, 249)", "rgb(22, 24, 27)"]


def test_nothing_may_leave_the_page(page, tmp_path):
    script = "fetch('http://localhost:9/').catch((error) => { document.body.dataset.fetched = 'refused'; });"
    document, console = opened(page, script, tmp_path)
    assert 'data-fetched="refused"' in document
    assert any("Content Security Policy" in line for line in console)
    assert not re.search(r'(?:src|link [^>]*href)="https?:', document)
