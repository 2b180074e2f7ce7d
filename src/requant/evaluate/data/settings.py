"""What the configuration says of evaluation data: a plain value that jobs can be handed.

Nothing heavy is imported here, because Snakemake reads the configuration again for every job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from requant.errors import RequantError
from requant.user_function import files_of_function, split_reference

Form = Literal["synthetic", "pictures", "table", "arrays", "audio", "idx", "loader"]

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
FORMS_OF_FILES: dict[str, Form] = {".csv": "table", ".npz": "arrays", ".npy": "arrays", ".wav": "audio"}
SOURCES = ("path", "images", "loader")  # the keys that say where the data is: one of them, or none for made-up inputs
OF_ALL_FORMS = ("samples", "seed", "classes", "class_scores")
# The other keys of each form, besides those that all have. The form of a folder is found later.
KEYS: dict[str, tuple[str, ...]] = {
    "synthetic": (),
    "a folder": ("size", "hop", "sample_rate"),
    "table": ("picture", "label", "size"),
    "arrays": (),
    "audio": ("hop", "sample_rate"),
    "idx": ("labels", "size"),
    "loader": ("files", "size"),
}
KEEP = "keep"
SEED = 1
_PATHS = ("path", "images", "labels")
_TEXTS = ("picture", "label", "loader", "class_scores")
_NUMBERS = {"hop": 1, "sample_rate": 1, "samples": 1, "seed": 0}  # the least that each may be


@dataclass(frozen=True)
class DataSettings:
    """Where a model's evaluation data is, and what of it is taken.

    Attributes:
        path: a folder of pictures or of sounds, or a file: `.csv`, `.npz`, `.npy` or `.wav`.
        picture: the column of a `.csv` file that names the pictures.
        label: its column of labels.
        size: `keep` for pictures in their own size, empty for the size that the model declares.
        hop: how many numbers further the next frame of a sound begins; None for the frame's length.
        sample_rate: numbers per second that the model wants; None to take sounds as they are.
        images: an IDX file of pictures or arrays.
        labels: an IDX file of their labels.
        loader: `file.py:function`, a function of the user's that gives the samples.
        files: further files that the loader reads.
        classes: for a classifier whose output is a plain array: the labels of the classes in the order of that output,
            or the text file that holds one in each line; nothing for other models.
        class_scores: the output that holds the classes' scores, where more than one could.
        samples: at most so many are taken; None for all.
        seed: of the draw; None for the default.
    """

    path: Path | None = None
    picture: str = ""
    label: str = ""
    size: str = ""
    hop: int | None = None
    sample_rate: int | None = None
    images: Path | None = None
    labels: Path | None = None
    loader: str = ""
    files: tuple[Path, ...] = ()
    classes: Path | tuple[str, ...] = ()
    class_scores: str = ""
    samples: int | None = None
    seed: int | None = None

    @classmethod
    def of(cls, value: Data) -> DataSettings:
        """Return what the configuration says under `data`: nothing, a path, or a table of plain values.

        No file is looked at.

        Raises:
            RequantError: if a key is unknown, has no such value, or contradicts another, naming them.
        """
        if isinstance(value, DataSettings):
            return value
        if not isinstance(value, Mapping):
            return cls(Path(value) if value else None)
        table = {key: each for key, each in value.items() if each is not None}
        unknown = sorted(set(table) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(cls))
            raise RequantError(f"data: unknown key {', '.join(map(repr, unknown))}; known are {known}.")
        _require_values(table)
        table |= {key: Path(table[key]) for key in _PATHS if key in table}
        classes = table.get("classes", ())
        table["classes"] = Path(classes) if isinstance(classes, str | Path) else tuple(map(str, classes))
        settings = cls(**{**table, "files": tuple(map(Path, table.get("files", ())))})
        settings._require_consistent()
        return settings

    def to_table(self) -> dict[str, Any]:
        """Return the settings as a table of plain values, from which `of` makes them again."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        table = {key: value for key, value in found.items() if value not in (None, "", ())}
        table |= {key: table[key].as_posix() for key in _PATHS if key in table}
        if self.classes:
            table["classes"] = self.classes.as_posix() if isinstance(self.classes, Path) else list(self.classes)
        return table | ({"files": [file.as_posix() for file in self.files]} if self.files else {})

    @property
    def is_synthetic(self) -> bool:
        """Whether there is no data, so that inputs have to be made up."""
        return not (self.path or self.images or self.loader)

    @property
    def form(self) -> Form:
        """The form of the data, by the keys, by the ending of the file, or by what is in the folder.

        Raises:
            RequantError: if there is no such form.
        """
        if self.loader or self.images:
            return "loader" if self.loader else "idx"
        if self.path is None:
            return "synthetic"
        if self.path.is_dir():
            return "audio" if self._is_folder_of_sounds(self.path) else "pictures"
        form = FORMS_OF_FILES.get(self.path.suffix.lower())
        if form is None:
            raise RequantError(
                f"the evaluation data {self.path} is neither a folder of pictures or of .wav files nor a file that is "
                f"{', '.join(sorted(FORMS_OF_FILES))}. IDX files are given as images and labels, your own function as "
                "loader."
            )
        return form

    def named_files(self) -> list[Path]:
        """Return the files and folders that the settings name themselves."""
        code = files_of_function(self.loader) if self.loader else []
        classes = [self.classes] if isinstance(self.classes, Path) else []
        return [*(path for path in (self.path, self.images, self.labels) if path), *code, *self.files, *classes]

    def require_existing(self) -> None:
        """Make sure that what the settings name is there and, of a file, that its ending is known.

        Raises:
            RequantError: if not, naming it.
        """
        for path in self.named_files():
            if not path.exists():
                raise RequantError(f"the evaluation data {path} does not exist.")
            if path.is_dir() and path != self.path:
                raise RequantError(f"the evaluation data {path} is a folder, where a file is wanted.")
        if self.path and not self.path.is_dir():
            _ = self.form

    def _is_folder_of_sounds(self, folder: Path) -> bool:
        if self.size:
            return False
        if self.hop or self.sample_rate:
            return True
        suffixes = {file.suffix.lower() for file in folder.rglob("*")}
        return ".wav" in suffixes and not suffixes & PICTURE_SUFFIXES

    def _require_consistent(self) -> None:
        given = set(self.to_table())
        sources = [key for key in SOURCES if key in given]
        if len(sources) > 1:
            raise RequantError(f"data: {' and '.join(sources)} contradict each other; give one of them.")
        form = self._form_by_name()
        wrong = sorted(given - {*SOURCES, *OF_ALL_FORMS} - set(KEYS[form]))
        if wrong:
            what = self.path or self.images or self.loader or "made-up inputs"
            possible = ", ".join((*KEYS[form], *OF_ALL_FORMS))
            raise RequantError(f"data: {', '.join(wrong)} can't be given for {what}, only {possible}.")
        if self.size and (self.hop or self.sample_rate):
            raise RequantError("data: size is for pictures, hop and sample_rate are for sounds; give one or the other.")
        if self.loader:
            split_reference(self.loader)
        if self.class_scores and not self.classes:
            raise RequantError("data: class_scores names the output that classes are the labels of; give classes too.")

    def _form_by_name(self) -> str:
        """Return the form without looking at the disk; a path without a known ending is a folder's."""
        if self.loader or self.images:
            return "loader" if self.loader else "idx"
        return FORMS_OF_FILES.get(self.path.suffix.lower(), "a folder") if self.path else "synthetic"


Data = DataSettings | Mapping[str, Any] | Path | str | None  # what stands for evaluation data wherever it is asked for


def _require_values(table: Mapping[str, Any]) -> None:
    """Make sure that every key has a value of its type: the command line has no schema.

    Raises:
        RequantError: if not, naming the key.
    """
    for key, least in _NUMBERS.items():
        number = table.get(key, least)
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise RequantError(f"data: {key} is a whole number of at least {least}, not {number!r}.")
    for key in (*_PATHS, *_TEXTS):
        if not isinstance(table.get(key, "-"), str | Path) or not str(table.get(key, "-")):
            raise RequantError(f"data: {key} is text, not {table[key]!r}.")
    files = table.get("files", ())
    if not isinstance(files, list | tuple) or not all(isinstance(file, str | Path) for file in files):
        raise RequantError(f"data: files is a list of paths, not {files!r}.")
    classes = table.get("classes", "-")
    if not isinstance(classes, str | Path) and not _are_labels(classes):
        raise RequantError(
            f"data: classes is a text file, or a list of two labels or more, each once, not {classes!r}."
        )
    if table.get("size", KEEP) != KEEP:
        raise RequantError(f"data: size is {KEEP} or left out, not {table['size']!r}.")


def _are_labels(classes: Any) -> bool:
    if not isinstance(classes, list | tuple) or not all(isinstance(each, str | int) for each in classes):
        return False
    return len(set(map(str, classes))) == len(classes) > 1


def read_data_option(text: str | None) -> DataSettings:
    """Return the evaluation data that the command line names: as in the configuration, a table as a `.yaml` file.

    Raises:
        RequantError: if it can't be read, is contradictory, or names what does not exist.
    """
    settings = DataSettings.of(_read_table(Path(text)) if text and text.endswith((".yaml", ".yml")) else text)
    settings.require_existing()
    return settings


def _read_table(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequantError(f"{path} can't be read as YAML: {error}.") from error
    if not isinstance(table, dict):
        raise RequantError(f"{path} has to hold the keys of `data`, not {type(table).__name__}.")
    return table
