"""Files from strangers: each is refused by name or taken, within its folder, little memory and little time.

The files are put through all readers in a process that may take little memory (`tests/coreml/examination.py`). Most of
them were found by damaging sound models at random (`tests/coreml/fuzz.py`); a fixed number of such files is tried here.
"""

import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from coremltools.proto import MIL_pb2, Model_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.cli import main
from requant.coreml.kind import has_network_weights, read_kind
from requant.coreml.model import WEIGHT_FILE, load, package_members, save, to_bytes, unpack_package
from requant.coreml.package import MANIFEST, PACKAGE_MODEL, require_whole
from requant.errors import RequantError, UnforeseenError
from requant.job import reported
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from requant.report.anatomy import describe
from tests.building import add_inner_product, network, numbers
from tests.coreml.joining import joined, scaler
from tests.coreml.mutations import damaged_bytes, small_network, small_program, sound_models, trees, zipped

REPOSITORY = Path(__file__).parents[2]
HUGE = (1 << 63) - 1


def network_file(change):
    """Return the suffix and bytes of a small network whose layers, by name, were changed."""
    spec = small_network().copy_spec()
    change({layer.name: layer for layer in spec.neuralNetwork.layers}, spec)
    return ".mlmodel", spec.SerializeToString()


def program_file(change, scheme=None):
    """Return the suffix and bytes of a small program whose operations, by the name of their result, were changed."""
    model = quantize(small_program(), Scheme.parse(scheme)) if scheme else small_program()
    spec = model.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    operations = function.block_specializations[function.opset].operations
    files = dict(model.files)
    change({operation.outputs[0].name: operation for operation in operations}, function, files)
    return ".mlpackage.zip", zipped(package_members(dataclasses.replace(model, spec=spec, files=files)))


def set_shape(value_type, *sizes):
    del value_type.tensorType.dimensions[:]
    for size in sizes:
        value_type.tensorType.dimensions.add().constant.size = size
    value_type.tensorType.rank = len(sizes)


def weight(operations, name="fc_weight_0"):
    return operations[name].attributes["val"]


def blob(offset):
    def change(operations, function, files):
        weight(operations).blobFileValue.offset = offset

    return program_file(change)


def shape(*sizes):
    def change(operations, function, files):
        set_shape(weight(operations).type, *sizes)
        set_shape(operations["fc_weight_0"].outputs[0].type, *sizes)

    return program_file(change)


def header(place, number, form):
    """Overwrite a number in the record of the largest blob."""

    def change(operations, function, files):
        offset = weight(operations).blobFileValue.offset
        data = bytearray(files[WEIGHT_FILE])
        struct.pack_into(form, data, offset + place, number)
        files[WEIGHT_FILE] = bytes(data)

    return program_file(change)


def without_numbers(operations, function, files):
    value = weight(operations)
    value.ClearField("blobFileValue")
    value.immediateValue.tensor.SetInParent()
    set_shape(value.type, 1 << 20, 1 << 12)


def overlapping(operations, function, files):
    """Have thousands of constants read all of a large file."""
    numbers_ = np.zeros(1 << 22, np.float32)
    record = struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, numbers_.nbytes, 128, 0)
    files[WEIGHT_FILE] = struct.pack("<II56x", 1, 2) + record + numbers_.tobytes()
    block = function.block_specializations[function.opset]
    for index in range(5000):
        more = block.operations.add()
        more.CopyFrom(operations["fc_weight_0"])
        more.outputs[0].name = f"more_{index}"
    for name, operation in {o.outputs[0].name: o for o in block.operations}.items():
        value = operation.attributes["val"] if operation.type == "const" else None
        if value is not None and value.WhichOneof("value") == "blobFileValue":
            value.blobFileValue.offset = 64
            if name.startswith("more"):
                set_shape(value.type, numbers_.size)
                set_shape(operation.outputs[0].type, numbers_.size)


def itself(operations, function, files):
    made = next(o for o in operations.values() if o.type == "constexpr_sparse_to_dense")
    key = sorted(made.inputs)[0] if made.inputs else "mask"
    made.inputs[key].arguments.add().name = made.outputs[0].name
    del made.inputs[key].arguments[:-1]


def long_vectors(operations, function, files):
    """Have a lookup table of few long vectors, and as many indices: their product is what comes out of it."""
    made = next(o for o in operations.values() if o.type == "constexpr_lut_to_dense")
    table = np.zeros((1, 1, 2, 1 << 20), np.float32)
    indices = np.zeros((1 << 10, 1 << 10), np.uint8)
    for key, array, kind, stored in (("indices", indices, MIL_pb2.UINT8, 3), ("lut", table, MIL_pb2.FLOAT32, 2)):
        offset = len(files[WEIGHT_FILE]) + -len(files[WEIGHT_FILE]) % 64
        record = struct.pack("<IIQQQ32x", 0xDEADBEEF, stored, array.nbytes, offset + 64, 0)
        files[WEIGHT_FILE] = files[WEIGHT_FILE].ljust(offset, b"\0") + record + array.tobytes()
        value = constant_of(made, key, operations)
        value.Clear()
        value.type.tensorType.dataType = kind
        set_shape(value.type, *array.shape)
        value.blobFileValue.fileName = "@model_path/weights/weight.bin"
        value.blobFileValue.offset = offset


def constant_of(operation, key, operations):
    """Return the value of an operation's constant input, or of the constant that it names."""
    if key in operation.attributes:
        return operation.attributes[key]
    binding = operation.inputs[key].arguments[0]
    return binding.value if binding.WhichOneof("binding") == "value" else weight(operations, binding.name)


def blocks_in_blocks(operations, function, files):
    inner = operations["fc"]
    for _ in range(60):
        inner = inner.blocks.add().operations.add(type="cond")


def varint(number):
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def nested_pipelines(depth):
    """Return a model of pipelines in pipelines."""
    data = b"\x08\x01" + varint(900 << 3 | 2) + b"\0"  # an identity
    for _ in range(depth):
        data = b"\x0a" + varint(len(data)) + data  # Pipeline.models
        data = b"\x08\x01" + varint(202 << 3 | 2) + varint(len(data)) + data
    return ".mlmodel", data


def escape_sequences(layers, spec):
    layers["fc"].name = "fc\x1b[2J\nnet.mlmodel: sound\x07"
    del layers["fc"].innerProduct.weights.floatValue[7:]


def no_branch_end(layers, spec):
    layers["relu"].branch.SetInParent()


def set_size(field, number):
    def change(layers, spec):
        setattr(layers["fc"].innerProduct, field, number)

    return network_file(change)


def many_kernel_axes(layers, spec):
    layers["conv"].convolution.kernelSize.extend([1] * 70)


def table_of_codes(count):
    def change(layers, spec):
        weights = layers["fc"].innerProduct.weights
        weights.Clear()
        weights.rawValue = bytes(7 * 486)
        weights.quantization.numberOfBits = 8
        weights.quantization.lookupTableQuantization.floatValue.extend([0.5] * count)

    return network_file(change)


def codes_of_many_bits(layers, spec):
    weights = layers["fc"].innerProduct.weights
    weights.Clear()
    weights.rawValue = b"\1"
    weights.quantization.numberOfBits = 1 << 40
    weights.quantization.linearQuantization.scale.append(1)


def many_dimensions():
    spec = trees().copy_spec()
    spec.treeEnsembleRegressor.treeEnsemble.numPredictionDimensions = HUGE
    del spec.treeEnsembleRegressor.treeEnsemble.basePredictionValue[:]
    return ".mlmodel", spec.SerializeToString()


def model_bytes(change):
    spec = small_network().copy_spec()
    change(spec)
    return ".mlmodel", spec.SerializeToString()


def unknown_colour(spec):
    spec.description.input[0].type.imageType.colorSpace = 77


def other_axes(spec):
    spec.description.input[0].type.multiArrayType.enumeratedShapes.shapes.add().shape.extend([1])


def first_operation(change):
    return program_file(lambda operations, function, files: change(next(iter(operations.values()))))


def package(change):
    """Return a zip of a small program with its files changed."""
    members = package_members(small_program())
    change(members)
    return ".mlpackage.zip", zipped(members)


def manifest(**changes):
    def change(members):
        table = json.loads(members[MANIFEST])
        (identifier,) = [key for key, entry in table["itemInfoEntries"].items() if entry["name"] == "weights"]
        if "path" in changes:
            table["itemInfoEntries"][identifier]["path"] = changes["path"]
        if "root" in changes:
            table["rootModelIdentifier"] = identifier if changes["root"] == "weights" else changes["root"]
        members[MANIFEST] = json.dumps(table).encode()

    return package(change)


def with_manifest(data):
    return package(lambda members: members.update({MANIFEST: data}))


def zip_with(name, data=b"evil", *, mode=0o100644, method=zipfile.ZIP_STORED):
    """Return a zip of a small program with one more file."""
    buffer = BytesIO(zipped(package_members(small_program())))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = method
        archive.writestr(info, data)
    return ".mlpackage.zip", buffer.getvalue()


def encrypted():
    data = bytearray(zipped(package_members(small_program())))
    data[data.rindex(b"PK\1\2") + 8] |= 1
    return ".mlpackage.zip", bytes(data)


def bomb():
    return zip_with("m.mlpackage/Data/zeros", bytes(400 << 20), method=zipfile.ZIP_DEFLATED)


def twice_the_same():
    members = package_members(small_program())
    with pytest.warns(UserWarning, match="Duplicate"):
        return zip_with(f"m.mlpackage/{PACKAGE_MODEL}", members[PACKAGE_MODEL])


def overlapping_entries():
    """Return a zip whose directory names one file of megabytes thousands of times."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in package_members(small_program()).items():
            archive.writestr(f"m.mlpackage/{path}", data)
        archive.writestr("m.mlpackage/Data/zeros", bytes(20 << 20))
        first = archive.getinfo("m.mlpackage/Data/zeros")
        for index in range(3000):
            info = zipfile.ZipInfo(f"m.mlpackage/Data/zeros{index}")
            for key in ("compress_type", "header_offset", "CRC", "compress_size", "file_size"):
                setattr(info, key, getattr(first, key))
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    return ".mlpackage.zip", buffer.getvalue()


# By name: how the file is made, the way in which it is refused, and what is said.
HOSTILE = {
    "nothing": (lambda: (".mlmodel", b""), "describe", "there is no model in it"),
    "zeros": (lambda: (".mlmodel", bytes(100_000)), "describe", "its bytes can't be decoded"),
    "nothing but numbers": (lambda: (".mlmodel", b"\x08\x01" * 1_500_000), "kind", "more parts than any model"),
    "ends in space": (lambda: (".mlmodel", b"\x12" + varint((1 << 64) - 1)), "kind", "ends before a part of it does"),
    "pipelines in pipelines": (lambda: nested_pipelines(400), "describe", "its bytes can't be decoded"),
    "a few pipelines": (lambda: nested_pipelines(20), "describe", None),
    "not a zip": (lambda: (".mlpackage.zip", b"PK\3\4"), "describe", "is not a zip file, or it is damaged"),
    "out of the zip": (lambda: zip_with("m.mlpackage/Data/../../../evil"), "unpack", "outside of the package"),
    "out by the other slash": (lambda: zip_with("m.mlpackage/Data\\..\\..\\evil"), "unpack", "outside of the package"),
    "absolute": (lambda: zip_with("/tmp/evil"), "kind", "names files outside of the package"),
    "on a drive": (lambda: zip_with("C:/evil"), "unpack", "names files outside of the package"),
    "a link in the zip": (
        lambda: zip_with("m.mlpackage/Data/link", b"/etc/passwd", mode=0o120777), "unpack", "is a symbolic link"
    ),
    "twice the same": (twice_the_same, "describe", "holds 2 packages"),
    "twice another": (
        lambda: zip_with("m.mlpackage/Data/com.apple.CoreML/weights/weight.bin/x"), "unpack", "is a file and a folder"
    ),
    "two packages": (lambda: zip_with(f"n.mlpackage/{PACKAGE_MODEL}"), "describe", "holds 2 packages"),
    "beside the package": (lambda: zip_with("__MACOSX/._m.mlpackage"), "describe", None),
    "a bomb": (bomb, "describe", "says that 419,"),
    "entries that overlap": (overlapping_entries, "kind", "is not to be trusted: it has"),
    "encrypted": (encrypted, "describe", "is encrypted, or compressed by another method"),
    "compressed in another way": (
        lambda: zip_with("m.mlpackage/Data/x", method=zipfile.ZIP_LZMA), "kind", "compressed by another method"
    ),
    "a name too long": (
        lambda: zip_with(f"m.mlpackage/Data/com.apple.CoreML/{'x' * 300}"), "unpack", "can't be written"
    ),
    "no manifest": (lambda: package(lambda members: members.pop(MANIFEST)), "describe", None),
    "a manifest that leads out": (lambda: manifest(path="../../../evil"), "describe", "'../../../evil', outside"),
    "an absolute manifest": (lambda: manifest(path="/etc/passwd"), "describe", "'/etc/passwd', outside of the package"),
    "a manifest of numbers": (lambda: manifest(path=7), "describe", "names 7, outside"),
    "a manifest of what is missing": (
        lambda: manifest(path="com.apple.CoreML/x"), "describe", "names Data/com.apple.CoreML/x, which is not there"
    ),
    "a manifest without a model": (lambda: manifest(root="nothing"), "describe", "does not say which of its files is"),
    "a manifest with another model": (lambda: manifest(root="weights"), "describe", "has its model in Data/com.apple."),
    "a manifest that is none": (lambda: with_manifest(b"[1]"), "describe", "Manifest.json that is none"),
    "a deep manifest": (lambda: with_manifest(b"[" * 100_000), "describe", "Manifest.json that is none"),
    "a manifest of megabytes": (lambda: with_manifest(b" " * 5_000_000), "describe", "it has 5,000,000 bytes"),
    "an offset beyond the file": (lambda: blob(1 << 40), "describe", "no record at 1099511627776"),
    "the largest offset": (lambda: blob((1 << 64) - 1), "run", "no record at 18446744073709551615"),
    "an offset between blobs": (lambda: blob(65), "quantize", "has no whole blob at 65"),
    "a shape of terabytes": (lambda: shape(1 << 20, 1 << 20), "describe", "bytes for the shape (1048576, 1048576)"),
    "a shape that overflows": (lambda: shape(1 << 32, 1 << 32), "run", "bytes for the shape (4294967296, 4294967296)"),
    "a shape of many axes": (lambda: shape(*[1] * 100, 4096), "describe", "a value does not fit its type"),
    "a shape without elements": (
        lambda: program_file(lambda operations, f, files: set_shape(weight(operations, "last_y_0").type, 16, 0)),
        "describe",
        None,
    ),
    "a list for numbers": (
        lambda: program_file(lambda operations, f, files: weight(operations).type.listType.SetInParent()),
        "describe",
        "'fc_weight_0' is declared as numbers, but is a list",
    ),
    "another shape": (lambda: shape(3, 3), "quantize", None),
    "a blob of terabytes": (lambda: header(8, 1 << 50, "<Q"), "describe", "has no whole blob at"),
    "a blob that begins beyond the file": (lambda: header(16, 1 << 50, "<Q"), "convert", "has no whole blob at"),
    "a blob of an unknown type": (lambda: header(4, 99, "<I"), "describe", "has the unknown data type 99"),
    "a blob without its sign": (lambda: header(0, 0, "<I"), "describe", "has no whole blob at"),
    "blocks in blocks": (lambda: program_file(blocks_in_blocks), "describe", "its bytes can't be decoded"),
    "no numbers": (lambda: program_file(without_numbers), "run", "(1048576, 4096) and no numbers"),
    "blobs that overlap": (lambda: program_file(overlapping), "run", "is not to be trusted: its program reads"),
    "long vectors": (lambda: program_file(long_vectors, "kmeans_4_group4"), "describe", "1,099,511,627,776 numbers of"),
    "made of itself": (lambda: program_file(itself, "prune_50"), "describe", "is made of itself"),
    "another file": (
        lambda: program_file(lambda o, f, files: files.clear()), "describe", "weights/weight.bin is missing"
    ),
    "no operations": (
        lambda: program_file(lambda o, function, files: function.block_specializations.clear()),
        "describe",
        "no operations for the operator set 'CoreML6'",
    ),
    "an operation without results": (lambda: first_operation(lambda o: o.outputs.pop()), "describe", "has no result"),
    "an unknown type of elements": (
        lambda: program_file(lambda o, f, files: set_type(weight(o), 77)), "describe", "is of type 77, which requant"
    ),
    "too few numbers": (lambda: network_file(escape_sequences), "describe", "are damaged: their numbers do not fit"),
    "too many outputs": (lambda: set_size("outputChannels", HUGE), "quantize", "fit the shape (9223372036854775807"),
    "no inputs": (lambda: set_size("inputChannels", 0), "describe", "do not fit the shape (7, 0)"),
    "a kernel of many axes": (lambda: network_file(many_kernel_axes), "describe", "are damaged"),
    "a table that is too short": (lambda: table_of_codes(3), "describe", "a table of 3 entries for codes of 8 bits"),
    "codes of many bits": (lambda: network_file(codes_of_many_bits), "describe", "codes of 1099511627776 bits"),
    "a branch of nothing": (lambda: network_file(no_branch_end), "run", "'sum' of type add can't be run: it reads 'd'"),
    "unknown colours": (lambda: model_bytes(unknown_colour), "describe", "colours that requant does not know (77)"),
    "other axes": (lambda: model_bytes(other_axes), "describe", "has 3 axes, but is allowed to have others"),
    "trees of many numbers": (many_dimensions, "run", "predicts 9,223,372,036,854,775,807 numbers at once"),
}  # fmt: skip


def set_type(value, number):
    value.type.tensorType.dataType = number


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    """Return what came of all hostile files, put through all ways in one process with little memory."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = {}
    for index, (name, (make, _, _)) in enumerate(HOSTILE.items()):
        suffix, data = make()
        paths[name] = folder / f"{index}{suffix}"
        paths[name].write_bytes(data)
    before = sorted(folder.iterdir())
    run = subprocess.run(
        [sys.executable, "-m", "tests.coreml.examination", *map(str, paths.values())],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    lock_files = {folder / "SHA256SUMS"}  # of the way `lock`, which locks whatever a file holds
    assert set(folder.iterdir()) - set(before) == lock_files
    found = json.loads(run.stdout.splitlines()[-1])
    return {name: found[str(path)] for name, path in paths.items()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_goes_wrong(name, examined):
    _, way, message = HOSTILE[name]
    assert {w: told for w, (verdict, told) in examined[name].items() if verdict == "wrong"} == {}
    verdict, told = examined[name][way]
    if message is None:
        assert verdict == "taken" or way == "quantize"
    else:
        assert verdict == "refused"
        assert message in told


def test_sound_models_are_taken_in_all_ways(tmp_path):
    paths = []
    for index, model in enumerate(sound_models().values()):
        path = tmp_path / f"{index}{model.kind.suffix}"
        path.write_bytes(to_bytes(model, "m"))
        paths.append(str(path))
    run = subprocess.run(
        [sys.executable, "-m", "tests.coreml.examination", *paths],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    for told in found.values():
        assert {told[way][0] for way in ("kind", "describe", "run", "lock")} == {"taken"}


def test_damaged_files_of_fixed_seeds_are_refused_or_taken():
    run = subprocess.run(
        [sys.executable, "-m", "tests.coreml.fuzz", "--files", "100", "--foreseen"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert run.stdout == "100 files, 0 places where something went wrong\n"


@settings(max_examples=150)
@given(st.sampled_from(["convolutions", "program kmeans_4_group4", "pipeline"]), st.randoms(use_true_random=False))
def test_damaged_bytes_are_read_or_refused(tmp_path_factory, name, random):
    model = sound_models()[name]
    path = tmp_path_factory.mktemp("damaged") / f"m{model.kind.suffix}"
    path.write_bytes(damaged_bytes(to_bytes(model, "m"), random))
    for read in (read_kind, has_network_weights, lambda path: describe(load(path), 1, tensors=True)):
        try:
            read(path)
        except UnforeseenError as error:
            raise AssertionError from error
        except RequantError as error:
            if str(path) not in str(error):
                raise AssertionError from error


@pytest.mark.parametrize("name", ["convolutions", "program prune_50", "pipeline", "trees"])
def test_a_file_that_is_cut_off_anywhere_is_refused_or_read(name, tmp_path):
    model = sound_models()[name]
    path = tmp_path / f"m{model.kind.suffix}"
    data = to_bytes(model, "m")
    ends = [*range(min(len(data), 400)), *range(400, len(data), 1 + len(data) // 200), len(data) - 1]
    for end in ends:
        path.write_bytes(data[:end])
        try:
            describe(load(path), 1)
        except UnforeseenError as error:
            raise AssertionError(end) from error
        except RequantError:
            continue
        assert (
            path.suffix == ".mlmodel"
        )  # a message may end where a part of it does; a zip has its directory at the end


def test_a_weight_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    model = sound_models()["program linear_4_block16"]
    data = model.weight_file
    refused = 0
    for end in range(0, len(data), 61):
        try:
            describe(dataclasses.replace(model, files={WEIGHT_FILE: data[:end]}), 1)
        except UnforeseenError as error:
            raise AssertionError(end) from error
        except RequantError:
            refused += 1
    assert refused == len(range(0, len(data), 61))


# What lies in a folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "m.mlpackage"
    unpack_package(small_program(), path)
    return path


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "nowhere"])
def test_a_link_in_a_package_is_not_followed(folder, tmp_path, target):
    (tmp_path / "secret").write_text("secret")
    (folder / "Data/com.apple.CoreML/weights/more.bin").symlink_to(target)
    for read in (load, require_whole):
        with pytest.raises(RequantError, match=r"more.bin is a symbolic link, which a package can't have"):
            read(folder)


def test_a_linked_folder_in_a_package_is_not_followed(folder, tmp_path):
    weights = folder / "Data/com.apple.CoreML/weights"
    weights.rename(tmp_path / "weights")
    weights.symlink_to(tmp_path / "weights")
    with pytest.raises(RequantError, match="weights is a symbolic link"):
        load(folder)


def test_a_package_that_is_a_link_itself_is_read(folder, tmp_path):
    (tmp_path / "linked.mlpackage").symlink_to(folder)
    assert load(tmp_path / "linked.mlpackage").spec == load(folder).spec


@pytest.mark.parametrize("suffix", [".mlmodel", ".mlpackage.zip"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    os.mkfifo(path)
    for read in (load, read_kind):
        with pytest.raises(RequantError, match="it is no file"):
            read(path)


def test_a_pipe_in_a_package_is_not_waited_for(folder):
    os.mkfifo(folder / "Data/pipe")
    with pytest.raises(RequantError, match="pipe is no file"):
        load(folder)


def test_what_the_finder_leaves_in_a_package_does_not_count(folder):
    before = load(folder)
    for place in (folder, folder / "Data/com.apple.CoreML"):
        (place / ".DS_Store").write_bytes(b"junk")
    assert load(folder).files == before.files
    assert require_whole(folder) == []


def test_a_failed_unpacking_leaves_what_was_there(folder, tmp_path):
    model = dataclasses.replace(load(folder), files={"x" * 300: b""})
    before = load(folder)
    with pytest.raises(RequantError, match=r"m.mlpackage can't be written: File name too long"):
        unpack_package(model, folder)
    assert load(folder).spec == before.spec
    assert [path.name for path in tmp_path.iterdir()] == ["m.mlpackage"]


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequantError, match="can't be written"):
        unpack_package(small_program(), tmp_path / "file" / "m.mlpackage")


# What is told


def test_names_do_not_steer_the_terminal(tmp_path, capsys):
    model = network(lambda b: add_inner_product(b, numbers(4, 5), name="fc\x1b[2J\nnet.mlmodel: sound"), {"x": (5,)})
    save(model, tmp_path / "m.mlmodel")
    assert main(["describe", str(tmp_path / "m.mlmodel"), "--tensors"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "fc\\x1b[2J net.mlmodel: sound.weights" in told
    suffix, data = network_file(escape_sequences)
    (tmp_path / f"n{suffix}").write_bytes(data)
    assert main(["describe", str(tmp_path / "n.mlmodel")]) == 1
    assert "\x1b" not in (told := capsys.readouterr().err)
    assert "fc\\x1b[2J" in told


def test_what_nobody_foresaw_is_told_with_its_cause_in_the_log(tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        raise ZeroDivisionError("by chance")

    model = joined([scaler()])
    monkeypatch.setattr("requant.report.anatomy.oldest_system", broken)
    with pytest.raises(SystemExit), reported(tmp_path / "log"):
        describe(model, 1)
    told = capsys.readouterr().err
    assert (
        "joined.mlmodel is damaged, or made in a way that requant does not know: ZeroDivisionError: by chance" in told
    )
    assert "Traceback" not in told
    assert "in broken" in (tmp_path / "log").read_text()


def test_too_little_memory_is_told(tmp_path, capsys, monkeypatch):
    def full(*arguments, **options):
        raise MemoryError

    path = tmp_path / "m.mlmodel"
    save(small_network(), path)
    monkeypatch.setattr("requant.coreml.model._parse", full)
    assert main(["describe", str(path)]) == 1
    assert capsys.readouterr().err == f"requant: {path} takes more memory than there is.\n"


def test_every_body_of_the_format_is_described_or_refused(tmp_path):
    for field in Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields:
        spec = Model_pb2.Model(specificationVersion=4)
        getattr(spec, field.name).SetInParent()
        (tmp_path / "m.mlmodel").write_bytes(spec.SerializeToString())
        try:
            describe(load(tmp_path / "m.mlmodel"), 1)
        except UnforeseenError as error:
            raise AssertionError(field.name) from error
        except RequantError:
            pass
    shutil.rmtree(tmp_path)
