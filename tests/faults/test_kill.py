"""A few kills at random moments; `make test-faults` has many."""

from tests.faults.kill import kill_often

TARGETS = ("variants", "packages", "results/tiny/summary.tsv")


def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(tmp_path):
    outcomes = kill_often(tmp_path, kills=3, seed=2, targets=TARGETS)
    assert [outcome.wrong for outcome in outcomes] == [[], [], []]
