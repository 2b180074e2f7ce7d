"""The summary of a run."""

import json

import pytest

from requant.run.jobs import State
from requant.run.summary import Run, describe_run, duration, run_in_words, told_at_the_end, write_run
from tests.run.recording import job

REASON = "Ship kmeans_4: it is the smallest."


@pytest.fixture
def judgement(tmp_path):
    path = tmp_path / "judgement.json"
    path.write_text(json.dumps({"recommended": "kmeans_4", "reason": REASON}))
    return path


def run_of(*jobs, **more):
    given = {"asked": ["all"], "began": 1_000_000_000.0, "seconds": 75.0, "interrupted": False, "succeeded": True}
    return Run(**(given | more), jobs=jobs)


def test_a_run_in_which_all_went_well(tmp_path, judgement):
    run = run_of(
        job(1, "quantize", State.BUILT, scheme="kmeans_4", seconds=3.0),
        job(2, "convert", State.FROM_CACHE, seconds=0.1),
        job(3, "verify", State.UP_TO_DATE),
        job(4, "summarize", State.BUILT, seconds=9.0, outputs=(str(judgement),)),
        page="results/report/index.html",
    )
    text = write_run(run, {"m": judgement}, tmp_path).read_text()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["outcome"] == "succeeded"
    assert record["began"] == "2001-09-09 01:46:40 UTC"
    assert record["models"]["m"]["jobs"] == {
        "built": 2, "from the shared cache": 1, "up to date": 1, "failed": 0, "not run": 0,
    }  # fmt: skip
    assert record["models"]["m"]["rules"]["built"] == {"quantize": 1, "summarize": 1}
    assert [each["rule"] for each in record["slowest"]] == ["summarize", "quantize", "convert"]
    assert record["models"]["m"]["recommended"] == "kmeans_4"
    assert record["page_is_complete"]
    assert text.startswith(
        "All that was asked for is there. It began on 2001-09-09 01:46:40 UTC and took 1 min 15 s.\n"
    )
    assert REASON in text
    assert "FAILED" not in text


def test_a_run_with_failures_says_which_why_and_where(tmp_path, judgement):
    run = run_of(
        job(1, scheme="linear_8", state=State.FAILED, message="none takes linear_8:\n  a: small"),
        job(2, scheme="linear_4", state=State.FAILED, message="none takes linear_4:\n  a: small"),
        job(3, "summarize", outputs=(str(judgement),)),
        succeeded=False, page="results/report/index.html", incomplete=True,
    )  # fmt: skip
    record = describe_run(run, {"m": judgement})
    [failure] = record["failures"]
    assert failure["variants"] == ["linear_8", "linear_4"]
    assert record["models"]["m"]["recommended"] is None  # the judgement is an older one
    assert record["models"]["m"]["table_is_outdated"]
    text = run_in_words(record)
    assert text.startswith("NOT ALL OF IT WAS MADE: 2 jobs failed.")
    assert "FAILED m: quantize linear_8, linear_4\n  none takes linear_8:\n    a: small\n  log: results/m/logs" in text
    assert REASON not in text
    assert "(incomplete" in text
    told = told_at_the_end(run, tmp_path / "run.txt")
    assert "m: quantize linear_8, linear_4: none takes linear_8: a: small\n    log: results/m/logs/quantize.log" in told
    assert "2 failed, 1 not run, in 1 min 15 s" in told
    assert str(tmp_path / "run.txt") in told


def test_an_interrupted_run_is_told_so():
    record = describe_run(run_of(job(1), succeeded=False, interrupted=True), {})
    assert record["outcome"] == "interrupted"
    assert "ended before it was done" in run_in_words(record)


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.21, "4.2 s"), (59.4, "59.4 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min")]
)
def test_times_are_for_people(seconds, words):
    assert duration(seconds) == words
