"""Validates a job and every row of its input. Invariant: nothing is sent, as there is no transport here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from typing import Any, BinaryIO

from engager.config.job import JobFile
from engager.config.job_sections import AUTO, UNCHOSEN, Job
from engager.config.mail import receivers_of
from engager.config.secret import MASK, MissingSecretError
from engager.endpoint.access import headers_of, token_of, url_of
from engager.endpoint.senders import warnings_of
from engager.models import EngageRequest, Invalid, Outcome, Row, Skipped, Unreadable
from engager.policies.rate import Pace
from engager.policies.schedule import moment_text
from engager.reader.first_rows import FirstRows
from engager.reader.rows import Rows
from engager.requests.builder import Builder
from engager.requests.packing import Packer
from engager.requests.selection import REPEAT, Selection
from engager.run.opening_input import builder_of, open_input, packer_of
from engager.run.row_rules import PhoneForms, selection_of, sources_of, warning_of

#: Bytes of a part of a body that are shown; of a longer part, the size is shown, too.
SHOWN_BYTES = 4096

#: Called while rows are read, with the number of rows so far and of all rows; None while that is unknown.
ShowRows = Callable[[int, int | None], object]

#: Rows that repeat a key and are shown, at most.
SHOWN_REPEATS = 5


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A request as it would be sent, with its secrets masked."""

    row: int
    key: str
    url: str
    headers: Mapping[str, str]
    body: str

    def __str__(self) -> str:
        head = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"POST {self.url}\n{head}\n\n{self.body}"


#: An error of rows: its code, and the column, if the error is in one.
Wrong = tuple[str, str | None]


@dataclass(slots=True)
class Findings:
    """The result of the validation of every row. Each field is a key of `as_dict`."""

    rows: int = 0
    sendable: int = 0
    invalid: Counter[Wrong] = field(default_factory=Counter)  #: invalid rows by error
    examples: dict[Wrong, str] = field(default_factory=dict)  #: the first row with each error
    skipped: Counter[str] = field(default_factory=Counter)  #: skipped rows by rule
    repeats: int = 0  #: rows whose key an earlier row has, skipped or not
    repeated: list[str] = field(default_factory=list)  #: the first of them
    seconds: float | None = None  #: of sending at the rate of the job; None: it depends on the endpoint
    ends_at: str | None = None  #: the end of a run that begins now, within the sending window
    openings: int | None = None  #: openings of the sending window that the run needs
    lists: list[dict[str, Any]] = field(default_factory=list)  #: lists and runs, with their excluded keys
    warnings: list[str] = field(default_factory=list)
    samples: list[SampleRequest] = field(default_factory=list)

    def count_skipped(self, row: Skipped, job: Job) -> bool:
        """Count one row to which a rule applies; returns whether the job skips it."""
        if row.error == REPEAT:
            self.repeats += 1
            if len(self.repeated) < SHOWN_REPEATS:
                self.repeated.append(f"row {row.row.number}, {row.key}: {row.error_text}")
            if not job.input.unique:
                return False
        self.skipped[row.error] += 1
        return True

    def count_invalid(self, record: Invalid | Unreadable) -> None:
        """Count one invalid row."""
        outcome = Outcome.unsent(record)
        wrong = str(outcome.error), record.column if isinstance(record, Invalid) else None
        self.invalid[wrong] += 1
        self.examples.setdefault(wrong, f"row {outcome.row.number} ({outcome.error_text})")

    def as_dict(self) -> dict[str, Any]:
        """Returns the findings as JSON values; each error of rows with its count and its first row."""
        # A copy of a Counter would count its items.
        found = asdict(replace(self, invalid=Counter(), examples={}, skipped=Counter())) | {
            "skipped": dict(self.skipped)
        }
        del found["examples"]
        found["invalid"] = [
            {"error": wrong[0], "column": wrong[1], "rows": rows, "example": self.examples[wrong]}
            for wrong, rows in self.invalid.most_common()
        ]
        return found


def check(
    job_file: JobFile,
    input_path: str | None,
    samples: int,
    limit: int | None = None,
    objects: BinaryIO | None = None,
    show: ShowRows | None = None,
) -> Findings:
    """Read the job and every row. Raises JobError or InputError; sends nothing."""
    unset = [*_unset(job_file), *filter(None, [job_file.undated_directory if input_path is None else None])]
    rows = open_input(job_file, input_path, time.time(), objects=objects)
    try:
        builder = builder_of(job_file, rows, MASK, "check")
        findings = Findings(
            warnings=[
                *job_file.warnings,
                *warnings_of(job_file),
                *builder.warnings,
                *_still_open(job_file.job),
                *unset,
            ]
        )
        selection = selection_of(job_file, builder, observe=True)
        assert selection is not None  # noqa: S101 - with `observe` there always is one
        phones, requests = PhoneForms(job_file, builder), _Requests(packer_of(job_file, builder))
        totals = repeat(None) if show is None else _totals(rows, limit)
        with closing(selection):
            for chunk, total in zip(FirstRows(rows, limit), totals, strict=False):
                for row in chunk:
                    request = _examine(row, findings, job_file.job, builder, selection, samples)
                    phones.note(request)
                    requests.count(request)
                if show is not None:
                    show(findings.rows, total)
            phones.note_listed(sources_of(selection))
            findings.warnings += [*rows.warnings, *phones.warnings]
            _report_lists(findings, selection)
            _report_trimmed(findings, builder)
    finally:
        rows.close()
    findings.seconds = seconds_at_rate(job_file.job, requests.total())
    _fit(findings, job_file.job, time.time())
    return findings


def _totals(rows: Rows, limit: int | None) -> Iterator[int | None]:
    """Yields the number of rows that will be read; None, after one more step, until all are counted."""
    counted = None
    for step in rows.counting() or ():
        counted = step
        yield None
    while True:
        yield counted if counted is None or limit is None else min(counted, limit)


class _Requests:
    """The number of requests of a run in which every row is new."""

    def __init__(self, packer: Packer | None) -> None:
        self._number, self._packer = 0, packer

    def count(self, request: EngageRequest | None) -> None:
        """Count the request of one row, if it has one."""
        if request is not None:
            self._number += 1 if self._packer is None else len(self._packer.pack([request]))

    def total(self) -> int:
        """The number of requests, at the end of the rows."""
        return self._number + (0 if self._packer is None else len(self._packer.finish()))


def worth_of_directory(job: Job, now: float) -> str:
    """The consequence of a lost run directory, for the operator."""
    ends = job.forgotten_at(now)
    if ends is None:
        return "Keep the run directory. Without it the same command sends to everybody again."
    return (
        "Keep the run directory. Without it the same command repeats every request under the same Request-ID "
        f"until {moment_text(ends, job.window.tz)}, and sends nothing after that."
    )


def _examine(
    row: Row | Unreadable, findings: Findings, job: Job, builder: Builder, selection: Selection, samples: int
) -> EngageRequest | None:
    """Count one row; returns its request, where it would be sent."""
    findings.rows += 1
    built = builder.build(row) if isinstance(row, Row) else row
    judged = built if isinstance(built, Unreadable) else selection.judge(built)
    if isinstance(judged, Skipped) and findings.count_skipped(judged, job):
        return None
    if isinstance(built, Invalid | Unreadable):
        findings.count_invalid(built)
    if not isinstance(built, EngageRequest):
        return None
    findings.sendable += 1
    if len(findings.samples) < samples:
        findings.samples.append(_shown(job, builder, built))
    return built


def _report_lists(findings: Findings, selection: Selection) -> None:
    """Report for each list its keys and the rows that it excludes; none of either is a warning."""
    for source in sources_of(selection):
        findings.lists.append({"name": source.name, "keys": source.keys, "rows": source.rows})
        if (warning := warning_of(source)) is not None:
            findings.warnings.append(warning)
        elif not source.rows:
            findings.warnings.append(f"{source}, but no row of the input has one of them")


def _report_trimmed(findings: Findings, builder: Builder) -> None:
    for column, rows in builder.trimmed.items():
        findings.warnings.append(
            f"column {column!r}: {rows:,} rows have blanks or invisible characters around the value, "
            "which are removed"
        )


def _unset(job_file: JobFile) -> list[str]:
    """The missing secrets, which only a run needs. Raises JobError for a secret that cannot be valid."""
    missing = []
    for read in (token_of, receivers_of):
        try:
            read(job_file)
        except MissingSecretError as fault:
            missing.append(f"{fault} Only a run needs it")
    return missing


def _fit(findings: Findings, job: Job, now: float) -> None:
    """Report how the run fits into its sending window, if its duration is known."""
    window = job.window.policy
    if window is None or findings.seconds is None:
        return
    if (found := window.end_of(now, findings.seconds)) is None:
        findings.warnings.append("window: it is never open for long enough")
    else:
        findings.ends_at, findings.openings = moment_text(found[0], window.zone), found[1]


def seconds_at_rate(job: Job, requests: int) -> float | None:
    """Seconds of `requests` at the rate of the job, one attempt each; None without a fixed rate."""
    if job.limits.rate is None or job.limits.rate == AUTO:
        return None
    return round(requests / Pace(job.limits.rate).leak, 1)


def _still_open(job: Job) -> list[str]:
    if job.scenario != UNCHOSEN:
        return []
    return [f"{job.scenario_key}: no scenario is chosen yet; only the embedded sandbox accepts this job"]


def _shown(job: Job, builder: Builder, request: EngageRequest) -> SampleRequest:
    request_id, parts = request.request_id, request.body
    if builder.is_batch:  # as a batch of this row alone
        content, parts = builder.join(request.body)
        request_id = builder.request_ids.for_row(request.row.number, content)
    headers = {**headers_of(job, MASK), "Request-ID": request_id}
    body = "".join(map(_part, parts))
    return SampleRequest(request.row.number, request.key, url_of(job, job.endpoint.url), headers, body)


def _part(part: bytes) -> str:
    text = part.decode()
    if len(text) <= SHOWN_BYTES:
        return text
    return f"{text[:SHOWN_BYTES]}… ({len(part):,} bytes)"
