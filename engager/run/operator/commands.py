"""The commands of an operator to a run, from the live page and from another terminal alike."""

from __future__ import annotations

from typing import Any

from engager.run.control import OPERATOR, Control


def carry_out(control: Control, command: Any, job_rate: float | str | None, by: str, who: str = "") -> None:
    """Carry out a command. Raises KeyError, TypeError or ValueError if it is refused.

    Args:
        control: the control of the run.
        command: `do` names it: `pause`, `resume`, `stop` or `rate`; the last one has a `rate`.
        job_rate: `limits.rate` of the job, which no command exceeds.
        by: where it came from, for the reason of a stop.
        who: who holds a pause, where it is known.

    """
    kind = command["do"]
    if kind == "pause":
        control.pause(OPERATOR, who)
    elif kind == "resume":
        control.resume(OPERATOR)
    elif kind == "stop":
        control.stop(f"commanded {by}")
    elif kind != "rate":
        raise ValueError("unknown command")
    elif isinstance(job_rate, str):
        raise ValueError('limits.rate is "auto": engager sets the rate')
    elif job_rate is not None and float(command["rate"]) > job_rate:
        raise ValueError(f"limits.rate = {job_rate:g} is the highest rate that may be set")
    else:
        control.set_rate(float(command["rate"]))
