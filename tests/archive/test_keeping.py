"""What is kept: proven, taken out, made again, removed, repaired."""

import json
import shutil
from pathlib import Path

import pytest

from requant.archive.contents import entries, find
from requant.archive.inventory import SIDECAR, sidecar
from requant.archive.originals import find_original, preserve_original
from requant.archive.store import Store
from requant.cli import main
from requant.errors import RequantError
from requant.originals import LOCK_NAME, read_index, read_lock
from requant.quantize.scheme import Scheme
from requant.quantize.variant import make_variant
from tests.archive.archiving import require_valid, tree

PAINTER = "archive/ocfl/painter/"
KMEANS = PAINTER + "v2/content/variants/painter_kmeans_2.mlmodel"


def overwrite(path, data):
    path = Path(path)
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path):
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    overwrite(path, bytes(data))


def verify(capsys):
    """Return what the command `verify` finds wrong, line by line."""
    status = main(["archive", "verify"])
    said = capsys.readouterr()
    assert status == bool(said.err)
    return [line.strip() for line in said.err.splitlines()[1:]]


def test_all_is_well(store, capsys):
    assert verify(capsys) == []
    assert main(["archive", "verify"]) == 0
    assert capsys.readouterr().out == "archive: all of 3 releases whole and unchanged\n"


DAMAGE = {
    "flipped": (
        lambda: flip(KMEANS),
        "damaged: ocfl/painter/v2/content/variants/painter_kmeans_2.mlmodel",
        "Release 2",
    ),
    "cut": (
        lambda: overwrite(KMEANS, Path(KMEANS).read_bytes()[:-1]),
        "damaged: ocfl/painter/v2/content/var",
        "digests",
    ),
    "missing": (lambda: Path(KMEANS).unlink(), "missing: ocfl/painter/v2/content/variants/painter_kmeans", "Release 2"),
    "extra": (lambda: Path(PAINTER + "v2/content/more").touch(), "extra: ocfl/painter/v2/content/more", "no version"),
    "root file": (lambda: Path("archive/ocfl/more").touch(), "extra: ocfl/more", "no object"),
    "no declaration": (lambda: Path("archive/ocfl/0=ocfl_1.1").unlink(), "missing: ocfl/0=ocfl_1.1", "storage root"),
    "object": (lambda: Path(PAINTER + "0=ocfl_object_1.1").unlink(), "missing: ocfl/painter/0=ocfl_object_1.1", "OCFL"),
    "inventory": (lambda: flip(PAINTER + "inventory.json"), "damaged: ocfl/painter/", ""),
    "sidecar": (lambda: flip(PAINTER + SIDECAR), f"damaged: ocfl/painter/{SIDECAR}", "other bytes"),
    "old inventory": (lambda: flip(PAINTER + "v1/inventory.json"), "damaged: ocfl/painter/v1/inventory.json", ""),
    "receipt": (lambda: receipt("painter", "9"), "extra: releases/painter/9.json", "not there"),
}


def receipt(model, name):
    path = Path(f"archive/releases/{model}/{name}.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"sha512": "0" * 128}))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_wrong_is_named(store, capsys, damage):
    does, begins, says = damage
    does()
    assert any(line.startswith(begins) and says in line for line in verify(capsys))


def test_a_record_that_does_not_fit_its_version_is_found(store, capsys):
    """Whoever writes the inventory anew can't hide that a release lacks a file."""
    path = Path(PAINTER + "inventory.json")
    table = json.loads(path.read_text())
    state = table["versions"]["v2"]["state"]
    digest = next(d for d, paths in state.items() if "variants/painter_kmeans_2.mlmodel" in paths)
    for part in (state, table["manifest"]):
        del part[digest]
    fixity = table["fixity"]["sha256"]
    del fixity[
        next(d for d, paths in fixity.items() if any("kmeans_2.mlmodel" in p and ".json" not in p for p in paths))
    ]
    Path(KMEANS).unlink()
    data = (json.dumps(table, indent=2, ensure_ascii=False) + "\n").encode()
    for folder in (path.parent, path.parent / "v2"):
        overwrite(folder / "inventory.json", data)
        overwrite(folder / SIDECAR, sidecar(data))
    require_valid(store.root)
    assert verify(capsys) == [
        "missing: painter@2: variants/painter_kmeans_2.mlmodel: the record names it, but the version does not have it"
    ]


def test_the_original_comes_back_as_it_was(store, capsys):
    folder = Path("models_original")
    before, digests, index = tree(folder), read_lock(folder).digests, read_index(folder)
    shutil.rmtree(folder)
    assert main(["archive", "restore", "painter@1"]) == 0
    assert main(["archive", "restore", "digits"]) == 0
    after = tree(folder)
    assert {path: data for path, data in after.items() if "/" in path or ".ml" in path} == {
        path: data for path, data in before.items() if "/" in path or ".ml" in path
    }
    assert before.keys() == after.keys()
    assert read_lock(folder).digests == digests
    assert {name: (entry.origin, entry.licence) for name, entry in read_index(folder).items() if entry.licence} == {
        name: (entry.origin, entry.licence) for name, entry in index.items() if entry.licence
    }
    assert Path("models_original/my painter.mlmodel").stat().st_mode & 0o222 == 0
    capsys.readouterr()
    assert main(["archive", "restore", "painter"]) == 0
    assert "0 files written, 1 there already" in capsys.readouterr().out


def test_a_lock_file_alone_is_no_obstacle(store):
    Path("models_original/my painter.mlmodel").unlink()
    lock = Path("models_original", LOCK_NAME).read_bytes()
    assert main(["archive", "restore", "painter"]) == 0
    assert Path("models_original", LOCK_NAME).read_bytes() == lock


def test_other_bytes_are_never_overwritten(store, capsys):
    overwrite("models_original/my painter.mlmodel", b"mine")
    before = tree(Path("models_original"))
    assert main(["archive", "restore", "painter"]) == 1
    assert "is there with other bytes" in capsys.readouterr().err
    assert tree(Path("models_original")) == before
    Path("out").mkdir()
    Path("out/summary.tsv").write_text("mine")
    assert main(["archive", "restore", "painter", "--to", "out"]) == 1
    assert tree(Path("out")) == {"summary.tsv": b"mine"}


def test_an_original_locked_with_other_bytes_is_left_alone(store, capsys):
    Path("models_original/my painter.mlmodel").unlink()
    overwrite(f"models_original/{LOCK_NAME}", b"0" * 64 + b"  my painter.mlmodel\n")
    assert main(["archive", "restore", "painter"]) == 1
    assert "is locked with other bytes" in capsys.readouterr().err
    assert not Path("models_original/my painter.mlmodel").exists()


def test_a_further_file_in_a_package_is_named(store, capsys):
    Path("models_original/digits.mlpackage/more").touch()
    assert main(["archive", "restore", "digits"]) == 1
    assert "digits.mlpackage/more is no file of the archived original" in capsys.readouterr().err


def test_a_release_is_laid_out_whole(store, tmp_path):
    assert main(["archive", "restore", "painter@2", "--to", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out") == {path: file.read_bytes() for path, file in store.files("painter", 2).items()}


def test_a_variant_alone_is_laid_out(store, tmp_path, capsys):
    command = ["archive", "restore", "painter@2", "--variant", "kmeans_2"]
    assert main([*command, "--to", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out/variants").iterdir()) == [
        "painter_kmeans_2.mlmodel", "painter_kmeans_2.mlmodel.json",
    ]  # fmt: skip
    assert main(command) == 1
    assert main(["archive", "restore", "painter@1", "--variant", "kmeans_2", "--to", str(tmp_path / "out")]) == 1
    assert "has no variant kmeans_2; it has linear_8" in capsys.readouterr().err


def test_damaged_bytes_are_not_restored(store, tmp_path, capsys):
    flip(KMEANS)
    assert main(["archive", "restore", "painter@2", "--to", str(tmp_path / "out")]) == 1
    assert "is damaged or missing in the archive" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "said"), [("none", "digits, painter"), ("painter@9", "it has: 1, 2")])
def test_a_release_that_is_not_there_is_told(store, capsys, name, said):
    assert main(["archive", "restore", name]) == 1
    assert said in capsys.readouterr().err


def test_where_there_is_no_archive_it_is_told(tmp_path, capsys):
    for command in (
        ["list"],
        ["verify"],
        ["restore", "x"],
        ["prune", "--keep", "1"],
        ["repair"],
        ["rebuild-check", "x"],
    ):
        assert main(["archive", *command, "--folder", str(tmp_path / "no")]) == 1
        assert "there is no archive in" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_rebuilt_bit_for_bit_from_the_archive_alone(store, tmp_path, monkeypatch, capsys):
    for folder in ("results", "models_original"):
        shutil.rmtree(folder)
    Path("my tables.py").unlink()
    assert main(["archive", "rebuild-check", "painter"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: rebuilt bit for bit"
        for path in (
            "float/painter.mlmodel", "variants/painter_linear_8.mlmodel", "variants/painter_kmeans_2.mlmodel",
            "variants/painter_custom_lut_4.mlmodel",
        )
    ]  # fmt: skip
    assert main(["archive", "rebuild-check", "digits", "--variant", "kmeans_4"]) == 0


def test_what_is_rebuilt_otherwise_is_told_tensor_by_tensor(store, monkeypatch, capsys):
    def otherwise(model, scheme, *rest):
        return make_variant(model, Scheme.parse(str(scheme).replace("kmeans", "linear_lut")), *rest)

    monkeypatch.setattr("requant.archive.rebuilding.make_variant", otherwise)
    monkeypatch.setattr("requant.archive.software.version", lambda name: "0.0")
    assert main(["archive", "rebuild-check", "painter"]) == 1
    said = capsys.readouterr()
    assert "painter_linear_8.mlmodel: rebuilt bit for bit" in said.out
    assert "painter_kmeans_2.mlmodel: differs" in said.out
    assert "conv1.weights: " in said.out
    assert "values differ, by" in said.out
    assert "1 of the models of painter@2 came out otherwise" in said.err
    assert "coremltools: " in said.err


def test_a_damaged_original_is_not_rebuilt_from(store, capsys):
    flip(PAINTER + "v1/content/original/my painter.mlmodel")
    assert main(["archive", "rebuild-check", "painter"]) == 1
    assert "is damaged: nothing can be rebuilt" in capsys.readouterr().err


def test_the_newest_releases_stay(store, capsys):
    before = {path: file.read_bytes() for path, file in store.files("painter", 2).items()}
    assert main(["archive", "prune", "--keep", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out == "painter@1: would be removed\n"
    assert len(entries(store)) == 3
    assert main(["archive", "prune", "--keep", "1"]) == 0
    assert [str(entry) for entry in entries(store)] == ["digits@1", "painter@2"]
    assert {path: file.read_bytes() for path, file in store.files("painter", 1).items()} == before
    require_valid(store.root)
    assert verify(capsys) == []


def test_the_last_copy_of_an_original_stays(store, capsys):
    receipt("digits", "1")
    original = Path("models_original/digits.mlpackage")
    assert main(["archive", "prune", "digits@1"]) == 0
    assert "digits.mlpackage, the original of digits@1: stays, as the last copy" in capsys.readouterr().out
    assert not Path("archive/releases/digits/1.json").exists()
    assert store.ids() == ["_originals", "painter"]
    assert {path: file.read_bytes() for path, file in store.files("_originals", 1).items()} == {
        f"digits.mlpackage/{path}": data for path, data in tree(original).items()
    }
    require_valid(store.root)
    assert main(["archive", "list"]) == 0
    assert "original digits.mlpackage" in capsys.readouterr().out
    assert verify(capsys) == []


def test_the_last_copy_goes_only_if_it_is_asked_for(store):
    assert main(["archive", "prune", "digits@1", "--originals-too"]) == 0
    assert store.ids() == ["painter"]
    require_valid(store.root)


@pytest.mark.parametrize("wrong", [[], ["painter"], ["painter@7"], ["--keep", "0"]])
def test_what_can_not_be_pruned_is_told(store, capsys, wrong):
    before = tree(store.root)
    assert main(["archive", "prune", *wrong]) == 1
    assert capsys.readouterr().err.startswith("requant: ")
    assert tree(store.root) == before


def test_a_damaged_archive_is_not_pruned(store, capsys):
    flip(KMEANS)
    before = tree(store.root)
    assert main(["archive", "prune", "painter@1"]) == 1
    assert "is not what it has to be" in capsys.readouterr().err
    assert tree(store.root) == before


def test_an_original_that_is_replaced_is_kept_once(project):
    lock = read_lock(Path("models_original"))
    original = Path("models_original/digits.mlpackage")
    kept = Path("elsewhere")
    assert find_original(kept, original, lock) is None
    said = preserve_original(kept, original, lock)
    assert said == "version v1 of elsewhere/ocfl/_originals"
    assert preserve_original(kept, original, lock) == find_original(kept, original, lock) == said
    require_valid(kept / "ocfl")
    assert find_original(Path("archive"), original, lock) == "version v1 of archive/ocfl/digits"
    flip("elsewhere/ocfl/_originals/v1/content/digits.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
    assert find_original(kept, original, lock) is None
    flip("models_original/digits.mlpackage/Data/com.apple.CoreML/model.mlmodel")
    with pytest.raises(RequantError, match="has changed since"):
        preserve_original(kept, original, lock)


@pytest.mark.parametrize("damage", [k for k in DAMAGE if k not in ("extra", "root file", "receipt")])
def test_damage_is_repaired_from_the_project(store, capsys, damage):
    before = tree(store.root)
    DAMAGE[damage][0]()
    assert main(["archive", "repair"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out
    assert tree(store.root) == before
    assert verify(capsys) == []
    require_valid(store.root)


@pytest.mark.parametrize("damage", [k for k in DAMAGE if k in ("extra", "root file", "receipt")])
def test_what_does_not_belong_is_left_to_its_owner(store, capsys, damage):
    DAMAGE[damage][0]()
    assert main(["archive", "repair"]) == 1
    assert "could not be repaired" in capsys.readouterr().err


def test_models_and_descriptions_are_made_again(store, capsys):
    for folder in ("results", "models_original"):
        shutil.rmtree(folder)
    before = tree(store.root)
    flip(KMEANS)
    Path(PAINTER + "v2/content/variants/painter_custom_lut_4.mlmodel").unlink()
    flip("archive/ocfl/digits/v1/content/float/digits.mlpackage.zip")
    flip(PAINTER + "v2/content/bom.cdx.json")
    flip(PAINTER + "v2/content/ro-crate-metadata.json")
    assert main(["archive", "repair"]) == 0
    assert "made again as variants/painter_kmeans_2.mlmodel of painter@2" in capsys.readouterr().out
    assert tree(store.root) == before
    assert verify(capsys) == []


def test_what_can_not_be_repaired_is_told_and_the_rest_is_repaired(store, capsys):
    shutil.rmtree("results")
    flip(KMEANS)
    flip(PAINTER + "v2/content/release.json")
    flip(PAINTER + "v2/content/evaluation/painter_kmeans_2.json")
    flip("archive/ocfl/digits/v1/content/original/digits.mlpackage/Data/com.apple.CoreML/model.mlmodel")
    assert main(["archive", "repair"]) == 1
    said = capsys.readouterr()
    assert (
        "digits.mlpackage/Data/com.apple.CoreML/model.mlmodel: replaced by the same bytes from models_original"
        in said.out
    )
    assert "release.json" in said.err
    assert "painter_kmeans_2.json" in said.err
    assert verify(capsys)


def test_bytes_are_taken_from_another_archive_folder(store, tmp_path, capsys):
    shutil.copytree("archive", tmp_path / "backup")
    shutil.rmtree("results")
    before = tree(store.root)
    flip(PAINTER + "v2/content/release.json")
    assert main(["archive", "repair", "--from", str(tmp_path / "backup")]) == 0
    assert tree(store.root) == before


def test_two_releases_are_found_by_name(store):
    assert find(Store(Path("archive")), "painter@1").number == 1
