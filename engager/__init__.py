"""Engage every person of a file in an Altcraft automation scenario: no person twice, none forgotten.

import engager

job = engager.load_job("spring.toml", ["limits.rate=50"])
summary = engager.run(job, out="runs/spring", watch=print)
for outcome in engager.outcomes("runs/spring"):
...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engager.config.version import __version__

if TYPE_CHECKING:
    from engager.api import (
        build_job,
        check,
        find,
        follow,
        load_job,
        outcomes,
        pause,
        resume,
        retry,
        retry_async,
        run,
        run_async,
        runs,
        send_test,
        set_rate,
        status,
        stop,
        tasks,
    )
    from engager.config.job import JobFile
    from engager.errors import (
        BusyError,
        EngagerError,
        Exit,
        InputError,
        JobError,
        RecordingError,
        RunDirectoryError,
    )
    from engager.events import (
        AlreadyComplete,
        Began,
        Ended,
        Event,
        Progressed,
        Reported,
        SenderState,
        Serving,
        Snapshot,
        Summary,
    )
    from engager.models import Status
    from engager.reader.results import Result
    from engager.run.control import Control
    from engager.run.dry_run import Findings
    from engager.run.operator.finding import FoundRow, SearchedRun, Stage
    from engager.run.operator.testing import TestPlan, TestResult

# The package of this name first: imported later, it would take the place of the function.
import_module("engager.run")
del globals()["run"]

#: Where each name lies. It is loaded when it is asked for: `engager --version` need not load everything.
_HOMES = {
    "build_job": "engager.api",
    "check": "engager.api",
    "find": "engager.api",
    "follow": "engager.api",
    "load_job": "engager.api",
    "outcomes": "engager.api",
    "pause": "engager.api",
    "resume": "engager.api",
    "retry": "engager.api",
    "retry_async": "engager.api",
    "run": "engager.api",
    "run_async": "engager.api",
    "runs": "engager.api",
    "send_test": "engager.api",
    "set_rate": "engager.api",
    "status": "engager.api",
    "stop": "engager.api",
    "tasks": "engager.api",
    "JobFile": "engager.config.job",
    "BusyError": "engager.errors",
    "EngagerError": "engager.errors",
    "Exit": "engager.errors",
    "InputError": "engager.errors",
    "JobError": "engager.errors",
    "RecordingError": "engager.errors",
    "RunDirectoryError": "engager.errors",
    "AlreadyComplete": "engager.events",
    "Began": "engager.events",
    "Ended": "engager.events",
    "Event": "engager.events",
    "Progressed": "engager.events",
    "Reported": "engager.events",
    "Serving": "engager.events",
    "SenderState": "engager.events",
    "Snapshot": "engager.events",
    "Summary": "engager.events",
    "Status": "engager.models",
    "Control": "engager.run.control",
    "Findings": "engager.run.dry_run",
    "FoundRow": "engager.run.operator.finding",
    "SearchedRun": "engager.run.operator.finding",
    "Stage": "engager.run.operator.finding",
    "TestPlan": "engager.run.operator.testing",
    "TestResult": "engager.run.operator.testing",
    "Result": "engager.reader.results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "AlreadyComplete",
    "Began",
    "BusyError",
    "Control",
    "Ended",
    "EngagerError",
    "Event",
    "Exit",
    "Findings",
    "FoundRow",
    "InputError",
    "JobError",
    "JobFile",
    "Progressed",
    "RecordingError",
    "Reported",
    "Result",
    "RunDirectoryError",
    "SearchedRun",
    "SenderState",
    "Serving",
    "Snapshot",
    "Stage",
    "Status",
    "Summary",
    "TestPlan",
    "TestResult",
    "__version__",
    "build_job",
    "check",
    "find",
    "follow",
    "load_job",
    "outcomes",
    "pause",
    "resume",
    "retry",
    "retry_async",
    "run",
    "run_async",
    "runs",
    "send_test",
    "set_rate",
    "status",
    "stop",
    "tasks",
]
