"""Engages every person of a file in an Altcraft automation scenario: nobody twice, nobody forgotten.

import engager

job = engager.load_job("spring.toml", ["limits.rate=50"])
summary = engager.run(job, out="runs/spring", watch=print)
for outcome in engager.outcomes("runs/spring"):
...
"""

from engager.api import build_job, check, load_job, outcomes, retry, retry_async, run, run_async, status
from engager.config.job import JobFile
from engager.config.version import __version__
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
    Serving,
    Snapshot,
    Summary,
)
from engager.models import Status
from engager.run.control import Control
from engager.run.dry_run import Findings
from engager.store.results import Result

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
    "InputError",
    "JobError",
    "JobFile",
    "Progressed",
    "RecordingError",
    "Reported",
    "Result",
    "RunDirectoryError",
    "Serving",
    "Snapshot",
    "Status",
    "Summary",
    "__version__",
    "build_job",
    "check",
    "load_job",
    "outcomes",
    "retry",
    "retry_async",
    "run",
    "run_async",
    "status",
]
