import json
from dataclasses import replace
from uuid import UUID

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.archive.bill_of_materials import bill_of_materials
from tests.archive.releasing import TABLE_FUNCTION

INFINITE = float("inf")


@pytest.fixture(scope="module")
def validator():
    return JsonStrictValidator(SchemaVersion.V1_6)


def bill_of(release):
    return json.loads(bill_of_materials(release))


def components_of(bill):
    return {component["bom-ref"]: component for component in bill["components"]}


def values_of(properties):
    return {each["name"]: each["value"] for each in properties}


def test_it_keeps_to_the_schema(network_release, program_release, validator):
    for _, release in (network_release, program_release):
        assert validator.validate_str(bill_of_materials(release).decode()) is None


def test_a_bill_with_something_wrong_in_a_model_card_is_found_out(network_release, validator):
    bill = bill_of(network_release[1])
    components_of(bill)["float/painter.mlmodel"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0] |= {
        "value": 1.0
    }
    assert validator.validate_str(json.dumps(bill)) is not None


def test_the_library_reads_it_back(network_release):
    bill = bill_of(network_release[1])
    for component in bill["components"]:
        component.pop("modelCard", None)  # the library has no class for it
    bom = Bom.from_json(bill)
    assert bom.metadata.component.name == "painter"
    assert bom.metadata.timestamp.isoformat() == network_release[1].created
    assert bom.validate()


def test_every_model_has_the_digest_of_its_file(network_release):
    release = network_release[1]
    components = components_of(bill_of(release))
    for made in (release.float_model, *release.variants):
        component = components[made.model.path]
        assert component["type"] == "machine-learning-model"
        assert component["hashes"] == [{"alg": "SHA-256", "content": made.model.sha256}]
        assert values_of(component["properties"])["requant:bytes"] == str(made.model.bytes)
        files = {each["type"]: each["url"] for each in component["externalReferences"]}
        assert files == {
            "distribution": made.model.path,
            "evidence": made.audit.path,
            "quality-metrics": made.evaluation.path,
        }
    recommended = [
        ref for ref, c in components.items() if values_of(c["properties"]).get("requant:recommended") == "true"
    ]
    assert recommended == [f"variants/painter_{release.recommended}.mlmodel"]


def test_the_pedigree_leads_back_to_the_original(network_release):
    release = network_release[1]
    variant = components_of(bill_of(release))["variants/painter_kmeans_2.mlmodel"]
    (float_model,) = variant["pedigree"]["ancestors"]
    (original,) = float_model["pedigree"]["ancestors"]
    assert [each["content"] for each in float_model["hashes"]] == [release.float_model.model.sha256]
    assert [each["content"] for each in original["hashes"]] == [release.original.files[0].sha256]
    assert "Trained for the tests, see §2" in original["description"]
    assert "quantized from the float model by kmeans_2; made again by: snakemake" in variant["pedigree"]["notes"]


def test_the_files_of_a_folder_are_parts_of_the_original(program_release):
    release = program_release[1]
    original = components_of(bill_of(release))["original/digits.mlpackage"]
    assert "hashes" not in original
    assert {part["name"]: part["hashes"][0]["content"] for part in original["components"]} == {
        file.path: file.sha256 for file in release.original.files
    }


def test_each_thing_depends_on_what_it_is_made_of(network_release):
    bill = bill_of(network_release[1])
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in bill["dependencies"]}
    code = TABLE_FUNCTION.partition(":")[0]
    assert needs["variants/painter_kmeans_2.mlmodel"] == {"float/painter.mlmodel"}
    assert needs["variants/painter_custom_lut_4.mlmodel"] == {"float/painter.mlmodel", code}
    assert needs["float/painter.mlmodel"] == {"original/my painter.mlmodel"}
    assert needs["painter@1.0"] == set(components_of(bill)) == set(needs) - {"painter@1.0"}


def test_a_model_card_holds_figures_with_their_intervals_and_how_the_model_was_made(network_release, validator):
    release = network_release[1]
    figures = {
        "psnr_db": 31.5, "psnr_db_low": 30.25, "psnr_db_high": INFINITE, "worst_psnr_db": INFINITE, "size_mb": 0.25,
        "ios": "12", "ssim": float("nan"), "metric_faces": 0.5, "metric_faces_low": 0.25, "metric_faces_high": 1.0,
    }  # fmt: skip
    changed = replace(release, variants=(replace(release.variants[0], figures=figures),))
    assert validator.validate_str(bill_of_materials(changed).decode()) is None
    card = components_of(bill_of(changed))["variants/painter_linear_8.mlmodel"]["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "psnr_db", "value": "31.5", "confidenceInterval": {"lowerBound": "30.25", "upperBound": "inf"}},
        {"type": "worst_psnr_db", "value": "inf"},
        {"type": "metric_faces", "value": "0.5", "confidenceInterval": {"lowerBound": "0.25", "upperBound": "1.0"}},
    ]
    properties = values_of(card["properties"])
    assert properties["requant:scheme"] == "linear_8"
    assert properties["requant:size_mb"] == "0.25"
    assert properties["requant:selection:weight_threshold"] == "0"
    assert "requant:psnr_db" not in properties
    assert card["modelParameters"]["datasets"][0]["contents"] == {"url": "data.json"}


def test_the_software_is_there_with_versions(network_release):
    release = network_release[1]
    tools = {tool["name"]: tool for tool in bill_of(release)["metadata"]["tools"]["components"]}
    assert tools["coremltools"]["purl"] == "pkg:pypi/coremltools@9.0"
    assert tools["Python"]["version"] == "3.12.3"
    assert values_of(tools["requant"]["properties"]) == {"requant:code-sha256": release.software.code}


@pytest.mark.parametrize(
    ("licence", "written"),
    [
        ("apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("Apple's terms for samples", {"license": {"name": "Apple's terms for samples"}}),
    ],
)
def test_licences_are_declared_for_the_original_and_concluded_for_what_is_made_of_it(
    program_release, validator, licence, written
):
    release = program_release[1]
    changed = replace(release, original=replace(release.original, licence=licence))
    assert validator.validate_str(bill_of_materials(changed).decode()) is None
    components = components_of(bill_of(changed))
    for ref, acknowledgement in (
        ("original/digits.mlpackage", "declared"),
        ("variants/digits_kmeans_4.mlpackage.zip", "concluded"),
    ):
        (found,) = components[ref]["licenses"]
        assert (found.get("license") or found).pop("acknowledgement") == acknowledgement
        assert found == written


def test_an_unknown_licence_is_not_made_up(program_release):
    assert "licenses" not in components_of(bill_of(program_release[1]))["original/digits.mlpackage"]


@settings(max_examples=20)
@given(
    origin=st.text(max_size=30),
    licence=st.text(max_size=30),
    name=st.text("ab_-.é %&?#", min_size=1, max_size=8),
    value=st.floats() | st.text(max_size=5),
)
def test_whatever_there_is_to_say_keeps_to_the_schema(program_release, validator, origin, licence, name, value):
    release = program_release[1]
    variant = release.variants[0]
    file = replace(variant.model, path=f"variants/{name}.zip")
    changed = replace(
        release,
        original=replace(release.original, origin=origin, licence=licence),
        variants=(replace(variant, model=file, command=licence, figures={f"metric_{name}": value}),),
    )
    assert validator.validate_str(bill_of_materials(changed).decode()) is None


def test_the_same_release_gives_the_same_bytes_and_another_one_another_serial_number(network_release):
    release = network_release[1]
    assert bill_of_materials(release) == bill_of_materials(replace(release))
    serials = [bill_of(each)["serialNumber"] for each in (release, replace(release, name="1.1"))]
    assert len(set(serials)) == 2
    assert all(UUID(serial.removeprefix("urn:uuid:")).version == 5 for serial in serials)
    assert str(network_release[0]).encode() not in bill_of_materials(release)
