"""Data files that are damaged, cut off, or say that they hold more than they do are refused by name."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import load_data
from tests.coreml.mutations import damaged_bytes

ARRAY = Feature("x", "array", (6, 4))
SOUND = Feature("x", "array", (64,))
PICTURE = Feature("image", "picture", (6, 4))
NUMBERS = np.random.default_rng(0).normal(size=(5, 6, 4)).astype(np.float32)


def idx(shape=NUMBERS.shape, data=None):
    header = struct.pack(f">HBB{len(shape)}I", 0, 0x0D, len(shape), *shape)
    return header + (NUMBERS.astype(">f4").tobytes() if data is None else data)


def saved(save, *arguments, **options):
    buffer = io.BytesIO()
    save(buffer, *arguments, **options)
    return buffer.getvalue()


def wav(dtype=np.int16):
    return saved(wavfile.write, 100, (NUMBERS.reshape(-1) * 100).astype(dtype))


def png():
    return saved(lambda b: Image.fromarray(np.zeros((6, 4, 3), np.uint8)).save(b, "png"))


# By name: the file's ending, its bytes, and what reads them.
SOUND_FILES = {
    "idx": ("", idx(), ARRAY),
    "idx.gz": (".gz", gzip.compress(idx(), mtime=0), ARRAY),
    "npz": (".npz", saved(np.savez, x=NUMBERS, labels=np.arange(5)), ARRAY),
    "npz deflated": (".npz", saved(np.savez_compressed, x=NUMBERS), ARRAY),
    "npy": (".npy", saved(np.save, NUMBERS), ARRAY),
    "wav": (".wav", wav(), SOUND),
    "wav of floats": (".wav", wav(np.float32), SOUND),
    "png": (".png", png(), PICTURE),
}


def read(folder, suffix, data, feature):
    """Read all samples of a file, or of a folder with a picture."""
    path = folder / f"f{suffix}"
    path.write_bytes(data)
    setting = {"images": str(path)} if suffix in ("", ".gz") else str(folder if suffix == ".png" else path)
    found = load_data(setting, [feature])
    return [found.inputs(index) for index in range(len(found.names))]


@pytest.mark.parametrize("name", SOUND_FILES)
def test_sound_files_are_read(name, tmp_path):
    assert read(tmp_path, *SOUND_FILES[name])


@settings(max_examples=200)
@given(st.sampled_from(sorted(SOUND_FILES)), st.randoms(use_true_random=False))
def test_damaged_files_are_read_or_refused(tmp_path_factory, name, random):
    suffix, data, feature = SOUND_FILES[name]
    folder = tmp_path_factory.mktemp("damaged")
    try:
        read(folder, suffix, damaged_bytes(data, random), feature)
    except RequantError as error:
        if str(folder) not in str(error):
            raise AssertionError from error


@pytest.mark.parametrize("name", SOUND_FILES)
def test_files_that_are_cut_off_are_read_or_refused(name, tmp_path):
    suffix, data, feature = SOUND_FILES[name]
    refused = 0
    for end in range(0, len(data), max(1, len(data) // 60)):
        try:
            read(tmp_path, suffix, data[:end], feature)
        except RequantError:
            refused += 1
    assert refused


def npy(shape, descr="'<f4'", data=b"1234"):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def npz(member, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", member)
    return buffer.getvalue()


def gzip_of_zeros(megabytes):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


TERABYTES = (1 << 20, 1 << 20)
HOSTILE = {
    "idx of terabytes": ("", idx((1 << 31, 1 << 10)), ARRAY),
    "idx whose size overflows": ("", idx((1 << 31, 1 << 31, 4)), ARRAY),
    "idx of many axes": ("", idx((1,) * 200), ARRAY),
    "compressed idx of terabytes": (".gz", gzip.compress(idx((1 << 31, 1 << 10))), ARRAY),
    "compressed idx with more than it says": (".gz", gzip.compress(idx(data=bytes(10_000_000))), ARRAY),
    "gzip without an end": (".gz", gzip.compress(idx())[:40], ARRAY),
    "zeros": (".gz", gzip_of_zeros(64), ARRAY),
    "npy of terabytes": (".npy", npy(TERABYTES), ARRAY),
    "npy whose size overflows": (".npy", npy((1 << 62, 1 << 62)), ARRAY),
    "npy of negative size": (".npy", npy((-1, 4)), ARRAY),
    "npy of huge elements": (".npy", npy((1,), f"[('a', '<f4', {TERABYTES})]"), ARRAY),
    "npy of objects": (".npy", npy((1,), "'|O'"), ARRAY),
    "npy with code for a header": (".npy", npy("__import__('os').abort()"), ARRAY),
    "npy with a deep header": (".npy", npy("(" * 3000), ARRAY),
    "npz of terabytes": (".npz", npz(npy(TERABYTES)), ARRAY),
    "npz of objects": (".npz", npz(npy((1,), "'|O'")), ARRAY),
    "npz compressed in another way": (".npz", npz(npy((1,)), zipfile.ZIP_LZMA)[:-60], ARRAY),
    "npz of no array": (".npz", npz(b"none"), ARRAY),
    "wav of no channels": (".wav", wav()[:22] + b"\0\0" + wav()[24:], SOUND),
    "a picture of too many points": (".png", png()[:16] + struct.pack(">II", 1 << 30, 1 << 30) + png()[24:], PICTURE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_say_that_they_hold_more_than_they_do_are_refused(name, tmp_path):
    with pytest.raises(RequantError) as caught:
        read(tmp_path, *HOSTILE[name])
    assert str(tmp_path) in str(caught.value)


def test_a_sound_that_was_streamed_and_does_not_know_its_size_is_read(tmp_path):
    data = wav()
    streamed = data[:4] + b"\xff" * 4 + data[8:40] + b"\xff\xff\xff\x7f" + data[44:]
    assert len(read(tmp_path, ".wav", streamed, SOUND)) == len(read(tmp_path, ".wav", data, SOUND))
