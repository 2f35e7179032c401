"""The report and the notifications at the end of a run.

None of them changes the result of the run or delays its end for long: the report of very many rows is
left to `engager report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event

import anyio
from anyio import to_thread

from engager.config.log import log
from engager.config.mail import Mail, Receiver
from engager.errors import Exit
from engager.events import Reported, Summary, Watch
from engager.output.next_steps import Step, steps_after
from engager.store.run_directory import RunDirectory

#: Maximum number of rows for a report at the end of a run, at about 2.5 µs each; of an interrupted run.
MOST_ROWS, MOST_ROWS_INTERRUPTED = 2_000_000, 200_000


async def finish(
    run: RunDirectory, summary: Summary, report: bool, receivers: Sequence[Receiver], watch: Watch
) -> None:
    """Write the report and notify the receivers, as far as the job requests it."""
    async with anyio.create_task_group() as both:
        both.start_soon(notify, run, summary, receivers)
        if report:
            both.start_soon(_write_report, run, summary, watch)


async def notify(run: RunDirectory, summary: Summary, receivers: Sequence[Receiver]) -> None:
    """Notify the receivers of a job that want to know."""
    await _notify(run.path.resolve(), summary, partial(steps_after, run, summary), receivers)


async def notify_without_run(summary: Summary, receivers: Sequence[Receiver]) -> None:
    """Notify the receivers of a job that a start ended before a run could begin or go on."""
    step = Step("Provide the input, and start the job again.")
    await _notify(None, summary, lambda: [step], receivers)


async def _notify(
    path: Path | None,
    summary: Summary,
    what_next: Callable[[], Sequence[Step]],
    receivers: Sequence[Receiver],
) -> None:
    wanting = [one for one in receivers if one.wants(summary)]
    if not wanting:
        return
    steps = what_next()
    async with anyio.create_task_group() as all_of_them:
        for receiver in wanting:
            # Imported here, because the libraries of both are slow to load and few jobs notify anybody.
            if isinstance(receiver, Mail):
                from engager.output.mail import mail_of, send

                all_of_them.start_soon(send, receiver, mail_of(receiver, summary, path, steps))
            else:
                from engager.output.webhook import message_of, post

                all_of_them.start_soon(post, receiver, message_of(summary, path, steps))


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
