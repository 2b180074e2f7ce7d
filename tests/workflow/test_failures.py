"""What a user is told when something is wrong, and that nothing else happens then."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from requant.coreml.model import load, to_bytes
from requant.originals import lock_original
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize

MODES = {"linear": [8]}


def entry(name="tiny", **more):
    return {"original": f"models_original/{name}.mlmodel", "modes": MODES, **more}


def flip_one_byte(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_changed_original_stops_the_run_before_any_conversion(project):
    project.add_network("tiny")
    changed = project.add_network("other", seed=1)
    expected = (project.folder / "models_original/SHA256SUMS").read_text().splitlines()[1].split()[0]
    flip_one_byte(changed)
    project.configure(tiny=entry(), other=entry("other"))
    run = project.snakemake()
    assert run.status != 0
    assert "models_original/other.mlmodel has changed since it was locked" in run.text
    assert expected in run.text
    assert "Restore the original" in run.text
    assert "Traceback" not in run.text
    assert not list((project.folder / "results").glob("*/float"))


def test_a_changed_file_in_a_package_is_named(project):
    package = project.add_program()
    flip_one_byte(package / "Data/com.apple.CoreML/weights/weight.bin")
    project.configure(digits={"original": "models_original/digits.mlpackage", "modes": MODES})
    run = project.snakemake()
    assert run.status != 0
    assert "weights/weight.bin has changed" in run.text


def test_an_original_that_is_not_locked_is_refused_with_the_command_that_locks_it(project):
    project.add_network(locked=False)
    project.configure(tiny=entry())
    run = project.snakemake()
    assert run.status != 0
    assert "is not locked" in run.text
    assert "requant lock models_original/tiny.mlmodel" in run.text
    assert not (project.folder / "results").exists()


def test_a_missing_original_is_named(project):
    project.add_network().unlink()
    project.configure(tiny=entry())
    run = project.snakemake()
    assert run.status != 0
    assert "models_original/tiny.mlmodel is missing, but locked" in run.text


def test_an_unreadable_original_is_named(project):
    path = project.add_network()
    path.unlink()
    path.mkdir()  # as root, permissions do not make a file unreadable
    project.configure(tiny=entry())
    run = project.snakemake()
    assert run.status != 0
    assert "models_original/tiny.mlmodel" in run.text
    assert "Traceback" not in run.text


def test_a_quantized_original_is_refused_naming_layers_and_bits(project):
    path = project.add_network()
    variant = quantize(load(path), Scheme.of("kmeans", 4))
    quantized = path.with_name("small.mlmodel")
    quantized.write_bytes(to_bytes(variant, "small"))
    lock_original(quantized)
    project.configure(small=entry("small"))
    run = project.snakemake()
    assert run.status != 0
    assert "a quantized model cannot be quantized again" in run.text
    assert "conv1.weights: lookup table, 4 bits" in run.text
    assert not list((project.folder / "results").glob("*/float/*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modez": {}}, "unknown key 'modez'"),
        ({"modes": {"linear": [9]}}, "bit widths"),
        ({"modes": {"linear_symmetric": [4]}}, "no linear_symmetric at 4 bits"),
        ({"data": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_a_broken_configuration_is_one_message_before_any_job(project, change, message):
    project.add_network()
    project.configure(tiny=entry(**{k: v for k, v in change.items() if k != "modes"}) | change)
    run = project.snakemake("-n")
    assert run.status != 0
    assert message in run.text
    assert "models.tiny" in run.text
    assert "Traceback" not in run.text


def test_a_mode_that_the_kind_does_not_have_is_refused_on_the_command_line_too(project):
    project.add_program()
    project.configure(digits={"original": "models_original/digits.mlpackage", "modes": MODES})
    run = project.snakemake("-n", "--", "results/digits/variants/digits_linear_5.mlpackage.zip")
    assert run.status != 0
    assert "no linear at 5 bits" in run.text


def test_a_function_that_fails_is_told_with_its_line(project):
    project.add_network()
    (project.folder / "mine.py").write_text("def table(bits, weights):\n    return weights.nothing\n")
    project.configure(tiny=entry(custom_lut="mine.py:table") | {"modes": {"custom_lut": [2]}})
    run = project.snakemake()
    assert run.status != 0
    assert "mine.py:table failed at 2 bits" in run.text
    assert "return weights.nothing" in run.text


def test_a_killed_run_ends_the_next_time_with_the_same_bytes(project):
    project.add_network()
    project.configure(tiny=entry() | {"modes": {"kmeans": [8, 6, 4], "linear": [8, 4]}})
    assert project.snakemake("--", "variants").status == 0
    undisturbed = project.digests()
    shutil.rmtree(project.folder / "results")
    process = subprocess.Popen(
        project.command("--", "variants"), cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not project.digests() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run = project.snakemake("--", "variants")
    assert run.status == 0, run.text
    assert project.digests() == undisturbed
