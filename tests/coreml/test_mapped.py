import zipfile
from io import BytesIO

import numpy as np
import pytest

from benchmarks.large_model import large_program
from requant.coreml import mapped, package
from requant.coreml.audit import audit
from requant.coreml.inventory import stored_weights
from requant.coreml.mapped import content_of, note_read, pieces
from requant.coreml.model import WEIGHT_FILE, load, save, to_bytes, unpack_package
from requant.errors import RequantError
from requant.quantize.scheme import Scheme
from requant.quantize.variant import write_variant

SCHEMES = ("linear_8", "kmeans_4", "linear_4_block32", "prune_50", "kmeans_4_vector2")
MEGABYTES = 0.3


@pytest.fixture
def everything_is_mapped(monkeypatch):
    """Let files be mapped however small they are, and pages be given back after a few bytes."""
    for module in (mapped, package):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(mapped, "_KEPT", 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    model = large_program(MEGABYTES)
    unpack_package(model, path / "net.mlpackage")
    save(model, path / "net.mlpackage.zip")
    with (
        zipfile.ZipFile(path / "net.mlpackage.zip") as stored,
        zipfile.ZipFile(path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for info in stored.infolist():
            deflated.writestr(info.filename, stored.read(info))
    return path


@pytest.mark.parametrize("name", ["net.mlpackage", "net.mlpackage.zip", "deflated.zip"])
def test_a_mapped_model_is_the_one_that_is_read(folder, name, everything_is_mapped):
    model = load(folder / name)
    assert isinstance(model.weight_file, memoryview)
    assert to_bytes(model, "net") == (folder / "net.mlpackage.zip").read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_mapped_model_gives_the_same_variant(folder, scheme, tmp_path, monkeypatch):
    outputs = []
    for large in (1 << 40, 1):
        for module in (mapped, package):
            monkeypatch.setattr(module, "LARGE", large)
        monkeypatch.setattr(mapped, "_KEPT", 1000)
        for source in ("net.mlpackage", "net.mlpackage.zip"):
            outputs.append(tmp_path / f"{large}-{source}" / "variant.mlpackage.zip")
            write_variant(folder / source, Scheme.parse(scheme), outputs[-1])
    assert len({path.read_bytes() for path in outputs}) == 1
    record = audit(load(outputs[-1]), load(folder / "net.mlpackage"), scheme)
    assert 8 < record["weight_snr_db"] < 60


def test_a_mapped_model_outlives_its_file(folder, tmp_path, everything_is_mapped):
    path = tmp_path / "net.mlpackage.zip"
    path.write_bytes((folder / "net.mlpackage.zip").read_bytes())
    model = load(path)
    path.unlink()
    before = stored_weights(load(folder / "net.mlpackage"))
    for one, other in zip(stored_weights(model), before, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_a_model_can_be_written_over_itself(folder, tmp_path, everything_is_mapped):
    path = tmp_path / "net.mlpackage.zip"
    path.write_bytes((folder / "net.mlpackage.zip").read_bytes())
    save(load(path), path)
    assert path.read_bytes() == (folder / "net.mlpackage.zip").read_bytes()


def test_a_damaged_byte_of_a_mapped_file_is_found(folder, tmp_path, everything_is_mapped):
    data = bytearray((folder / "net.mlpackage.zip").read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "net.mlpackage.zip"
    path.write_bytes(data)
    with pytest.raises(RequantError, match="checksum"):
        load(path)


def test_a_zip_that_ends_within_a_mapped_file_is_refused(folder, tmp_path, everything_is_mapped):
    """The list at a zip's end says where files are: one that was put behind half of a zip says it wrongly."""
    data = (folder / "net.mlpackage.zip").read_bytes()
    end = data.rindex(b"PK\5\6")
    listed = int.from_bytes(data[end + 16 : end + 20], "little")
    tail = bytearray(data[listed:])
    tail[-6:-2] = (1000).to_bytes(4, "little")
    path = tmp_path / "net.mlpackage.zip"
    path.write_bytes(data[:1000] + tail)
    with pytest.raises(RequantError, match=r"damaged|incomplete"):
        load(path)


def test_pages_are_given_back_and_read_again(tmp_path, everything_is_mapped):
    expected = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "file").write_bytes(expected)
    with (tmp_path / "file").open("rb") as stream:
        content = content_of(stream, 1000, 90_000)
    early = content[:5000]
    for _ in range(10):
        note_read(content, 50_000)
        assert bytes(content) == expected[1000:91_000]
    assert bytes(early) == expected[1000:6000]
    assert b"".join(pieces(content)) == expected[1000:91_000]


def test_a_small_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as stream:
        assert content_of(stream, 2, 3) == b"234"
        assert content_of(stream) == b"0123456789"


def test_a_part_is_copied_whole_in_pieces():
    content = bytes(range(256)) * 20_000
    assert b"".join(pieces(content)) == content
    assert max(map(len, pieces(content))) == mapped.PIECE


def test_a_variant_takes_less_memory_than_its_source(tmp_path):
    """Counted are numpy's arrays and Python's objects, not what the system keeps of files."""
    import tracemalloc

    megabytes = 48
    unpack_package(large_program(megabytes, tmp_path), tmp_path / "net.mlpackage")
    for scheme in ("linear_8", "kmeans_4"):
        tracemalloc.start()
        write_variant(tmp_path / "net.mlpackage", Scheme.parse(scheme), tmp_path / "variant.mlpackage.zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < megabytes * 1e6


def test_the_maker_of_large_models_keeps_to_the_size():
    for megabytes in (0.1, 1, 3):
        size = len(large_program(megabytes).files[WEIGHT_FILE])
        assert abs(size - megabytes * 1e6) < 0.01 * megabytes * 1e6 + 3000
    buffer = BytesIO(to_bytes(large_program(0.1), "net"))
    assert zipfile.ZipFile(buffer).testzip() is None
