"""The report and the notification at the end of a run.

Neither changes the result of the run, and neither delays its end for long: the report of very many rows is
left to `engager report`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event

import anyio
from anyio import to_thread

from engager.config.log import log
from engager.config.webhook import Webhook
from engager.errors import Exit
from engager.events import Reported, Summary, Watch
from engager.output.next_steps import steps_after
from engager.store.run_directory import RunDirectory

#: Maximum number of rows for a report at the end of a run, at about 2.5 µs each; of an interrupted run.
MOST_ROWS, MOST_ROWS_INTERRUPTED = 2_000_000, 200_000


async def finish(
    run: RunDirectory, summary: Summary, report: bool, webhook: Webhook | None, watch: Watch
) -> None:
    """Write the report and notify the webhook, as far as the job requests them."""
    async with anyio.create_task_group() as both:
        both.start_soon(notify, run, summary, webhook)
        if report:
            both.start_soon(_write_report, run, summary, watch)


async def notify(run: RunDirectory, summary: Summary, webhook: Webhook | None) -> None:
    """Notify the webhook, if the job has one that wants to know."""
    if webhook is not None and webhook.wants(summary):
        # Imported here, because urllib.request is slow to load and few jobs notify a webhook.
        from engager.output.webhook import message_of, post

        await post(webhook, message_of(summary, run.path.resolve(), steps_after(run, summary)))


async def _write_report(run: RunDirectory, summary: Summary, watch: Watch) -> None:
    interrupted = summary.exit_code in (Exit.HUNG_UP, Exit.INTERRUPTED, Exit.TERMINATED)
    if summary.rows > (MOST_ROWS_INTERRUPTED if interrupted else MOST_ROWS):
        watch(Reported(run.path, None))
        return
    gone = Event()
    try:
        write = partial(_written, run, gone)
        # A cancellation does not wait for the thread, which ends soon after it.
        watch(Reported(run.path, await to_thread.run_sync(write, abandon_on_cancel=True)))
    except Exception as fault:
        log.warning("the report was not written: %s", fault)
    finally:
        gone.set()


def _written(run: RunDirectory, gone: Event) -> Path:
    from engager.output.report.page import write_report

    return write_report(run, give_up=gone.is_set)
