import logging

import pytest

from requant import progress
from requant.progress import Progress, in_words


@pytest.mark.parametrize(
    ("done", "seconds", "expected"),
    [
        (1_400_000_000, 70, "quantizing: 35 %, 1,400 of 4,000 MB, about 2 minutes left"),
        (2_000_000_000, 30, "quantizing: 50 %, 2,000 of 4,000 MB, about 30 seconds left"),
    ],
)
def test_the_rest_is_told_by_what_is_done(done, seconds, expected):
    assert in_words("quantizing", done, 4_000_000_000, seconds) == expected


def test_long_work_tells_how_far_it_is_in_the_log_too(monkeypatch, capsys, caplog):
    moments = iter([0, 4, 12, 15, 30])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    with caplog.at_level(logging.INFO):
        work = Progress("verifying", 4_000_000)
        for _ in range(4):
            work.advance(1_000_000)
    assert capsys.readouterr().err == "verifying: 50 %, 2 of 4 MB, about 12 seconds left\n"
    assert caplog.messages == ["verifying: 50 %, 2 of 4 MB, about 12 seconds left"]


def test_short_work_says_nothing(capsys):
    work = Progress("verifying", 4)
    for _ in range(4):
        work.advance(1)
    assert capsys.readouterr() == ("", "")
