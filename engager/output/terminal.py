"""The live view of a run, and of a check, at a terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engager.config.sanitize import sanitized
from engager.events import ErrorKind, Snapshot
from engager.models import Status
from engager.output.text import (
    checked_line,
    count_of_senders,
    duration,
    latency,
    pace,
    retries,
    sender_line,
    settled,
    settled_share,
    time_left,
    waits,
)

#: Number of error kinds that are shown, and of senders.
_KINDS, _SENDERS = 5, 8

_COLOURS = {
    Status.ENGAGED: "green",
    Status.ACCEPTED: "bright_blue",
    Status.REJECTED: "yellow",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.INVALID: "cyan",
    Status.SKIPPED: "dim",
}


def view(now: Snapshot) -> RenderableType:
    """Render a snapshot for a terminal of any width."""
    head = Text(overflow="ellipsis", no_wrap=True)
    head.append(settled(now), style="bold")
    for part in (duration(now.elapsed_seconds), time_left(now)):
        head.append(f" · {part}" if part else "")
    lines: list[RenderableType] = [head]
    if now.total:
        lines.append(_bar(settled_share(now)))
    lines += [_statuses(now), Text(pace(now), overflow="fold")]
    timing = " · ".join(filter(None, [latency(now), retries(now)]))
    lines += [Text(timing, style="dim", overflow="ellipsis", no_wrap=True)] if timing else []
    lines += [Text(reason, style="bold yellow", overflow="fold") for reason in waits(now)]
    return Group(*lines, *_senders(now), *_errors(now))


def check_view(rows: int, total: int | None, seconds: float) -> RenderableType:
    """Render how far the check of an input is."""
    head = Text(checked_line(rows, total, seconds), style="bold", overflow="ellipsis", no_wrap=True)
    return Group(head, _bar(min(1.0, rows / total))) if total else head


def _bar(share: float) -> Table:
    table = Table.grid(expand=True)  # a bar alone does not end its line
    table.add_row(ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="green"))
    return table


def _statuses(now: Snapshot) -> Text:
    text = Text(overflow="fold")
    for status, colour in _COLOURS.items():
        if count := now.statuses[status]:
            text.append("  " if text else "")
            text.append(f"{count:,} {status}", style=colour)
    return text


def _senders(now: Snapshot) -> list[Text]:
    if not now.senders:
        return []
    lines = [Text(count_of_senders(now.senders), overflow="fold")]
    for sender in now.senders[:_SENDERS]:
        style = "yellow" if sender.lost else "dim"
        line = Text(f"  {sanitized(sender_line(sender), ' ')}", style, overflow="ellipsis", no_wrap=True)
        lines.append(line)
    return lines


def _errors(now: Snapshot) -> list[Text]:
    lines, failed, skipped = [], list[ErrorKind](), list[str]()
    for kind in now.errors:
        if kind.status == Status.SKIPPED:
            skipped.append(f"{kind.rows:,} {sanitized(str(kind.error), ' ')}")
        else:
            failed.append(kind)
    for kind in failed[:_KINDS]:
        line = Text(f"{kind.rows:>7,} ", overflow="fold")  # the reason is at the end of the line
        line.append(f"{kind.status} {sanitized(str(kind.error), ' ')}", style=_COLOURS[Status(kind.status)])
        if kind.row is not None:
            line.append(f"  row {kind.row}: {sanitized(kind.text, ' ')}")
        lines.append(line)
    if skipped:
        lines.append(Text(f"skipped: {', '.join(skipped[:_KINDS])}", style="dim", overflow="fold"))
    return lines


class View:
    """The live view while it is on the screen. Colours obey NO_COLOR."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, content: RenderableType) -> None:
        """Show a content in the place of the one before."""
        self._live.update(content, refresh=True)

    def update(self, text: str) -> None:
        """Print a text above it."""
        self._live.console.print(Text(text))

    def end(self) -> None:
        """Remove it from the screen."""
        self._live.stop()
