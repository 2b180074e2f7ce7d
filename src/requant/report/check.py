"""The check for continuous integration: whether every model with variants has one that is good enough to ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from requant.errors import RequantError
from requant.records import read_record


def check_judgements(judgements: Sequence[Path], regressions: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the judgements of all models come to.

    Args:
        judgements: a `judgement.json` per model.
        regressions: in what models are worse than their last release, a sentence for each.

    Returns:
        For each model how many variants it has, how many of them are acceptable, and which one is recommended: None for
        the float model of a model without variants.

    Raises:
        RequantError: if a model has variants but none is acceptable, or there are regressions, with a line for each.
    """
    records = [read_record(path) for path in judgements]
    problems = [*(problem for record in records for problem in problems_of(record)), *regressions]
    if problems:
        raise RequantError("the check has failed:\n" + "\n".join(f"  {problem}" for problem in problems))
    return {"models": {record["model"]: _result(record) for record in records}}


def problems_of(judgement: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a model, a sentence or two for each problem, which begin with its name."""
    problems = []
    if judgement["variants"] and judgement["recommended"] is None:
        problems.append(
            f"{judgement['model']}: none of its variants ({judgement['variants']}) is acceptable. {_why(judgement)}"
        )
    return problems


def _why(judgement: Mapping[str, Any]) -> str:
    closest = judgement["closest"]
    return f"The closest is {closest['scheme']}: {'; '.join(miss['words'] for miss in closest['missed'])}."


def _result(judgement: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "variants": judgement["variants"],
        "acceptable": len(judgement.get("acceptable", ())),
        "recommended": judgement["recommended"],
    }
