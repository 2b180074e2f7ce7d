import pytest

from requant.job import ended_by_cluster

RUN = """\
Job 0 has been submitted with SLURM jobid 8 (log: {folder}/slurm_logs/rule_convert/8.log).
[Thu Nov 26 03:12:57 2026]
Error in rule quantize:
    message: SLURM-job '16' failed, SLURM status is: 'FAILED'. For further error details see the cluster/cloud log
    jobid: 0
    output: results/tiny/variants/tiny_kmeans_4.mlmodel
    log: results/tiny/logs/quantize.log, {folder}/slurm_logs/rule_quantize/16.log (check log file(s) for error details)
    external_jobid: 16
"""


def told(folder, text):
    log = folder / "slurm_logs" / "rule_quantize" / "16.log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    (folder / "run.log").write_text(RUN.format(folder=folder))
    return ended_by_cluster(folder / "run.log")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (
            "slurmstepd-node1: error: StepId=8.0 exceeded memory limit (2329477120 > 2306867200), being killed",
            "mem_mb=",
        ),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=8.0. Some of the step tasks were killed.", "mem_mb="),
        ("slurmstepd: error: *** JOB 8 ON node1 CANCELLED AT 2026-11-26T02:57:58 DUE TO TIME LIMIT ***", "runtime="),
        ("slurmstepd: error: *** JOB 8 ON node1 CANCELLED AT 2026-11-26T02:57:58 DUE TO NODE FAILURE ***", "again"),
    ],
)
def test_why_slurm_ended_a_job_is_told_with_the_remedy(tmp_path, line, remedy):
    (sentence,) = told(tmp_path, f"Building DAG of jobs...\n{line}\nError in rule quantize:\n")
    assert sentence.startswith("a job of quantize was ended by the cluster.")
    assert remedy in sentence
    assert "16.log" in sentence


def test_a_job_that_failed_by_itself_is_not_laid_on_the_cluster(tmp_path):
    assert told(tmp_path, "requant: the disk is full\nError in rule quantize:\n") == []


def test_a_run_without_a_cluster_has_nothing_to_tell(tmp_path):
    (tmp_path / "run.log").write_text(
        "Error in rule quantize:\n    jobid: 0\n    log: results/tiny/logs/quantize.log\n"
    )
    assert ended_by_cluster(tmp_path / "run.log") == []
