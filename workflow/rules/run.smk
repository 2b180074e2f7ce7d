# Of a run as a whole: what is noted when it begins, and the summary and the page when it has ended (docs/unattended.md).

import time

PAGE = "results/report/index.html"
# When the run began and its events: one entry, in the process that runs the workflow; not in dry runs, nor in jobs.
BEGUN = []


def note_beginning() -> None:
    from requant.run.events import collect_events, watch_signals

    events = collect_events(logger)
    watch_signals(events)
    BEGUN.append((time.time(), events))
    mark_outdated()


def mark_outdated() -> None:
    """Have Snakemake remember what this run is to make anew from what it makes.

    A job's old results are removed when it starts. If it fails, or the run is killed, what was made from them before is
    still there, and Snakemake would find nothing to do the next time, and show it. A job that ends well removes the mark.
    """
    if not workflow.dag_settings.force_incomplete:  # without --rerun-incomplete, a mark would stop the next run
        return
    for job in workflow.dag.needrun_jobs():
        made_from = workflow.dag.dependencies[job]
        if any(map(workflow.dag.needrun, made_from)) and any(Path(path).exists() for path in job.output):
            job.register()


def end_run(succeeded: bool) -> None:
    """Write the summary of the run, where something failed the page of what is finished, and say where they are."""
    try:
        summarize_run(succeeded)
    except RequantError as error:
        logger.error(f"The summary of this run could not be written: {error}")
    except Exception as error:  # whatever it is, what the jobs made and how the run ended is not changed by it
        logger.error(f"The summary of this run could not be written. This is a defect of requant: {error!r}")


def summarize_run(succeeded: bool) -> None:
    from requant.run.jobs import planned_jobs
    from requant.run.notifying import notify
    from requant.run.summary import Run, told_at_the_end, write_run

    [(began, events)] = BEGUN
    given_up = [job.jobid for each in workflow.scheduler.failed for job in (each.jobs if each.is_group() else [each])]
    jobs = events.completed(planned_jobs(workflow.dag), given_up, USES_CACHE)
    failed = any(job.message for job in jobs)
    page_is_due = any(PAGE in job.outputs and job.state == "not run" for job in jobs)
    if failed and page_is_due:
        write_page_of_finished(jobs)
    run = Run(
        asked=[*sorted(rule.name for rule in workflow.dag.targetrules), *sorted(map(str, workflow.dag.targetfiles))],
        began=began,
        seconds=time.time() - began,
        interrupted=events.interrupted,
        succeeded=succeeded,
        jobs=jobs,
        page=PAGE if Path(PAGE).exists() else "",
        incomplete=failed and page_is_due,
    )
    text = write_run(run, {name: Path(f"results/{name}/judgement.json") for name in MODELS}, Path("results"))
    (logger.info if succeeded else logger.error)(told_at_the_end(run, text))
    wrong = notify(config["notify"], text, run.outcome) if config["notify"] else ""
    if wrong:
        logger.warning(wrong)


def write_page_of_finished(jobs) -> None:
    """Write the page with what is finished; Snakemake makes it anew when the rest is there."""
    from requant.report.incomplete import Expected, write_incomplete_page
    from requant.run.jobs import settled_files

    models = {
        name: Expected(
            section_files(name),
            {v: Path(f"results/{name}/evaluation/{name}_{v}.json") for v in variants_of(name)},
            model.targets,
            f"iOS{model.deployment_target.ios}" if model.deployment_target else "",
        )
        for name, model in MODELS.items()
    }
    failed = [job for job in jobs if job.message]
    write_incomplete_page(models, settled_files(jobs), failed, Path(PAGE))
    for job in workflow.dag.jobs:
        if PAGE in job.output:
            job.register()  # it began and is not finished, is what Snakemake notes by that


def section_files(model: str):
    """Return the files that the page shows of a model when all is well."""
    from requant.report.page import SectionFiles

    folder = Path(f"results/{model}")
    pictures = ("fidelity.svg", "sheet.png", "viewer.json") if model in WITH_VARIANTS else ()
    return SectionFiles(
        folder / "original.json",
        folder / "summary.tsv",
        folder / "judgement.json",
        folder / "data.json" if model in RUN else None,
        *(folder / name for name in pictures),
        maps=[folder / f"sensitivity/{family}.svg" for family in MODELS[model].sensitivity.families],
    )


# Another metric needs what the models gave, so that it is kept, as far as it is not too much.
onsuccess:
    trim_kept_outputs()
    end_run(succeeded=True)


onerror:
    end_run(succeeded=False)
