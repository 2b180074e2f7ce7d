import shutil
import subprocess
import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from requant.cli import main
from requant.coreml.description import outputs_of
from requant.coreml.model import load, save
from requant.originals import Entry, read_index
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from requant.report.anatomy import describe
from tests.building import add_inner_product, network, numbers
from tests.coreml.joining import joined, scaler
from tests.workflow.project import DIGITS


@pytest.fixture
def originals(tmp_path, some_weights):
    (tmp_path / "models_original").mkdir()
    save(
        network(lambda b: add_inner_product(b, numbers(4, 5), numbers(4)), {"x": (5,)}),
        tmp_path / "models_original/a.mlmodel",
    )
    save(some_weights, tmp_path / "b.mlpackage.zip")
    main(["unpack", str(tmp_path / "b.mlpackage.zip"), str(tmp_path / "models_original/b.mlpackage")])
    return tmp_path / "models_original"


def test_lock_then_verify(originals, capsys):
    assert main(["lock", str(originals / "a.mlmodel"), str(originals / "b.mlpackage")]) == 0
    unrecorded = "  where it comes from and its licence are not recorded: --origin, --licence"
    assert capsys.readouterr().out.splitlines() == [
        f"{originals / 'a.mlmodel'}: locked, 1 file",
        unrecorded,
        f"{originals / 'b.mlpackage'}: locked, 3 files",
        unrecorded,
    ]
    assert main(["lock", str(originals / "a.mlmodel")]) == 0
    assert capsys.readouterr().out == f"{originals / 'a.mlmodel'}: locked already, unchanged\n"
    assert main(["verify", "--folder", str(originals)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{originals / 'a.mlmodel'}: unchanged, 1 file, 0.00 MB"
    assert lines[1].startswith("  locked on 2")
    assert lines[2] == f"{originals / 'b.mlpackage'}: unchanged, 3 files, 0.12 MB"
    assert lines[4] == "2 originals, 4 files, 0.12 MB: all unchanged"


def test_lock_notes_where_an_original_comes_from(originals, capsys, monkeypatch):
    path = originals / "a.mlmodel"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert main(["lock", str(path), "--origin", "https://example.org", "--licence", "MIT"]) == 0
    words = "  origin: https://example.org; licence: MIT; locked on 1970-01-02"
    assert capsys.readouterr().out == f"{path}: locked, 1 file\n{words}\n"
    assert main(["verify", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == words
    assert main(["lock", str(path), "--license", "Apache-2.0", "--date", "2026-01-31"]) == 0
    known = read_index(originals)["a.mlmodel"]
    assert known == Entry("https://example.org", "Apache-2.0", date(1970, 1, 2))
    assert main(["lock", str(originals / "b.mlpackage"), "--date", "2026-01-31"]) == 0
    assert read_index(originals)["b.mlpackage"] == Entry(locked=date(2026, 1, 31))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    capsys.readouterr()
    assert main(["lock", str(path)]) == 1
    assert "SOURCE_DATE_EPOCH has to be a number of seconds, not 'yesterday'" in capsys.readouterr().err


def test_lock_goes_on_after_one_that_can_not_be_locked(originals, capsys):
    missing, present = originals / "c.mlmodel", originals / "a.mlmodel"
    assert main(["lock", str(missing), str(present), str(originals / "d.mlmodel")]) == 1
    captured = capsys.readouterr()
    assert f"{present}: locked" in captured.out
    assert captured.err.startswith("requant: there are 2 problems.\n- ")
    assert f"- {missing} does not exist." in captured.err


def test_lock_refuses_a_package_that_is_not_whole(originals, capsys):
    package = originals / "b.mlpackage"
    (package / "Data/com.apple.CoreML/weights/weight.bin").unlink()
    (package / "Data/com.apple.CoreML/weights").rmdir()
    assert main(["lock", str(package)]) == 1
    assert "its manifest names Data/com.apple.CoreML/weights, which is not there" in capsys.readouterr().err
    (package / "Manifest.json").unlink()
    assert main(["lock", str(package)]) == 1
    assert "b.mlpackage is incomplete: it has no Manifest.json" in capsys.readouterr().err
    assert not (originals / "SHA256SUMS").exists()
    shutil.rmtree(package)
    package.mkdir()
    assert main(["lock", str(package)]) == 1
    assert "b.mlpackage is an empty folder" in capsys.readouterr().err


def test_lock_says_which_files_of_a_package_its_manifest_does_not_name(originals, capsys):
    (originals / "b.mlpackage/notes.txt").write_text("mine")
    assert main(["lock", str(originals / "b.mlpackage")]) == 0
    assert "  with notes.txt, which its manifest does not name\n" in capsys.readouterr().out


@pytest.fixture
def archive(monkeypatch):
    """Stand in for the archive, which has rooms and tests of its own."""
    kept = {}

    def preserve_original(folder, original, lock):
        kept[folder, original.name, lock.digest_of(original)] = "kept"
        return f"version 1 in {folder}"

    def find_original(folder, original, lock):
        return kept.get((folder, original.name, lock.digest_of(original)))

    module = SimpleNamespace(preserve_original=preserve_original, find_original=find_original)
    monkeypatch.setitem(sys.modules, "requant.archive.originals", module)


def test_lock_replaces_an_original_and_says_where_the_old_one_is(originals, archive, capsys, tmp_path):
    path, new = originals / "a.mlmodel", tmp_path / "new.mlmodel"
    new.write_bytes(b"new")
    assert main(["lock", str(path)]) == 0
    capsys.readouterr()
    assert main(["lock", "--replace", str(path), "--with", str(new), "--archive", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: kept as it was: version 1 in {tmp_path / 'kept'}",
        f"{path}: replaced by {new}",
    ]
    assert main(["verify", str(path)]) == 0
    assert path.read_bytes() == b"new"
    assert main(["lock", "--replace", str(path), "--with", str(new)]) == 0
    assert "the same bytes, nothing is replaced" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--replace", "a"], ["--with", "a"], ["a", "--replace", "a", "--with", "b"]])
def test_a_replacement_wants_both_files_and_no_other(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["lock", *arguments])
    assert "give the originals to lock, or --replace FILE --with FILE" in capsys.readouterr().err


def test_verify_tells_all_problems_and_what_is_not_locked(originals, capsys):
    main(["lock", str(originals / "a.mlmodel"), str(originals / "b.mlpackage")])
    (originals / "a.mlmodel").unlink()
    (originals / "b.mlpackage/Manifest.json").chmod(0o644)
    (originals / "b.mlpackage/Manifest.json").write_text("{}")
    (originals / "b.mlpackage/more").write_text("")
    (originals / "new.mlmodel").write_text("")
    capsys.readouterr()
    assert main(["verify", "--folder", str(originals)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "2 originals, 4 files, 0.12 MB: 2 not as locked"
    assert f"{originals / 'new.mlmodel'} is not locked" in captured.out
    assert captured.err.startswith("requant: there are 3 problems.\n")
    for part in ("a.mlmodel is missing, but locked", "more is not locked, though", "Manifest.json has changed"):
        assert part in captured.err


def test_verify_says_how_far_it_is_if_asked(originals, capsys):
    main(["lock", str(originals / "b.mlpackage")])
    capsys.readouterr()
    assert main(["verify", "--progress", "--folder", str(originals)]) == 0
    assert capsys.readouterr().err.endswith("\rverified 0 of 0 MB\n")


def test_verify_wants_something_to_verify(originals, capsys):
    assert main(["verify", "--folder", str(originals)]) == 1
    assert f"nothing is locked in {originals}" in capsys.readouterr().err
    assert main(["verify", "--folder", str(originals / "nowhere")]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err


def test_verify_tells_a_changed_original_and_fails(originals, capsys):
    main(["lock", str(originals / "a.mlmodel")])
    (originals / "a.mlmodel").chmod(0o644)
    (originals / "a.mlmodel").write_bytes(b"x")
    capsys.readouterr()
    assert main(["verify", str(originals / "a.mlmodel")]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "1 original, 1 file, 0.00 MB: 1 not as locked"
    assert captured.err.startswith(f"requant: {originals / 'a.mlmodel'} has changed since it was locked.")


def test_lock_tells_what_is_missing_and_fails(originals, capsys):
    assert main(["lock", str(originals / "c.mlmodel")]) == 1
    assert capsys.readouterr().err == f"requant: {originals / 'c.mlmodel'} does not exist.\n"


def test_verify_without_names_looks_into_the_usual_folder(originals, capsys, monkeypatch):
    main(["lock", str(originals / "a.mlmodel")])
    monkeypatch.chdir(originals.parent)
    capsys.readouterr()
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.startswith("models_original/a.mlmodel: unchanged")


def test_describe_a_network(originals, capsys):
    assert main(["describe", str(originals / "a.mlmodel")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{originals / 'a.mlmodel'}: NeuralNetwork, 0.00 MB, iOS 11 and macOS 10.13 or newer",
        "  input x: array 5 float32",
        "  output y: array float32",
        "  24 weights in 2 tensors, 32.00 bits per weight",
        "    float32: 24 weights in 2 tensors, 0.00 MB",
        "  1 layer: 1 innerProduct",
    ]


def test_describe_a_variant(some_weights, tmp_path, capsys):
    save(quantize(some_weights, Scheme.of("kmeans", 4)), tmp_path / "v.mlpackage.zip")
    assert main(["describe", "--tensors", str(tmp_path / "v.mlpackage.zip")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'v.mlpackage.zip'}: ML Program, 0.02 MB, iOS 16 and macOS 13 or newer"
    assert "    fc_weight_0: 20 x 800, lookup table, 4 bits" in lines
    assert "    conv_bias_0: 32, float32, of conv" in lines


def test_quantize_says_what_each_tensor_became(tmp_path, capsys):
    output = tmp_path / "digits.mlpackage.zip"
    assert main(["quantize", str(DIGITS), "kmeans_4_group16", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"wrote {output}, 0.09 MB" in told
    assert "iOS 18 and macOS 15 or newer" in told
    assert "network_conv2_weight: 64 x 32 x 3 x 3, lookup table, 4." in told
    assert "network_scores_weight: 10 x 96, float32, 32.00 bits per weight, SNR infinite (equal) (960 numbers;" in told
    assert "of conv" in describe(load(DIGITS), 1, tensors=True)


def test_what_has_nothing_to_quantize_is_described_so_and_not_quantized(tmp_path, capsys):
    source = tmp_path / "m.mlmodel"
    for model in (network(lambda b: b.add_activation("relu", "RELU", "x", "y")), joined([joined([scaler()]).spec])):
        save(model, source)
        assert main(["describe", str(source)]) == 0
        assert capsys.readouterr().out.count("  no weights to quantize\n") == 1
        assert main(["quantize", str(source), "kmeans_4", str(tmp_path / "o.mlmodel")]) == 1
        told = capsys.readouterr().err
        assert told == f"requant: {source} has no weights that could be quantized; ship it as it is.\n"


def test_quantize_tells_a_scheme_that_there_is_not(tmp_path, capsys):
    output = tmp_path / "digits.mlpackage.zip"
    assert main(["quantize", str(DIGITS), "kmeans_5", str(output)]) == 1
    assert "has no kmeans at 5 bits" in capsys.readouterr().err
    assert not output.exists()


def test_describe_tells_a_foreign_file(tmp_path, capsys):
    (tmp_path / "x.mlmodel").write_bytes(b"\xff\xff")
    assert main(["describe", str(tmp_path / "x.mlmodel")]) == 1
    assert "x.mlmodel is not a Core ML model" in capsys.readouterr().err


def test_unpack_lays_out_the_same_model(originals, some_weights):
    assert load(originals / "b.mlpackage").spec == some_weights.spec


def test_unpack_tells_that_a_network_needs_no_package(originals, capsys, tmp_path):
    assert main(["unpack", str(originals / "a.mlmodel"), str(tmp_path / "a.mlpackage")]) == 1
    assert "its .mlmodel file is what Xcode takes" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["lock"], ["no-such-command"]])
def test_a_wrong_command_line_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: requant")


def test_the_module_runs_as_a_command(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "requant.cli", "lock", str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"requant: {tmp_path / 'a'} does not exist.\n"


def test_convert_makes_the_float_model_of_a_core_ml_original(tmp_path, capsys):
    output = tmp_path / "float.mlpackage.zip"
    assert main(["convert", str(DIGITS), str(output)]) == 0
    assert capsys.readouterr().out == f"wrote {output}, 0.63 MB\n"
    assert load(output).spec == load(DIGITS).spec


def test_convert_ends_with_the_figures_of_the_check(tmp_path, capsys):
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    value = helper.make_tensor_value_info
    weights = numpy_helper.from_array(numbers(4, 5).astype(np.float32), "w")
    graph = helper.make_graph([node], "g", [value("x", 1, [1, 4])], [value("y", 1, [1, 5])], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    (tmp_path / "conversion.yaml").write_text("compute_precision: float32\noutputs: [{name: scores}]\n")
    arguments = [str(tmp_path / "g.onnx"), str(tmp_path / "g.mlpackage.zip")]
    assert main(["convert", *arguments, "--conversion", str(tmp_path / "conversion.yaml")]) == 0
    assert " ONNX Runtime " in capsys.readouterr().out.splitlines()[1]
    assert [feature.name for feature in outputs_of(load(tmp_path / "g.mlpackage.zip"))] == ["scores"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shape: [1]", "conversion: unknown key 'shape'"),
        ("- 1", "has to hold the keys of `conversion`"),
        ("[", "as YAML"),
    ],
)
def test_convert_says_what_is_wrong_with_its_settings(tmp_path, capsys, text, message):
    (tmp_path / "conversion.yaml").write_text(text)
    arguments = ["convert", str(DIGITS), str(tmp_path / "o.zip"), "--conversion", str(tmp_path / "conversion.yaml")]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
