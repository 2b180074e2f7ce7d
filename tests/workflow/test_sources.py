"""Originals of other frameworks on their whole way: converted, checked against their source, quantized, reported."""

import json

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from requant.originals import lock_original


def add_onnx(project, name="net", operator="Relu"):
    """Lock a small ONNX network: a convolution, an activation, and a fully connected layer."""
    random = np.random.default_rng(7)
    weights = {
        "kernel": random.standard_normal((32, 3, 3, 3)) / 5,
        "matrix": random.standard_normal((32 * 64, 10)) / 40,
        "shape": np.array([1, -1], np.int64),
    }
    tensors = [
        numpy_helper.from_array(v.astype(np.float32) if v.dtype.kind == "f" else v, k) for k, v in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["b"], "activation"),
        helper.make_node("Reshape", ["b", "shape"], ["c"], "flat"),
        helper.make_node("MatMul", ["c", "matrix"], ["scores"], "matmul"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("scores", TensorProto.FLOAT, [1, 10])],
        tensors,
    )
    path = project.folder / "models_original" / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    lock_original(path)
    return {"original": f"models_original/{name}.onnx", "modes": {"linear": [8], "kmeans": [4]}}


def summary_of(project, name="net"):
    return pd.read_csv(project.folder / "results" / name / "summary.tsv", sep="\t").set_index("scheme")


def test_an_onnx_original_goes_the_whole_way(project):
    project.configure(net=add_onnx(project))
    run = project.snakemake()
    assert run.status == 0, run.text
    assert run.jobs["check_conversion"] == 1
    table = summary_of(project)
    assert table.loc["float", "source_db"] > 50
    assert table.loc[["linear_8", "kmeans_4"], "source_db"].isna().all()
    record = json.loads((project.folder / "results/net/conversion.json").read_text())
    assert record["framework"].startswith("ONNX Runtime")
    assert record["synthetic"] is True
    page = (project.folder / "results/report/index.html").read_text()
    assert f"Conversion: {record['ratio_db']:.0f} dB against ONNX Runtime" in page
    assert project.snakemake("-n").jobs == {}


def test_a_conversion_that_is_not_good_enough_stops_the_run(project):
    entry = add_onnx(project)
    project.configure(net={**entry, "conversion": {"min_snr": 200}})
    run = project.snakemake()
    assert run.status != 0
    assert "the conversion of models_original/net.onnx is not good enough: held against ONNX Runtime" in run.text
    assert "the output 'scores' has a SNR of" in run.text
    assert "200.0 dB are wanted (min_snr)" in run.text
    assert not (project.folder / "results/net/summary.tsv").exists()


def test_another_limit_converts_nothing_again(project):
    entry = add_onnx(project) | {"modes": "none"}
    project.configure(net=entry)
    assert project.snakemake("results/net/conversion.json").status == 0
    project.configure(net={**entry, "conversion": {"min_snr": 20}})
    jobs = project.snakemake("-n", "results/net/conversion.json").jobs
    assert "convert" not in jobs
    assert jobs["check_conversion"] == 1


def test_an_operator_without_a_translation_is_named_with_its_file(project):
    project.configure(net=add_onnx(project, operator="Bernoulli") | {"modes": "none"})
    run = project.snakemake()
    assert run.status != 0
    message = "net.onnx can't be converted: it uses operators without a translation: Bernoulli (node activation)"
    assert message in run.text


@pytest.mark.parametrize(
    ("conversion", "message"),
    [
        ({"inputs": [{"name": "y"}, {"name": "z"}]}, "the source has no input 'z'; it has x"),
        ({"class_labels": "none.txt"}, "conversion names the file none.txt, which does not exist"),
        ({"factory": "none.py:build"}, "conversion names the file none.py, which does not exist"),
        ({"convert_to": "coreml"}, "'coreml' is not one of"),
        ({"input": []}, "unknown key 'input'"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_told(project, conversion, message):
    project.configure(net={**add_onnx(project), "conversion": conversion})
    run = project.snakemake()
    assert run.status != 0
    assert message in run.text
    assert "Traceback" not in run.text


def test_a_core_ml_original_has_nothing_to_convert(project):
    project.add_network()
    project.configure(tiny={"original": "models_original/tiny.mlmodel", "conversion": {"min_snr": 20}})
    run = project.snakemake("-n")
    assert run.status != 0
    assert "is a Core ML model already: take the key conversion out" in run.text
