"""Settings, schemes, functions and figures: what is no file but goes into a tool or comes out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from requant.archive.crate.entities import FLOAT, Entity, links, local_id
from requant.archive.figures import Figure, in_json, measured
from requant.archive.record import Made, Release

RECOMMENDED = local_id("recommended")


def scheme_id(made: Made) -> str:
    """Return the identifier of a scheme."""
    return local_id("scheme", made.scheme)


def functions_id(made: Made) -> str:
    """Return the identifier of the functions that a model's making calls."""
    return local_id("functions", made.scheme)


def figures_id(made: Made) -> str:
    """Return the identifier of a model's figures."""
    return local_id("figures", made.scheme)


def settings_id(made: Made) -> str:
    """Return the identifier of what a model's making hangs on."""
    return local_id(settings_name(made), made.scheme)


def settings_name(made: Made) -> str:
    """Return what the settings of a model are, as a parameter."""
    return "conversion" if made.scheme == FLOAT else "selection"


def figures_of(made: Made) -> tuple[Figure, ...]:
    """Return the figures of a model that was evaluated."""
    return measured(made.figures) if made.evaluation else ()


def describe_values(release: Release) -> Iterator[Entity]:
    """Describe all values of a release."""
    for made in (release.float_model, *release.variants):
        if made.scheme != FLOAT:
            yield _value(scheme_id(made), "scheme", made.scheme)
        if made.functions:
            yield _value(functions_id(made), "functions", list(made.functions))
        settings = {key: {"value": _setting(value)} for key, value in made.settings.items()}
        yield from _table(settings_id(made), settings_name(made), settings)
        yield from _table(figures_id(made), "figures", {figure.name: _figure(figure) for figure in figures_of(made)})
    if release.recommended:
        yield _value(RECOMMENDED, "recommended", release.recommended)


def _value(identifier: str, name: str, value: Any) -> Entity:
    return {"@id": identifier, "@type": "PropertyValue", "name": name, "value": value}


def _table(identifier: str, name: str, rows: Mapping[str, Entity]) -> Iterator[Entity]:
    """Describe a table as a value whose values are its rows; nothing for an empty one."""
    ids = {key: f"{identifier}{local_id('', key).removeprefix('#')}" for key in rows}
    if rows:
        yield _value(identifier, name, links(ids.values()))
    for key, row in rows.items():
        yield {"@id": ids[key], "@type": "PropertyValue", "name": key, **row}


def _setting(value: Any) -> Any:
    """Return a setting: a text, a number or a truth value as it is, the rest as JSON."""
    return in_json(value) if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)


def _figure(figure: Figure) -> Entity:
    row: Entity = {"value": in_json(figure.value)}
    if figure.interval:
        low, high = map(in_json, figure.interval)
        meaning = "minValue and maxValue are the ends of the 95 % confidence interval"
        row |= {"minValue": low, "maxValue": high, "description": meaning}
    return row | ({"unitText": figure.unit} if figure.unit else {})
