"""A `.csv` file with a column of pictures and a column of their labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData, drawn, in_words
from requant.evaluate.data.settings import DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature

PICTURE, LABEL = "file", "label"  # the columns, where the configuration names no others
_SEPARATORS = ",;\t"


class Row(NamedTuple):
    """A labelled picture: its path as the table has it, that path from here, and its label."""

    name: str
    file: Path
    label: str


def files(settings: DataSettings) -> list[Path]:
    """Return the table and the pictures that are taken.

    Raises:
        RequantError: if the table can't be read, or names a picture that is not there.
    """
    rows = _rows(settings)
    taken = [rows[index].file for index in drawn(len(rows), settings)]
    for file in taken:
        if not file.is_file():
            raise RequantError(
                f"{_table(settings)} names {file}, which does not exist. Paths are relative to the table's folder."
            )
    return [_table(settings), *taken]


def describe(settings: DataSettings) -> str:
    """Return in words how many pictures are taken."""
    return in_words(len(_rows(settings)), "labelled picture", _table(settings), settings)


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return the pictures of a table with their labels, for a model with one picture as its input.

    Raises:
        RequantError: if the model has other inputs, or the table can't be read.
    """
    from requant.evaluate.data.pictures import read_input, the_picture

    rows = _rows(settings)
    feature = the_picture(features, _table(settings), settings)
    return EvaluationData(
        [row.name for row in rows],
        lambda index: read_input(rows[index].file, feature, settings),
        [row.label for row in rows],
    ).subset(settings)


def _table(settings: DataSettings) -> Path:
    assert settings.path is not None  # its ending is what makes it a table
    return settings.path


def _rows(settings: DataSettings) -> list[Row]:
    path = _table(settings)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            separator = max(_SEPARATORS, key=header.count)  # a comma if there is none at all
            reader = csv.DictReader(stream, delimiter=separator, strict=True)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            _require_columns(settings, columns)
            rows = [_row(settings, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequantError(f"{path} can't be read as a table of comma-separated values: {error}.") from error
    if not rows:
        raise RequantError(f"{path} has no rows below its header.")
    return rows


def _require_columns(settings: DataSettings, columns: list[str]) -> None:
    for key, name in (("picture", settings.picture or PICTURE), ("label", settings.label or LABEL)):
        if columns.count(name) != 1:
            raise RequantError(
                f"{settings.path} has {'no column' if name not in columns else 'more than one column'} {name!r}; its "
                f"first line has the columns {', '.join(map(repr, columns)) or '(none)'}. Say which one it is: "
                f"data: {{path: {settings.path}, {key}: COLUMN}}"
            )


def _row(settings: DataSettings, line: int, row: dict[str, str | None]) -> Row:
    name, label = ((row[column] or "").strip() for column in (settings.picture or PICTURE, settings.label or LABEL))
    if not name or not label:
        raise RequantError(f"{settings.path}, line {line}: there is no {'label' if name else 'picture'}.")
    return Row(name, _table(settings).parent / name, label)
