import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from requant.archive.bill_of_materials import bill_of_materials
from requant.archive.contents import entries, find, parse_release, read_release, write_release
from requant.archive.crate import crate_metadata
from requant.archive.release import _code, wanted_schemes
from requant.archive.verifying import verify_archive
from requant.errors import RequantError
from tests.archive.archiving import archive, release_files, require_valid, tree


def test_the_archive_is_valid_and_lists_its_releases(store):
    require_valid(store.root)
    assert [str(entry) for entry in entries(store)] == ["digits@1", "painter@1", "painter@2"]
    assert str(find(store, "painter")) == "painter@2"
    assert verify_archive(store) == []


def test_a_release_has_the_bytes_of_the_project(store, network_release):
    files = store.files("painter", 2)
    results = Path("results/painter")
    release = read_release(store, find(store, "painter@2"))
    assert {file.path for file in release.files} | {"release.json", "bom.cdx.json", "ro-crate-metadata.json"} == set(
        files
    )
    for made in (release.float_model, *release.variants):
        for file in (made.model, made.audit, made.evaluation):
            assert files[file.path].read_bytes() == (results / file.path).read_bytes()
    assert files["original/my painter.mlmodel"].read_bytes() == Path("models_original/my painter.mlmodel").read_bytes()
    assert files["code/my tables.py"].read_bytes() == Path("my tables.py").read_bytes()
    assert [made.scheme for made in release.variants] == ["linear_8", "kmeans_2", "custom_lut_4"]
    assert release.variants[2].functions == ("code/my tables.py:table",)
    assert release.variants[0].command == "snakemake results/painter/variants/painter_linear_8.mlmodel"
    assert release.variants[0].figures["psnr_db"] > release.variants[1].figures["psnr_db"] > 5
    assert (release.original.licence, release.original.origin[:7]) == ("apache-2.0", "Trained")
    assert release.recommended == json.loads((results / "judgement.json").read_text())["recommended"]


def test_the_record_is_read_as_it_was_written_and_describes_the_same(store):
    files = store.files("painter", 2)
    release = read_release(store, find(store, "painter@2"))
    assert write_release(release) == files["release.json"].read_bytes()
    assert crate_metadata(release) == files["ro-crate-metadata.json"].read_bytes()
    assert bill_of_materials(release) == files["bom.cdx.json"].read_bytes()
    assert release.float_model.figures["psnr_db"] == float("inf")


def test_links_of_the_page_lead_to_files_of_the_release(store):
    for number, variants in ((1, ["linear_8"]), (2, ["linear_8", "kmeans_2", "custom_lut_4"])):
        files = store.files("painter", number)
        linked = re.findall(r'href="\.\./([^"]+)"', files["report/index.html"].read_text())
        assert {f"variants/painter_{scheme}.mlmodel" for scheme in variants} <= set(linked) <= set(files)


def test_models_are_stored_once_for_all_releases(store):
    stored = [path for path in (store.root / "painter").rglob("*.mlmodel") if path.is_file()]
    assert len(stored) == len({path.read_bytes() for path in stored})
    assert {path.relative_to(store.root / "painter").parts[0] for path in stored if "linear_8" in path.name} == {"v1"}


def test_the_same_release_again_changes_nothing(store, network_release):
    before = tree(store.root)
    Path("results/painter/sheet.png").unlink(missing_ok=True)
    assert archive(store, network_release[1], "2")[1] is False
    assert tree(store.root) == before


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("variants/painter_linear_8.mlmodel", r"variants/painter_linear_8\.mlmodel"),
        ("judgement.json", r"judgement\.json"),
        ("../../my tables.py", r"code/my tables\.py"),
    ],
)
def test_other_content_under_the_same_name_is_refused(store, network_release, file, named):
    before = tree(store.root)
    path = Path("results/painter") / file
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RequantError, match=rf"painter@2 already, with other files: {named}\. .*choose a new name"):
        archive(store, network_release[1], "2")
    assert tree(store.root) == before


def test_fewer_variants_under_the_same_name_are_refused(store, network_release):
    with pytest.raises(RequantError, match=r"with other files: code/my tables\.py, evaluation/painter_custom_lut_4"):
        archive(store, network_release[1], "2", ["linear_8"])


def test_a_changed_original_is_not_archived(store, network_release):
    original = Path("models_original/my painter.mlmodel")
    original.chmod(0o644)
    original.write_bytes(b"changed")
    with pytest.raises(RequantError, match="has changed since it was locked"):
        archive(store, network_release[1], "3")
    assert len(entries(store, "painter")) == 2


def test_a_missing_file_is_named(store, network_release):
    Path("results/painter/variants/painter_kmeans_2.mlmodel.json").unlink()
    with pytest.raises(RequantError, match=r"painter_kmeans_2\.mlmodel\.json can't be archived"):
        archive(store, network_release[1], "3")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a b", "../../x"])
def test_a_name_that_is_no_file_name_is_refused(store, network_release, name):
    with pytest.raises(RequantError, match="can't have this name"):
        archive(store, network_release[1], name)


def test_wanted_variants(tmp_path):
    judgement = tmp_path / "judgement.json"
    judgement.write_text('{"recommended": "b"}')
    assert wanted_schemes("all", ["a", "b"], judgement) == ["a", "b"]
    assert wanted_schemes("recommended", ["a", "b"], judgement) == ["b"]
    assert wanted_schemes(["b", "a"], ["a", "b"], judgement) == ["a", "b"]
    with pytest.raises(RequantError, match="names c, which is no variant"):
        wanted_schemes(["c"], ["a", "b"], judgement)


def test_files_of_the_same_name_get_a_place_each(network_release, project):
    files = replace(
        release_files(network_release[1], "3"), user_files=(Path("/a/f.py"), Path("/b/f.py"), Path("c/f.py"))
    )
    assert _code(files) == {
        Path("/a/f.py"): "code/f.py", Path("/b/f.py"): "code/2/f.py", Path("c/f.py"): "code/c/f.py",
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "model": "x"}'])
def test_a_record_that_is_none_is_refused(data):
    with pytest.raises(RequantError, match=r"is no record|another version"):
        parse_release(data, "release.json")
