"""The nightly job as a flow, for Prefect 3.

The run is named by the day that the flow was scheduled for, so every retry resumes the same run.
0: completed. 1 (some rows are not engaged) and 2 (job or input is wrong) need a person: no retry. 3 and 4
(stopped before the end) and crashes: retried, and resumed. A SIGTERM lets requests in flight finish.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import flow, get_run_logger, task
from prefect.runtime import flow_run
from prefect.schedules import Cron

import engager

HOME = Path("/srv/engager")
ZONE = "Europe/Moscow"


class Progress:
    """Writes a line to the log of the task every half minute."""

    due = 0.0

    def __init__(self):
        self.log = get_run_logger()

    def __call__(self, event):
        if isinstance(event, engager.Progressed) and event.snapshot.elapsed_seconds >= self.due:
            now = event.snapshot
            self.due = now.elapsed_seconds + 30
            self.log.info("%s of %s rows, %s", now.rows, now.total or "?", dict(now.statuses))


class ForAPersonError(Exception):
    """Another attempt would end the same way."""


def can_resume(task, task_run, state):
    return not isinstance(state.result(raise_on_failure=False), ForAPersonError)


@task(retries=12, retry_delay_seconds=300, retry_condition_fn=can_resume)
def engage(day):
    try:
        job = engager.load_job(HOME / "nightly.toml")
        out = HOME / f"runs/nightly-{day}"
        summary = engager.run(job, out=out, yes=True, stop_on_signals=True, watch=Progress())
    except engager.EngagerError as fault:
        if fault.exit is engager.Exit.WRONG:
            raise ForAPersonError(fault) from fault
        raise
    if summary.exit_code in (engager.Exit.INCOMPLETE, engager.Exit.WRONG):
        raise ForAPersonError(summary.stopped or f"some were not engaged: {summary.errors}")
    if summary.exit_code != engager.Exit.DONE:
        raise RuntimeError(f"stopped: {summary.stopped}")
    return dict(summary.statuses)


@flow
def nightly_orders():
    day = flow_run.get_scheduled_start_time().astimezone(ZoneInfo(ZONE))
    return engage(f"{day:%Y-%m-%d}")


if __name__ == "__main__":
    nightly_orders.serve(name="nightly", schedule=Cron("15 2 * * *", timezone=ZONE), limit=1)
