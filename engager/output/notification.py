"""The text of a notification: what a run came to, where it is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engager.errors import Exit
from engager.events import Summary
from engager.output.next_steps import NOTHING, Step
from engager.output.text import destination, plural


def has_finished(summary: Summary) -> bool:
    """Whether a run came to its end, and was not stopped before."""
    return summary.exit_code in (Exit.DONE, Exit.INCOMPLETE)


def text_of(summary: Summary, directory: Path | None, host: str, steps: Sequence[Step]) -> str:
    """The text, in lines; without a `directory`, no run began or went on."""
    sent = [f"Sent to {destination(summary.endpoint, summary.scenario)}."] if summary.endpoint else []
    where = "nothing was sent" if directory is None else directory
    return "\n".join([_sentence(summary), *sent, f"{host}: {where}", *lines_of(steps)])


def _sentence(summary: Summary) -> str:
    counts = [f"{count:,} {status.replace('_', ' ')}" for status, count in summary.statuses.items() if count]
    done = "finished" if summary.complete else "finished the requested rows"
    state = done if has_finished(summary) else f"stopped ({summary.stopped or 'an error'})"
    rows = f"{plural(summary.rows, 'row')}: {', '.join(counts) or 'nothing'}"
    return f"{summary.job} {state}. {rows} in {summary.duration}, exit code {summary.exit_code}."


def lines_of(steps: Sequence[Step]) -> Iterator[str]:
    """Yields what to do next, line by line."""
    for step in steps:
        yield f"Next: {step.text}"
        if step.command:
            yield f"  {step.command}"


def lines_to_do(steps: Sequence[Step]) -> Iterator[str]:
    """Yields what to do next, line by line; no line where there is nothing to do."""
    return lines_of(steps if steps != [NOTHING] else ())
