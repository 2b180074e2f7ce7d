import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from requant.coreml.inventory import each_weight
from requant.coreml.model import Model, load, save
from requant.coreml.raising import raised
from requant.coreml.systems import BLOCKWISE_CONSTANTS
from requant.errors import RequantError
from requant.evaluate.comparison import compare
from requant.evaluate.data import EvaluationData, load_data
from requant.evaluate.outputs import run_all
from requant.evaluate.sensitivity import Bench, effect, in_words, measure_part, measured_tensors, only, some_of
from requant.evaluate.sensitivity_table import COLUMNS, effect_of, gather, harm, most_sensitive, read_table, write_table
from requant.quantize.scheme import Scheme
from requant.quantize.selection import Rule, Selection, TensorFacts
from requant.quantize.variant import facts_of, quantize_with_choices
from requant.runtime import load as load_runner
from requant.runtime import open_model
from tests.building import add_inner_product, network, numbers, some_weights
from tests.coreml.joining import nested, programs
from tests.workflow.project import DIGITS, picture_network

DATA = Path(__file__).parents[2] / "config" / "data" / "digits.npz"


def samples_for(model, count=3):
    return some_of(load_data(None, open_model(model).inputs), count)


def tensor_of(model, name):
    return next(facts for facts in facts_of(model) if facts.name == name)


def figures_of_the_file(model, scheme, name, data, folder, reference=None):
    """Return the figures of a tensor the long way: a rule written by hand, a variant's file, both models run."""
    selection = Selection((Rule(scheme, name=name), Rule("untouched")))
    variant, choices = quantize_with_choices(model, Scheme.parse(scheme), None, selection)
    assert [key for key, choice in choices.items() if choice.scheme] == [name]
    path = folder / f"variant{model.kind.suffix}"
    save(variant, path)
    outputs = run_all(load_runner(path), data)
    return compare(outputs, run_all(open_model(reference or model), data))


# One tensor's figures are those of the variant's file


@pytest.mark.parametrize("scheme", ["kmeans_4", "linear_3", "linear_lut_2"])
@pytest.mark.parametrize("name", ["conv0.weights", "conv1.weights"])
def test_figures_of_a_network_are_those_of_the_variant(name, scheme, tmp_path):
    model = picture_network()
    data = samples_for(model)
    found = Bench(model, data).measure(tensor_of(model, name), Scheme.parse(scheme))
    wanted = figures_of_the_file(model, scheme, name, data, tmp_path)["painted"]
    assert found["figures"] == {"psnr_db": wanted["psnr_db"]}
    assert math.isfinite(wanted["psnr_db"])


@pytest.mark.parametrize("scheme", ["kmeans_4", "linear_8", "linear_4_block32", "kmeans_2_group16"])
@pytest.mark.parametrize("name", ["network_conv3_weight", "network_hidden_weight"])
def test_figures_of_a_program_are_those_of_the_variant(name, scheme, tmp_path):
    model = load(DIGITS)
    data = some_of(load_data(DATA, open_model(model).inputs), 16)
    found = Bench(model, data).measure(tensor_of(model, name), Scheme.parse(scheme))
    wanted = figures_of_the_file(model, scheme, name, data, tmp_path)
    probabilities, label = (
        next(figures for figures in wanted.values() if figures["type"] == kind) for kind in ("probabilities", "label")
    )
    assert found["figures"] == {
        "kl_divergence": probabilities["kl_divergence"],
        "agreement": label["agreement"],
        "accuracy_drop": label["float_accuracy"] - label["accuracy"],
    }
    assert probabilities["kl_divergence"] > 0


def test_the_reference_is_raised_as_the_variant_is(tmp_path):
    model = some_weights()
    data = samples_for(model)
    found = Bench(model, data).measure(tensor_of(model, "fc_weight_0"), Scheme.parse("linear_4_block32"))
    reference = raised(model, BLOCKWISE_CONSTANTS)
    wanted = figures_of_the_file(model, "linear_4_block32", "fc_weight_0", data, tmp_path, reference)
    assert next(iter(wanted.values()))["snr_db"] == found["figures"]["snr_db"]


def test_figures_of_a_part_of_a_pipeline_are_those_of_the_variant(tmp_path):
    for model in (nested(), programs(tmp_path)):
        data = samples_for(model)
        threshold = 0 if model.files == {} else 1000
        tensors = measured_tensors(model, threshold)
        assert len(tensors) > 1
        for tensor in tensors:
            found = Bench(model, data).measure(tensor, Scheme.parse("kmeans_1"))
            wanted = figures_of_the_file(model, "kmeans_1", tensor.name, data, tmp_path)
            assert found["figures"] == {"snr_db": next(iter(wanted.values()))["snr_db"]}


def test_bytes_are_those_that_the_variant_stores():
    model = load(DIGITS)
    tensor = tensor_of(model, "network_hidden_weight")
    bench = Bench(model, samples_for(model, 1))
    assert bench.float_bytes(tensor) == 4 * tensor.count
    selection = only(tensor, facts_of(model), Scheme.parse("kmeans_4"))
    variant, _ = quantize_with_choices(model, Scheme.parse("kmeans_4"), None, selection)
    stored = {weight.name: weight.stored_bytes for weight in each_weight(variant)}
    assert bench.measure(tensor, Scheme.parse("kmeans_4"))["bytes"] == stored[tensor.name]
    assert tensor.count / 2 < stored[tensor.name] < tensor.count / 2 + 200


# Nothing changed


def test_an_untouched_model_has_an_infinite_ratio():
    model = picture_network()
    outputs = run_all(open_model(model), samples_for(model))
    assert effect(outputs, outputs) == {"psnr_db": math.inf}
    program = some_weights()
    outputs = run_all(open_model(program), samples_for(program))
    assert effect(outputs, outputs) == {"snr_db": math.inf}


def test_a_tensor_that_loses_nothing_has_an_infinite_ratio():
    def layers(builder):
        add_inner_product(builder, np.sign(numbers(4, 3)), numbers(4), "signs", "x", "y")

    model = network(layers, {"x": (3,)})
    cell = Bench(model, samples_for(model)).measure(tensor_of(model, "signs.weights"), Scheme.parse("kmeans_1"))
    assert cell["figures"] == {"snr_db": None}
    assert in_words(cell) == "SNR inf dB"


def test_a_tensor_that_can_not_be_stored_so_is_said_to_be():
    model = some_weights()
    tensor = tensor_of(model, "last_y_0")
    cell = Bench(model, samples_for(model)).measure(tensor, Scheme.parse("linear_4_block32"))
    assert cell["figures"] == {}
    assert "can't be divided into blocks of 32" in cell["reason"]
    assert cell["bytes"] == 4 * tensor.count
    assert in_words(cell) == cell["reason"]


# Which tensors


def test_tensors_above_the_threshold_are_measured():
    model = load(DIGITS)
    assert [facts.name for facts in measured_tensors(model)] == [
        "network_conv2_weight",
        "network_conv3_weight",
        "network_hidden_weight",
    ]
    assert "network_scores_weight" in [facts.name for facts in measured_tensors(model, 100)]
    assert not any(facts.name.endswith("bias") for facts in measured_tensors(model, 0))


def test_a_model_with_small_tensors_only_is_refused():
    with pytest.raises(RequantError, match=r"no tensor of .* has more than 1,000,000 numbers.*weight_threshold"):
        measured_tensors(load(DIGITS), 1_000_000)


@pytest.mark.parametrize("name", ["a", "a.b", "a.b.c", "conv*", "conv[1]", "conv?", "conv1"])
def test_a_selection_is_for_one_tensor_whatever_its_name(name):
    tensors = [
        TensorFacts(each, ("conv",), (2, 2), 4) for each in ("a", "a.b", "a.b.c", "conv*", "conv[1]", "conv?", "conv1")
    ]
    tensor = next(facts for facts in tensors if facts.name == name)
    scheme = Scheme.parse("kmeans_4")
    selection = only(tensor, tensors, scheme)
    for kind in {load(DIGITS).kind, picture_network().kind}:
        chosen = [facts.name for facts in tensors if selection.choose(facts, scheme, kind).scheme]
        assert chosen == [name]


def test_a_tensor_with_wildcards_in_its_name_is_measured():
    def layers(builder):
        add_inner_product(builder, numbers(4, 3), numbers(4), "fc[*]", "x", "h")
        add_inner_product(builder, numbers(4, 4), numbers(4), "fc?", "h", "y")

    model = network(layers, {"x": (3,)})
    names = [facts.name for facts in measured_tensors(model)]
    assert names == ["fc[*].weights", "fc?.weights"]
    bench = Bench(model, samples_for(model))
    assert all(bench.measure(tensor_of(model, name), Scheme.parse("kmeans_1"))["figures"] for name in names)


# Samples


def data_of(count, **options):
    return EvaluationData([f"s{i}" for i in range(count)], lambda index: {"x": index}, **options)


def test_samples_are_spread_over_the_data():
    chosen = some_of(data_of(100, targets=[str(i // 10) for i in range(100)]), 10)
    assert list(chosen.targets) == [str(i) for i in range(10)]
    assert [chosen.inputs(index)["x"] for index in range(10)] == list(range(0, 100, 10))
    assert list(chosen.names)[1] == "s10"


def test_fewer_samples_than_asked_for_are_all_taken():
    assert list(some_of(data_of(3), 16).names) == ["s0", "s1", "s2"]


def test_of_data_of_unknown_length_the_first_samples_are_taken():
    class Endless(list):
        def __iter__(self):
            return (f"s{i}" for i in itertools.count())

        def __len__(self):
            raise AssertionError("nobody knows")

    endless = dataclasses.replace(data_of(0), names=Endless(), counted=False)
    assert list(some_of(endless, 4).names) == ["s0", "s1", "s2", "s3"]


# Parts and the table


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.mlmodel"
    save(picture_network(), path)
    schemes = [Scheme.of_family("kmeans", bits) for bits in (8, 2)]
    return [measure_part(path, schemes, part, 4, 2) for part in (1, 2, 3, 4)]


def test_parts_hold_every_tensor_once(parts):
    names = [[tensor["name"] for tensor in part["tensors"]] for part in parts]
    assert names == [["conv0.weights"], ["conv1.weights"], ["conv2.weights"], []]
    assert {(part["samples"], part["synthetic"]) for part in parts} == {(2, True)}


def test_the_table_has_a_row_for_each_tensor_and_scheme_in_the_order_of_the_model(parts):
    table = gather(reversed(parts))
    assert list(table.columns) == list(COLUMNS)
    assert [*zip(table["tensor"], table["bits"], strict=True)] == [
        (f"conv{layer}.weights", bits) for layer in range(3) for bits in (8, 2)
    ]
    assert (table["saved_bytes"] == table["float_bytes"] - table["bytes"]).all()
    assert next(iter(table["shape"])) == "24x3x3x3"
    assert (table["float_bytes"] == 4 * table["weights"]).all()
    assert effect_of(table) == "psnr_db"


def test_the_table_is_read_as_it_was_written(parts, tmp_path):
    parts = [{**part, "tensors": [{**tensor, "name": "nan"} for tensor in part["tensors"]]} for part in parts]
    parts[0]["tensors"][0]["cells"] = [{**parts[0]["tensors"][0]["cells"][0], "figures": {"psnr_db": None}}]
    table = gather(parts)
    write_table(table, tmp_path / "table.tsv")
    found = read_table(tmp_path / "table.tsv")
    assert list(found["tensor"]) == list(table["tensor"])
    assert found["psnr_db"].tolist() == pytest.approx(table["psnr_db"].tolist(), rel=1e-5)
    assert found["psnr_db"][0] == math.inf
    assert found["snr_db"].isna().all()
    assert (found["reason"] == "").all()


def test_a_table_of_another_version_is_refused(tmp_path):
    (tmp_path / "old.tsv").write_text("tensor\tbits\na\t8\n")
    with pytest.raises(RequantError, match="another version of requant"):
        read_table(tmp_path / "old.tsv")


def test_every_column_is_documented():
    text = (Path(__file__).parents[2] / "docs/sensitivity.md").read_text()
    for column, meaning in COLUMNS.items():
        assert f"| `{column}` | {meaning} |" in text


def table_of(column, rows):
    """Return a table of tensors with figures in 8, 4 and 2 bits; None where a tensor can't be stored so."""
    tensors = []
    for position, (name, values) in enumerate(rows.items(), 1):
        cells = []
        for bits, value in zip((8, 4, 2), values, strict=True):
            figures = {} if value is None else {column: value if math.isfinite(value) else None}
            reason = "" if figures else "no"
            cells.append({"scheme": f"kmeans_{bits}", "bits": bits, "bytes": 1, "reason": reason, "figures": figures})
        tensors.append({"position": position, "name": name, "types": [], "shape": [2], "bytes": 8, "cells": cells})
    return gather([{"samples": 1, "synthetic": False, "tensors": tensors}])


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        ("snr_db", {"mild": (math.inf, 60, 30), "worst": (50, 20, 10), "middle": (55, 40, 11)}),
        ("kl_divergence", {"mild": (1e-9, 1e-4, 0.1), "worst": (1e-2, 0.1, 1), "middle": (1e-6, 1e-2, 0.5)}),
        ("agreement", {"mild": (1.0, 1.0, 0.9), "worst": (1.0, 0.8, 0.5), "middle": (1.0, 0.9, 0.6)}),
    ],
)
def test_the_most_sensitive_come_first(column, rows):
    table = table_of(column, rows)
    assert effect_of(table) == column
    assert most_sensitive(table) == ["worst", "middle", "mild"]
    assert most_sensitive(table, 1) == ["worst"]


def test_what_can_not_be_stored_counts_for_nothing():
    table = table_of("snr_db", {"a": (60, 40, None), "b": (None, None, None), "c": (50, 30, None)})
    assert most_sensitive(table) == ["c", "a", "b"]
    assert effect_of(table_of("snr_db", {"b": (None, None, None)})) == ""


def test_harm_grows_with_the_damage():
    assert harm("psnr_db", 20.0) > harm("psnr_db", 40.0) > harm("psnr_db", math.inf)
    assert harm("kl_divergence", 1.0) > harm("kl_divergence", 1e-3) > harm("kl_divergence", 0.0)
    assert harm("agreement", 0.5) > harm("agreement", 1.0)
    assert np.isnan(harm("kl_divergence", math.nan))


def test_a_model_that_is_given_is_not_changed():
    model = picture_network()
    before = model.copy_spec().SerializeToString(deterministic=True)
    Bench(model, samples_for(model)).measure(tensor_of(model, "conv1.weights"), Scheme.parse("kmeans_2"))
    assert isinstance(model, Model)
    assert model.spec.SerializeToString(deterministic=True) == before
