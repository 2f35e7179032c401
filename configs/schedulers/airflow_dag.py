"""The nightly job as a DAG, for Airflow 3.

The run is named by the DAG run's date and not by the clock, so every retry resumes the same run.
0: success. 1 (some rows are not engaged) and 2 (job or input is wrong) need a person: no retry. 3 and 4
(stopped before the end), a crash or a kill: retried, and resumed. A SIGTERM (a task that is cleared)
lets requests in flight finish: core.killed_task_cleanup_time must be more than endpoint.timeout.
"""

import logging
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

import engager

HOME = Path("/srv/engager")
ZONE = pendulum.timezone("Europe/Moscow")
LOG = logging.getLogger("airflow.task")


class Progress:
    """Writes a line to the log of the task every half minute."""

    due = 0.0

    def __call__(self, event):
        if isinstance(event, engager.Progressed) and event.snapshot.elapsed_seconds >= self.due:
            now = event.snapshot
            self.due = now.elapsed_seconds + 30
            LOG.info("%s of %s rows, %s", now.rows, now.total or "?", dict(now.statuses))


@dag(
    schedule="15 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
)
def nightly_orders():
    @task(retries=12, retry_delay=timedelta(minutes=5))
    def engage(dag_run=None):
        day = dag_run.run_after.astimezone(ZONE)
        try:
            job = engager.load_job(HOME / "nightly.toml")
            summary = engager.run(
                job,
                out=HOME / f"runs/nightly-{day:%Y-%m-%d}",
                yes=True,
                stop_on_signals=True,
                watch=Progress(),
            )
        except engager.EngagerError as fault:
            if fault.exit is engager.Exit.WRONG:
                raise AirflowFailException(fault) from fault
            raise
        if summary.exit_code in (engager.Exit.INCOMPLETE, engager.Exit.WRONG):
            raise AirflowFailException(summary.stopped or f"some were not engaged: {summary.errors}")
        if summary.exit_code != engager.Exit.DONE:
            raise RuntimeError(f"stopped: {summary.stopped}")
        return dict(summary.statuses)

    engage()


nightly_orders()
