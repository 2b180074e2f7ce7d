"""A function of the user's that gives samples: dictionaries of inputs by name, or pairs of those and a target."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np
from PIL import Image

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData, drawn
from requant.evaluate.data.settings import DataSettings
from requant.frameworks import everything
from requant.user_function import load_function

if TYPE_CHECKING:
    from requant.coreml.description import Feature

_NO_SAMPLES = (Mapping, str, bytes)  # though they can be gone through


def files(settings: DataSettings) -> list[Path]:
    """Return the file of the function, and the further files that it reads."""
    return settings.named_files()


def describe(settings: DataSettings) -> str:
    """Return in words where the samples come from; how many there are is known only after all are made."""
    if settings.samples is None:
        return f"the samples of {settings.loader}"
    return f"at most {settings.samples:,} samples of {settings.loader}"


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return the samples of a loader; each is made when it is asked for.

    Raises:
        RequantError: if the function fails, gives nothing, or gives another first sample when it is called again.
    """
    loaded = _Loaded(settings, features)
    count = loaded.length()
    if count is None:
        numbers: Sequence[str] = _Numbers(loaded, settings.samples)
        return EvaluationData(numbers, lambda index: loaded.sample(index)[0], _Targets(loaded, numbers), counted=False)
    taken = drawn(count, settings)
    return EvaluationData(
        [str(index) for index in taken],
        lambda index: loaded.sample(taken[index])[0],
        _Targets(loaded, [str(index) for index in taken]),
    )


class _Loaded:
    """What a user's function gives, of which one sample is held at a time.

    A thing with a length and numbered samples is asked for each of them. Any other is gone through in order, and the
    function is called again where a sample is wanted that is past.
    """

    def __init__(self, settings: DataSettings, features: list[Feature]) -> None:
        self._name = settings.loader
        self._settings = settings
        self._features = {feature.name: feature for feature in features}
        with everything():
            self._function = load_function(settings.loader, "loader")
        self._targets: dict[int, str] = {}
        self._count: int | None = None
        self._begin()
        first = self._first()
        self._begin()
        self._require_same(first, self._first())
        self.labelled = self._parted(0, first)[1] is not None

    def length(self) -> int | None:
        """Return how many samples there are, None if only going through all of them would tell."""
        return len(self._given) if hasattr(self._given, "__len__") else None

    def count(self) -> int:
        """Return how many samples there are, going through those that are left if need be."""
        while self._count is None:
            self.has(self._position + 1)
        return self._count

    def has(self, index: int) -> bool:
        """Return whether there is a sample of this number; it is held then."""
        if self._count is not None and index >= self._count:
            return False
        if self._is_numbered():
            self._hold(index, self._numbered(index))
            return True
        if index < self._position:
            self._begin()
        while self._position < index:
            try:
                with everything():
                    self._hold(self._position + 1, next(self._stream))
            except StopIteration:
                self._count = self._position + 1
                return False
            except Exception as error:
                self._fail(self._position + 1, error)
        return True

    def sample(self, index: int) -> tuple[dict[str, Any], str | None]:
        """Return the inputs of a sample, checked, and its target if it has one.

        Raises:
            RequantError: if there is no such sample or it does not fit the model, naming its number and the input.
        """
        if index != self._position and not self.has(index):
            raise RequantError(f"{self._name} gave no sample {index} this time: it gave only {index} of them.")
        inputs, target = self._parted(index, self._held)
        if (target is not None) != self.labelled:
            what, first = ("no", "has one") if self.labelled else ("a", "has none")
            raise RequantError(f"{self._name}: sample {index} has {what} target, but the first sample {first}.")
        if target is not None:
            self._targets[index] = target
        try:
            return self._checked(inputs), target
        except RequantError as error:
            raise RequantError(f"{self._name}: sample {index}: {error}") from error

    def target(self, index: int) -> str:
        """Return the target of a sample, which is made again only if it has not been yet."""
        if index not in self._targets:
            self.sample(index)
        return self._targets[index]

    def _begin(self) -> None:
        """Call the function, so that its first sample is the next."""
        self._position = -1  # of the sample that is held
        self._held: Any = None
        try:
            with everything():
                self._given = self._function()
                is_stream = isinstance(self._given, Iterable) and not isinstance(self._given, _NO_SAMPLES)
                self._stream: Iterator[Any] = iter(self._given if is_stream and not self._is_numbered() else ())
        except Exception as error:
            self._fail(0, error)
        if not is_stream and not self._is_numbered():
            raise RequantError(
                f"{self._name} gave {type(self._given).__name__}. It has to yield samples, or to return a list "
                "of them: dictionaries of inputs by name, or pairs (inputs, target)."
            )

    def _is_numbered(self) -> bool:
        has_both = hasattr(self._given, "__len__") and hasattr(self._given, "__getitem__")
        return has_both and not isinstance(self._given, _NO_SAMPLES)

    def _numbered(self, index: int) -> Any:
        try:
            with everything():
                return self._given[index]
        except Exception as error:
            self._fail(index, error)

    def _hold(self, index: int, sample: Any) -> None:
        self._held, self._position = sample, index

    def _first(self) -> Any:
        if self.length() == 0 or not self.has(0):
            raise RequantError(f"{self._name} gave no sample at all.")
        return self._held

    def _require_same(self, first: Any, again: Any) -> None:
        if not _are_same(first, again):
            raise RequantError(
                f"{self._name} gave another first sample when it was called again, so that variants would be judged "
                "on other samples than the float model. Let it give the same each time: draw with a seed, and return a "
                "new iterator at each call."
            )

    def _fail(self, index: int, error: Exception) -> NoReturn:
        raise RequantError(
            f"{self._name} failed at sample {index}.\n{''.join(traceback.format_exception(error, limit=-1))}"
        ) from error

    def _parted(self, index: int, sample: Any) -> tuple[dict[str, Any], str | None]:
        """Return the inputs and the target of a sample."""
        inputs, target = sample if isinstance(sample, tuple | list) and len(sample) == 2 else (sample, None)
        if not isinstance(inputs, Mapping):
            raise RequantError(
                f"{self._name}: sample {index} is neither a dictionary of inputs by name nor a pair (inputs, "
                f"target): it is of type {type(sample).__name__}."
            )
        return dict(inputs), None if target is None else _as_label(target)

    def _checked(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs, pictures in the size that the model wants.

        Raises:
            RequantError: if one is missing, unknown, or no such value as the model takes, naming it.
        """
        from requant.runtime.features import require_inputs

        require_inputs(inputs, list(self._features.values()))
        return {name: _value(value, self._features[name], self._settings) for name, value in inputs.items()}


def _value(value: Any, feature: Feature, settings: DataSettings) -> Any:
    from requant.evaluate.data.pictures import require_flexible, sized
    from requant.runtime.features import array_to_tensor, as_picture, expected, number_to_tensor

    if feature.type == "picture":
        if isinstance(value, Image.Image) and not value.mode.startswith("I"):  # whose numbers have no bounds
            require_flexible(feature, settings)
            direct = value if value.mode in ("RGB", "L", "F") else value.convert("RGB")
            value = sized(direct, feature, settings)
        return as_picture(value, feature)
    if feature.type == "array":
        return array_to_tensor(value, feature, sequence_axes=True)
    if feature.type in ("number", "integer"):
        value = _plain(value)
        number_to_tensor(value, feature)
        return value
    wanted = {"dictionary": Mapping, "sequence": list | tuple | np.ndarray, "string": str, "label": str | int}
    if feature.type in wanted and not isinstance(value, wanted[feature.type]):
        words = "a string" if feature.type == "string" else expected(feature)
        raise RequantError(f"the input {feature.name!r} is {words}, not {type(value).__name__}.")
    return value


def _as_label(target: Any) -> str:
    """Return a target as the labels of models are compared: a whole number without a point."""
    value = _plain(target)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _plain(value: Any) -> Any:
    """Return the one number or text in an array or tensor as Python has it; anything else as it is."""
    array = np.asarray(value)
    return array.reshape(-1)[0].item() if array.size == 1 and array.dtype.kind in "biufUS" else value


def _are_same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_are_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_are_same, one, other))
    first, second = np.asarray(one), np.asarray(other)
    if first.dtype.hasobject:  # a type that numpy does not know, which may not say when two are equal
        return "__eq__" not in vars(type(one)) or bool(one == other)
    return first.shape == second.shape and first.tobytes() == second.tobytes()


class _Numbers(Sequence[str]):
    """The numbers of samples of which nobody knows how many there are; going through them makes each in turn."""

    def __init__(self, loaded: _Loaded, most: int | None) -> None:
        self._loaded, self._most = loaded, most
        self._count: int | None = None

    def __iter__(self) -> Iterator[str]:
        index = 0
        while index != self._most and (self._count is None or index < self._count):
            if self._count is None and not self._loaded.has(index):
                break
            yield str(index)
            index += 1
        self._count = index

    def __len__(self) -> int:
        if self._count is None:
            enough = self._most is not None and self._loaded.has(self._most - 1)
            self._count = self._most if enough else self._loaded.count()
        assert self._count is not None
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(len(self))[index]
        return str(found) if isinstance(found, int) else [str(number) for number in found]


class _Targets(Sequence[str]):
    """The targets of samples, each known once its sample has been made; empty for samples without."""

    def __init__(self, loaded: _Loaded, names: Sequence[str]) -> None:
        self._loaded, self._names = loaded, names

    def __len__(self) -> int:
        return len(self._names) if self._loaded.labelled else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(len(self))[index]
        if isinstance(found, int):
            return self._loaded.target(int(self._names[found]))
        return [self[number] for number in found]
