import pytest

from requant.run.cluster import ended_by_cluster

RULE_LOG = "results/tiny/logs/quantize.log"


def told(folder, text):
    log = folder / "slurm_logs" / "rule_quantize" / "16.log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    return ended_by_cluster([RULE_LOG, str(log)], "quantize")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("slurmstepd-node1: error: StepId=8.0 exceeded memory limit (2329 > 2306), being killed", "quantize:mem_mb="),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=8.0. Some of the step tasks were killed.", "mem_mb="),
        ("slurmstepd: error: *** JOB 8 ON node1 CANCELLED AT 2026-11-26T02:57:58 DUE TO TIME LIMIT ***", "runtime="),
        ("slurmstepd: error: *** JOB 8 ON node1 CANCELLED AT 2026-11-26T02:57:58 DUE TO NODE FAILURE ***", "again"),
    ],
)
def test_why_slurm_ended_a_job_is_told_with_the_remedy(tmp_path, line, remedy):
    sentence = told(tmp_path, f"Building DAG of jobs...\n{line}\nError in rule quantize:\n")
    assert sentence.startswith("It was ended by the cluster.")
    assert remedy in sentence
    assert "16.log" in sentence


def test_a_job_that_failed_by_itself_is_not_laid_on_the_cluster(tmp_path):
    assert told(tmp_path, "requant: the disk is full\nError in rule quantize:\n") == ""


def test_a_run_without_a_cluster_has_nothing_to_tell():
    assert ended_by_cluster([RULE_LOG], "quantize") == ""
