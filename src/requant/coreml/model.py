"""Reading and writing a Core ML model in its three forms, with canonical bytes.

The forms are a `.mlmodel` file, an `.mlpackage` folder as Xcode has it, and an `.mlpackage.zip`: one plain file that a
workflow can pass on and a page can offer for download. What is written is canonical: the same model gives the same
bytes, without a date, a random identifier or the order of a hash table in it.

The formats are described at https://apple.github.io/coremltools/mlmodel/index.html.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from google.protobuf.message import DecodeError

from requant.coreml.kind import Kind, kind_of_bodies, type_of_bodies
from requant.coreml.mapped import Content, pieces
from requant.coreml.messages import Model_pb2
from requant.coreml.package import PACKAGE_MODEL, read_file, read_folder, read_zip
from requant.coreml.pipeline import walk_specs
from requant.coreml.reading import reading
from requant.errors import RequantError
from requant.records import UNFINISHED, whole_file, writing

DATA_FOLDER = "Data/com.apple.CoreML/"
WEIGHT_FILE = "weights/weight.bin"
_XCODE_FILES = frozenset({"FeatureDescriptions.json", "Metadata.json"})  # its copies of what the message says too
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Model:
    """One Core ML model.

    Attributes:
        spec: Apple's `Model` message. Treat it as read-only; `copy_spec` gives one to change.
        files: the files beside `model.mlmodel` in an `.mlpackage`, by their path below `Data/com.apple.CoreML`; large
            ones are mapped (`requant.coreml.mapped`).
        path: where it was read from, for messages.
    """

    spec: Any
    files: Mapping[str, Content] = field(default_factory=dict)
    path: Path = Path("model")

    @property
    def kind(self) -> Kind:
        """NeuralNetwork, ML Program or neither; of a pipeline, what the models that can be quantized in it are.

        Raises:
            RequantError: if a pipeline has both.
        """
        return kind_of_bodies(self._bodies, self.path)

    @property
    def type(self) -> str:
        """What the model is, for people: its kind, or if nothing in it can be quantized its type and what it holds."""
        return type_of_bodies(self._bodies)

    @property
    def _bodies(self) -> list[str]:
        return [spec.WhichOneof("Type") or "none" for spec in walk_specs(self.spec)]

    @property
    def weight_file(self) -> Content:
        """The bytes of `weights/weight.bin`, empty where there is none."""
        return self.files.get(WEIGHT_FILE, b"")

    def copy_spec(self) -> Any:
        """Return a copy of the `Model` message that may be changed."""
        spec = Model_pb2.Model()
        spec.CopyFrom(self.spec)
        return spec


def load(path: Path) -> Model:
    """Read a model from a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Raises:
        RequantError: if the file can't be read or is no Core ML model.
    """
    with reading(path):
        if path.is_dir():
            return _from_members(read_folder(path), path)
        if path.suffix == ".zip":
            return _from_members(read_zip(path), path)
        return Model(_parse(read_file(path), path), {}, path)


def size_of(path: Path) -> int:
    """Return the bytes that a model takes on disk: a file, or all files of a package."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def _from_members(members: dict[str, Content], path: Path) -> Model:
    if PACKAGE_MODEL not in members:
        raise RequantError(f"{path} is not a Core ML package: it has no {PACKAGE_MODEL}.")
    files = {
        name.removeprefix(DATA_FOLDER): data
        for name, data in members.items()
        if name.startswith(DATA_FOLDER) and name != PACKAGE_MODEL
    }
    return Model(_parse(bytes(members[PACKAGE_MODEL]), path), files, path)


def _parse(data: bytes, path: Path) -> Any:
    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(data)
    except DecodeError as error:
        raise RequantError(f"{path} is not a Core ML model, or it is damaged: its bytes can't be decoded.") from error
    if spec.WhichOneof("Type") is None:
        raise RequantError(f"{path} is not a Core ML model: there is no model in it.")
    return spec


def package_members(model: Model) -> dict[str, Content]:
    """Return the files of the model's `.mlpackage`, canonical, by their path in it."""
    items = [("model.mlmodel", "CoreML Model Specification", "com.apple.CoreML/model.mlmodel")]
    for name in sorted({path.partition("/")[0] for path in model.files}):
        text = "CoreML Model Weights" if name == "weights" else f"CoreML Model {name}"
        items.append((name, text, f"com.apple.CoreML/{name}"))
    entries = {
        _identifier(path): {"author": "com.apple.CoreML", "description": text, "name": name, "path": path}
        for name, text, path in items
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier("com.apple.CoreML/model.mlmodel"),
    }
    members: dict[str, Content] = {
        "Manifest.json": (json.dumps(manifest, indent=4, sort_keys=True) + "\n").encode(),
        PACKAGE_MODEL: model.spec.SerializeToString(deterministic=True),
    }
    return members | {DATA_FOLDER + name: data for name, data in sorted(model.files.items())}


def _identifier(path: str) -> str:
    """Return an item's identifier in a package's manifest, which Core ML wants unique within that package."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"requant:{path}")).upper()


def to_bytes(model: Model, name: str) -> bytes:
    """Return the canonical bytes of the one file that carries the model; see `write_model`."""
    buffer = io.BytesIO()
    write_model(model, buffer, name)
    return buffer.getvalue()


def write_model(model: Model, stream: IO[bytes], name: str) -> None:
    """Write the one file that carries the model, canonical.

    Args:
        model: an ML Program becomes an `.mlpackage.zip` (stored, not deflated, so that the bytes do not depend on a
            compression library), any other model a `.mlmodel`, for it needs no files beside its message.
        stream: an empty file, in which one can seek.
        name: the name of the model, which the folder in the zip takes.

    Raises:
        RequantError: if a model that becomes a `.mlmodel` has files beside its message, which would be lost.
    """
    if model.kind is not Kind.ML_PROGRAM:
        lost = sorted(set(model.files) - _XCODE_FILES)
        if lost:
            raise RequantError(
                f"{model.path} is a {model.type} with files beside it in its package ({', '.join(lost)}), which a "
                ".mlmodel can't hold. Keep it as it is."
            )
        stream.write(model.spec.SerializeToString(deterministic=True))
        return
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path, content in package_members(model).items():
            info = zipfile.ZipInfo(f"{name}.mlpackage/{path}", _ZIP_DATE)
            info.create_system = 3  # Unix, on every machine
            info.external_attr = 0o100644 << 16
            info.file_size = len(content)  # of which it hangs whether the zip needs fields for a large file
            with archive.open(info, "w") as member:
                for piece in pieces(content):
                    member.write(piece)


def save(model: Model, path: Path) -> None:
    """Write the model's one file, canonical and whole: beside its place first, then renamed.

    Raises:
        RequantError: if the ending of `path` is not that of the model's kind.
    """
    if not path.name.endswith(model.kind.suffix):
        raise RequantError(f"a model of type {model.type} is written as *{model.kind.suffix}, not as {path.name}.")
    with whole_file(path) as stream:
        write_model(model, stream, path.name.removesuffix(model.kind.suffix))


def write_package(model: Model, folder: Path) -> None:
    """Write the files of a model's `.mlpackage`, canonical, into a folder that is there."""
    for name, content in package_members(model).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            stream.writelines(pieces(content))


def unpack_package(model: Model, folder: Path) -> None:
    """Lay out the `.mlpackage` folder that Xcode takes; an older one in its place is replaced.

    Raises:
        RequantError: if the model is no ML Program, so that it needs no package, the folder's name is not that of
            one, or it can't be written.
    """
    if model.kind is not Kind.ML_PROGRAM:
        raise RequantError(f"{model.path} is a {model.type}: its .mlmodel file is what Xcode takes.")
    if folder.suffix != ".mlpackage":
        raise RequantError(f"{folder} is not the name of a package: it has to end in .mlpackage.")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=UNFINISHED, dir=folder.parent))
        try:
            write_package(model, beside)
            beside.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            beside.replace(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
