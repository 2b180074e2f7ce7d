"""The jobs of a run as Snakemake's graph has them, and which files can be relied on after it."""

from requant.run.jobs import State, outdated_files, planned_jobs, settled_files
from tests.run.recording import graph, job


def test_what_became_of_jobs_is_read_from_the_graph():
    target = job(0, "all", outputs=())
    dag = graph(
        (job(3, scheme="kmeans_4"), True, True), (job(1), False, False), (job(2), True, False), (target, True, True)
    )
    jobs = planned_jobs(dag)
    assert [(each.number, each.state) for each in jobs] == [
        (1, State.UP_TO_DATE), (2, State.NOT_RUN), (3, State.BUILT),
    ]  # fmt: skip
    assert jobs[2] == job(3, scheme="kmeans_4", state=State.BUILT)
    assert (jobs[2].model, jobs[2].of) == ("m", "kmeans_4")


def test_files_are_settled_or_outdated():
    jobs = [job(number, state=state) for number, state in enumerate(State)]
    settled, outdated = settled_files(jobs), outdated_files(jobs)
    assert not settled & outdated
    assert settled == {path for each in jobs[:3] for path in each.outputs}
    assert [each.state for each in jobs[3:]] == [State.FAILED, State.NOT_RUN]
    assert outdated == {path for each in jobs[3:] for path in each.outputs}
