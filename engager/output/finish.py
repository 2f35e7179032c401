"""A run that ended in, what people get of it out: its page, and a message. No fault of theirs is the run's.

Neither changes how the run ended, and neither holds up its end for long: a page of very many rows is left
to `engager report`.
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
from engager.output.webhook import message_of, post
from engager.store.run_directory import RunDirectory

#: Rows of which a page is made at the end of a run, at about 2.5 µs each; of one that a person interrupted.
MOST_ROWS, MOST_ROWS_INTERRUPTED = 2_000_000, 200_000


async def finish(
    run: RunDirectory, summary: Summary, report: bool, webhook: Webhook | None, watch: Watch
) -> None:
    """Leave the page of a run that ended, if it is wanted, and tell whoever wants to be told."""
    async with anyio.create_task_group() as both:
        if webhook is not None and webhook.wants(summary):
            both.start_soon(post, webhook, message_of(summary, run.path.resolve().name))
        if report:
            both.start_soon(_leave_report, run, summary, watch)


async def _leave_report(run: RunDirectory, summary: Summary, watch: Watch) -> None:
    interrupted = summary.exit_code in (Exit.HUNG_UP, Exit.INTERRUPTED, Exit.TERMINATED)
    if summary.rows > (MOST_ROWS_INTERRUPTED if interrupted else MOST_ROWS):
        watch(Reported(run.path, None))
        return
    gone = Event()
    try:
        write = partial(_written, run, gone)
        # Whoever will not wait any longer is not held up, and the thread ends soon.
        watch(Reported(run.path, await to_thread.run_sync(write, abandon_on_cancel=True)))
    except Exception as fault:
        log.warning("the report was not written: %s", fault)
    finally:
        gone.set()


def _written(run: RunDirectory, gone: Event) -> Path:
    from engager.output.report.page import write_report  # templates are for the end of a run

    return write_report(run, give_up=gone.is_set)
