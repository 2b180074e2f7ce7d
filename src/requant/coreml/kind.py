"""What a Core ML file holds, found by reading a few bytes of it.

A `Model` message (Apple's `Model.proto`) names its kind by the number of the one field that holds the body. The body of
a pipeline is a list of such messages. Reading just the field numbers, and passing over all else, needs neither
`coremltools` nor the weights, so that a workflow of many models starts at once.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from requant.coreml.package import PACKAGE_MODEL, opened, opened_zip
from requant.errors import RequantError


class Kind(enum.StrEnum):
    """The two kinds of model whose weights can be quantized, and all others. A pipeline is of the kind of those in it.

    A network or a program is of its kind even if it happens to have no weights.
    """

    NEURAL_NETWORK = "NeuralNetwork"
    ML_PROGRAM = "ML Program"
    OTHER = "nothing to quantize"

    @property
    def suffix(self) -> str:
        """The ending of a file that carries such a model from rule to rule."""
        return ".mlpackage.zip" if self is Kind.ML_PROGRAM else ".mlmodel"


_BODIES = {
    200: "pipelineClassifier", 201: "pipelineRegressor", 202: "pipeline", 300: "glmRegressor",
    301: "supportVectorRegressor", 302: "treeEnsembleRegressor", 303: "neuralNetworkRegressor",
    304: "bayesianProbitRegressor", 400: "glmClassifier", 401: "supportVectorClassifier",
    402: "treeEnsembleClassifier", 403: "neuralNetworkClassifier", 404: "kNearestNeighborsClassifier",
    500: "neuralNetwork", 501: "itemSimilarityRecommender", 502: "mlProgram", 555: "customModel", 556: "linkedModel",
    560: "classConfidenceThresholding", 600: "oneHotEncoder", 601: "imputer", 602: "featureVectorizer",
    603: "dictVectorizer", 604: "scaler", 606: "categoricalMapping", 607: "normalizer", 609: "arrayFeatureExtractor",
    610: "nonMaximumSuppression", 900: "identity", 2000: "textClassifier", 2001: "wordTagger",
    2002: "visionFeaturePrint", 2003: "soundAnalysisPreprocessing", 2004: "gazetteer", 2005: "wordEmbedding",
    2006: "audioFeaturePrint", 3000: "serializedModel",
}  # fmt: skip
KINDS = {
    "neuralNetwork": Kind.NEURAL_NETWORK,
    "neuralNetworkClassifier": Kind.NEURAL_NETWORK,
    "neuralNetworkRegressor": Kind.NEURAL_NETWORK,
    "mlProgram": Kind.ML_PROGRAM,
}


_MOST_FIELDS = 1_000_000  # of a message: more than any model has, and read in seconds
_LARGEST = 1 << 40  # bytes of a file
PIPELINES = frozenset({"pipeline", "pipelineClassifier", "pipelineRegressor"})
_STAGES = 1  # the number of the field with the models of a `Pipeline`, and with the `Pipeline` of the other two
# The numbers of the fields that lead from a model to weights: the network, its layers, the layer's type, its weights.
_NETWORK_WEIGHTS = [
    (network, 1, *layer)
    for network in (number for number, body in _BODIES.items() if KINDS.get(body) is Kind.NEURAL_NETWORK)
    for layer in ((100, 90), (140, 20))  # a convolution's, an inner product's
]


def kind_of_bodies(bodies: Sequence[str], path: Path) -> Kind:
    """Return the kind of a model.

    Args:
        bodies: the field of Apple's `Model` message that is the model's body, and for a pipeline those of all models
            inside it too.
        path: of the model, for messages.

    Raises:
        RequantError: if it has networks and programs together.
    """
    kinds = {KINDS[body] for body in bodies if body in KINDS}
    if len(kinds) > 1:
        raise RequantError(
            f"{path} is a {bodies[0]} of NeuralNetworks and ML Programs together{_inside(bodies)}. They store weights "
            "in different ways, so that no scheme fits both; quantize the models before you join them."
        )
    return kinds.pop() if kinds else Kind.OTHER


def type_of_bodies(bodies: Sequence[str]) -> str:
    """Return what a model is, for people: its kind, or where nothing in it can be quantized its type and what it holds.

    Args:
        bodies: as for `kind_of_bodies`.
    """
    kind = next((KINDS[body] for body in bodies if body in KINDS), None)
    return str(kind) if kind else f"{bodies[0]}{_inside(bodies)}"


def _inside(bodies: Sequence[str]) -> str:
    """Return the types of the models inside a pipeline, each once, in parentheses; nothing for any other model."""
    types = [body for body in dict.fromkeys(bodies[1:]) if body not in PIPELINES]
    return f" ({', '.join(types)})" if types else ""


def read_kind(path: Path) -> Kind:
    """Return the kind of the model in a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Raises:
        RequantError: if the file can't be read, is no Core ML model, or has networks and programs together.
    """
    with _opened(path) as stream:
        bodies = _read_bodies(stream)
    return kind_of_bodies(bodies, path)


def has_network_weights(path: Path) -> bool:
    """Return whether a network plainly has weights: those of a convolution or an inner product, outside of any branch.

    Only a model that has none of these needs a closer look.

    Args:
        path: of a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Raises:
        RequantError: if the file can't be read or is no Core ML model.
    """
    with _opened(path) as stream:
        for numbers in _NETWORK_WEIGHTS:
            stream.seek(0)
            if _holds(stream, None, numbers):
                return True
    return False


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the file of a model's message, and tell what is wrong with it."""
    try:
        if path.suffix == ".zip" and not path.is_dir():
            with opened_zip(path) as (archive, members):
                if PACKAGE_MODEL not in members:
                    raise RequantError(f"{path} is not a Core ML model: it has no {PACKAGE_MODEL}.")
                with archive.open(members[PACKAGE_MODEL]) as stream:
                    yield stream
        else:
            with opened(path / PACKAGE_MODEL if path.is_dir() else path, path) as stream:
                yield stream
    except (ValueError, OverflowError, RecursionError) as error:
        raise RequantError(f"{path} is not a Core ML model: {error}.") from error


def _read_bodies(stream: IO[bytes], end: int | None = None) -> list[str]:
    """Return the body of the model that begins here, and for a pipeline those of all models inside it."""
    for number, after in _fields(stream, end):
        if number in _BODIES:
            body = _BODIES[number]
            return [body, *(_read_stages(stream, after, body) if body in PIPELINES else [])]
    raise ValueError("it ends before a model begins (an empty or foreign file)")


def _read_stages(stream: IO[bytes], end: int, body: str) -> list[str]:
    stages = (after for number, after in _fields(stream, end) if number == _STAGES)
    if body == "pipeline":
        return [found for after in stages for found in _read_bodies(stream, after)]
    return [found for after in stages for found in _read_stages(stream, after, "pipeline")]


def _holds(stream: IO[bytes], end: int | None, numbers: Sequence[int]) -> bool:
    """Return whether fields with these numbers, each inside the one before it, lead to one that is not empty."""
    if not numbers:
        return end is not None and end > stream.tell()
    fields = _fields(stream, end)
    return any(number == numbers[0] and _holds(stream, after, numbers[1:]) for number, after in fields)


def _fields(stream: IO[bytes], end: int | None) -> Iterator[tuple[int, int]]:
    """Yield the number and the end of each field with a length, the stream at its first byte; pass over the others."""
    for _ in range(_MOST_FIELDS):
        if end is not None and stream.tell() >= end:
            return
        tag = _read_varint(stream)
        if tag is None:
            return
        number, wire_type = tag >> 3, tag & 7
        if wire_type not in (0, 2):
            raise ValueError("its bytes are not those of a Core ML model")
        value = _read_varint(stream) or 0
        if wire_type == 2:
            after = stream.tell() + value
            if after > (_LARGEST if end is None else end):
                raise ValueError("it ends before a part of it does")
            yield number, after
            stream.seek(after)
    raise ValueError("it has more parts than any model")


def _read_varint(stream: IO[bytes]) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("its bytes are not those of a Core ML model")
