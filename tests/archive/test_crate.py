import json
import shutil
import socket
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocrate.rocrate import ROCrate
from rocrate_validator.models import Severity

from requant.archive.crate import NAME, crate_metadata
from tests.archive import validating
from tests.archive.releasing import SELECTION, TABLE_FUNCTION, describe

RUN_PROFILES = ("process-run-crate", "workflow-ro-crate", "workflow-run-crate", "provenance-run-crate")
# What is recommended and not done: a release knows neither who ran the jobs nor when, and holds no README.
NOT_DONE = {
    "The Application SHOULD have a url",
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The Action SHOULD have an endTime in ISO 8601 format",
    "The Action SHOULD have an agent that is a Person or Organization",
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the `author` of the RO-Crate",
    "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
    "The README.md SHOULD be about the crate",
    "The README.md SHOULD have text/markdown as its encodingFormat",
    "The Main Workflow SHOULD comply with Bioschemas ComputationalWorkflow profile version 1.0 or later",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "cache"
    validating.fill_cache(path)
    return path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def linked(entity, name):
    """Return the identifiers that a property links to."""
    values = entity.get(name, [])
    return [value.id for value in (values if isinstance(values, list) else [values])]


@pytest.mark.parametrize("profile", ["ro-crate-1.1", *RUN_PROFILES])
def test_a_release_with_its_workflow_keeps_to_every_profile(network_release, cache, no_network, profile):
    assert validating.issues(network_release[0], profile, cache) == []


@pytest.mark.parametrize("profile", ["ro-crate-1.1", "process-run-crate"])
def test_a_release_without_its_workflow_is_a_process_run_crate(program_release, cache, no_network, profile):
    assert validating.issues(program_release[0], profile, cache) == []


def test_what_is_recommended_is_done_as_far_as_it_is_known(network_release, cache, no_network):
    found = validating.issues(network_release[0], "provenance-run-crate", cache, Severity.RECOMMENDED)
    assert {issue.partition(": ")[2] for issue in found} == NOT_DONE


@pytest.mark.parametrize(
    ("profile", "missing", "message"),
    [
        ("workflow-ro-crate", "workflow/Snakefile", "must have types File, SoftwareSourceCode, ComputationalWorkflow"),
        ("workflow-run-crate", "#run", "MUST reference the root data entity's mainEntity as its instrument"),
        ("provenance-run-crate", "#requant/quantize", "must refer to its corresponding tool"),
        ("provenance-run-crate", "https://w3id.org/ro/wfrun/provenance/0.5", "versioned permalink"),
        ("ro-crate-1.1", "./", "The Root Data Entity MUST be a `Dataset`"),
    ],
)
def test_a_crate_without_an_entity_is_refused(network_release, tmp_path, cache, profile, missing, message):
    crate = json.loads((network_release[0] / NAME).read_text())
    left = [entity for entity in crate["@graph"] if entity["@id"] != missing]
    assert len(left) == len(crate["@graph"]) - 1
    shutil.copytree(network_release[0], tmp_path / "release")
    (tmp_path / "release" / NAME).write_text(json.dumps({**crate, "@graph": left}))
    assert message in "\n".join(validating.issues(tmp_path / "release", profile, cache))


def test_a_crate_without_a_file_is_found_out(network_release, tmp_path, cache):
    shutil.copytree(network_release[0], tmp_path / "release")
    (tmp_path / "release" / "variants" / "painter_kmeans_2.mlmodel").unlink()
    found = validating.issues(tmp_path / "release", "ro-crate-1.1", cache, Severity.RECOMMENDED)
    assert "variants/painter_kmeans_2.mlmodel" in "\n".join(found)


def test_every_file_is_described_with_its_digest_and_size(network_release, program_release):
    for folder, release in (network_release, program_release):
        crate = ROCrate(folder)
        files = {
            entity.source.relative_to(folder).as_posix(): entity for entity in crate.data_entities if is_file(entity)
        }
        assert set(files) == {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()} - {NAME}
        for file in release.files:
            assert (files[file.path]["sha256"], files[file.path]["contentSize"]) == (file.sha256, str(file.bytes))


def is_file(entity):
    types = entity.type if isinstance(entity.type, list) else [entity.type]
    return "File" in types


def test_no_link_leads_nowhere(network_release, program_release):
    for folder, _ in (network_release, program_release):
        graph = json.loads((folder / NAME).read_text())["@graph"]
        identifiers = [entity["@id"] for entity in graph]
        assert len(identifiers) == len(set(identifiers))
        wanted = {
            value["@id"]
            for entity in graph
            for values in entity.values()
            for value in (values if isinstance(values, list) else [values])
            if isinstance(value, dict)
        }
        assert wanted - set(identifiers) == {"https://w3id.org/ro/crate/1.1"}


def test_a_variant_can_be_followed_back_to_the_original(network_release):
    crate = ROCrate(network_release[0])
    variant = "variants/painter_custom_lut_4.mlmodel"
    made_by = next(action for action in crate.get_by_type("CreateAction") if action.id == "#quantize/custom_lut_4")
    assert linked(made_by, "result") == [variant, f"{variant}.json"]
    assert linked(made_by, "object") == [
        "float/painter.mlmodel",
        "#scheme/custom_lut_4",
        "#selection/custom_lut_4",
        "#functions/custom_lut_4",
        "code/my%20tables.py",
    ]
    assert made_by["instrument"]["softwareVersion"] == "0.1.0"
    assert "snakemake --cores all results/painter/" + variant in made_by["description"]
    assert crate.get("#functions/custom_lut_4")["value"] == TABLE_FUNCTION
    conversion = crate.get("#convert/painter")
    assert linked(conversion, "result")[0] == "float/painter.mlmodel"
    assert linked(conversion, "object")[0] == "original/my%20painter.mlmodel"
    assert crate.get(variant)["isBasedOn"].id == "float/painter.mlmodel"
    original = crate.get("original/my%20painter.mlmodel")
    assert crate.get("float/painter.mlmodel")["isBasedOn"] is original
    assert original["license"].id == "https://spdx.org/licenses/Apache-2.0"
    assert original["isBasedOn"]["description"] == "Trained for the tests, see §2 of their <README>."


def test_inputs_and_results_stand_for_the_parameters_of_tools_and_workflow(network_release):
    crate = ROCrate(network_release[0])
    workflow = crate.mainEntity
    assert workflow.id == "workflow/Snakefile"
    assert workflow["programmingLanguage"]["name"] == "Snakemake"
    assert [step["name"] for step in workflow["step"]] == ["convert", "quantize", "evaluate", "summarize"]
    for action in crate.get_by_type("CreateAction"):
        tool = action["instrument"]
        for side, slots in (("object", "input"), ("result", "output")):
            parameters = {p for entity in of(action, side) for p in linked(entity, "exampleOfWork")}
            assert parameters <= set(linked(tool, slots))
    schemes = of(crate.get("#run"), "object")
    assert [value["value"] for value in schemes if value.id.startswith("#scheme")] == [
        "linear_8",
        "kmeans_2",
        "custom_lut_4",
    ]


def of(entity, name):
    values = entity.get(name, [])
    return values if isinstance(values, list) else [values]


def test_settings_are_there_key_by_key(network_release):
    crate = ROCrate(network_release[0])
    values = {value["name"]: value["value"] for value in crate.get("#selection/kmeans_2")["value"]}
    assert values == {**SELECTION, "rules": json.dumps(SELECTION["rules"], sort_keys=True)}


def test_figures_have_units_and_intervals_and_infinity_is_a_text(network_release):
    release = network_release[1]
    figures = {
        "psnr_db": 31.5,
        "psnr_db_low": 30.0,
        "psnr_db_high": float("inf"),
        "size_mb": 0.25,
        "ssim": float("nan"),
    }
    variant = replace(release.variants[0], figures={**figures, "worst_psnr_db": float("inf"), "metric_very/low": 1.0})
    graph = graph_of(replace(release, variants=(variant,)))
    psnr = graph["#figures/linear_8/psnr_db"]
    assert (psnr["value"], psnr["minValue"], psnr["maxValue"], psnr["unitText"]) == (31.5, 30.0, "inf", "dB")
    assert graph["#figures/linear_8/worst_psnr_db"]["value"] == "inf"
    assert graph["#figures/linear_8/metric_very%2Flow"]["name"] == "metric_very/low"
    assert graph["#figures/linear_8/size_mb"]["unitText"] == "MB"
    assert len(graph["#figures/linear_8"]["value"]) == 4


def graph_of(release):
    return {entity["@id"]: entity for entity in json.loads(crate_metadata(release))["@graph"]}


def test_an_original_that_is_a_folder_is_one_thing_with_parts(program_release):
    crate = ROCrate(program_release[0])
    original = crate.get("original/digits.mlpackage/")
    assert original.type == "Dataset"
    assert len(original["hasPart"]) == 3
    assert linked(crate.get("#convert/digits"), "object")[0] == original.id
    assert crate.get("#parameter/original")["additionalType"] == "Dataset"


def test_the_software_has_versions_and_an_unknown_licence_is_said_to_be_so(program_release):
    crate = ROCrate(program_release[0])
    versions = {tool["name"]: tool["softwareVersion"] for tool in crate.get_by_type("SoftwareApplication")}
    software = program_release[1].software
    assert versions["Python"] == "3.12.3"
    assert dict(software.libraries).items() <= versions.items()
    assert crate.get("#requant-code")["value"] == software.code
    assert crate.get("#requant-lock") is None
    assert crate.root_dataset["license"]["name"] == "No licence is stated"


def test_the_same_release_gives_the_same_bytes_and_another_one_others(network_release):
    release = network_release[1]
    assert crate_metadata(release) == crate_metadata(replace(release)) == (network_release[0] / NAME).read_bytes()
    assert crate_metadata(replace(release, name="1.1")) != crate_metadata(release)
    assert str(network_release[0]).encode() not in crate_metadata(release)


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [
        ("mit", "https://spdx.org/licenses/MIT"),
        ("https://example.org/terms?of=use", "https://example.org/terms?of=use"),
        ("MIT OR Apache-2.0", "#licence"),
        ("", "#licence"),
    ],
)
def test_a_licence_is_linked_where_it_has_an_address(program_release, licence, identifier):
    release = program_release[1]
    graph = graph_of(replace(release, original=replace(release.original, licence=licence)))
    assert graph["./"]["license"] == {"@id": identifier}
    assert graph[identifier]["name"] == (licence or "No licence is stated")


# Each example writes a folder's description and reads it again.
@settings(max_examples=15)
@given(origin=st.text(max_size=40), licence=st.text(max_size=40), model=st.text("ab_-.é ", min_size=1, max_size=8))
def test_whatever_the_owner_says_gives_a_crate_that_can_be_read(program_release, origin, licence, model):
    folder, release = program_release
    original = replace(release.original, origin=origin, licence=licence)
    try:
        describe(folder, replace(release, model=model, original=original))
        crate = ROCrate(folder)
        assert crate.name == f"{model} 1.0"
        assert crate.root_dataset["license"]["name"] == (licence.strip() or "No licence is stated")
    finally:
        describe(folder, release)


def test_nothing_but_a_converted_model_is_described_too(program_release):
    release = program_release[1]
    alone = replace(release.float_model, evaluation=None, settings={}, figures={})
    graph = graph_of(replace(release, float_model=alone, variants=(), others=(), recommended=None))
    assert graph["./"]["mentions"] == {"@id": "#convert/digits"}
    assert "no variants" in graph["./"]["description"]
    assert not [identifier for identifier in graph if identifier.startswith(("#quantize", "#evaluate", "#summarize"))]
