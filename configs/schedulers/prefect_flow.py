"""The nightly job as a flow, for Prefect 3.

The run is named by the day that the flow was scheduled for, so every retry resumes the same run.
0: completed. 1 (some rows are not engaged) and 2 (job or input is wrong) need a person: no retry. 3 and 4
(stopped before the end) and crashes: retried, and resumed.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import flow, task
from prefect.runtime import flow_run
from prefect.schedules import Cron

import engager

HOME = Path("/srv/engager")
ZONE = "Europe/Moscow"


class ForAPersonError(Exception):
    """Another attempt would end the same way."""


def can_resume(task, task_run, state):
    return not isinstance(state.result(raise_on_failure=False), ForAPersonError)


@task(retries=12, retry_delay_seconds=300, retry_condition_fn=can_resume)
def engage(day):
    try:
        job = engager.load_job(HOME / "nightly.toml")
        summary = engager.run(job, out=HOME / f"runs/nightly-{day}", yes=True, stop_on_signals=True)
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
