"""A job and its rows in, what would be sent out. Nothing is sent: the innermost call is not there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from engager.endpoint import METHOD, headers_of, token_of
from engager.job import JobFile
from engager.model import EngageRequest, Invalid, Outcome, Row, Unreadable
from engager.preparing import builder_of, open_input
from engager.secret import MASK
from engager.shards.shard import FirstRows

#: An attachment's data beyond this is told by its size.
SHOWN_BYTES = 4096


@dataclass(slots=True)
class Findings:
    """What a look at every row found."""

    rows: int = 0
    sendable: int = 0
    warnings: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    invalid: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, record: Invalid | Unreadable) -> None:
        """Count one row that cannot be sent."""
        outcome = Outcome.invalid(record)
        error = str(outcome.error)
        self.invalid[error] += 1
        self.examples.setdefault(error, f"row {outcome.row.number} ({outcome.error_text})")


def check(job_file: JobFile, input_path: str | None, samples: int, limit: int | None = None) -> Findings:
    """Read the job and every row. Raises JobError or InputError; sends nothing."""
    token_of(job_file)
    rows = open_input(job_file, input_path)
    try:
        builder = builder_of(job_file, rows, MASK, "check")
        findings = Findings(warnings=list(builder.warnings))
        for chunk in FirstRows(rows, limit):
            for row in chunk:
                findings.rows += 1
                built = builder.build(row) if isinstance(row, Row) else row
                if not isinstance(built, EngageRequest):
                    findings.note(built)
                    continue
                findings.sendable += 1
                if len(findings.samples) < samples:
                    findings.samples.append(_shown(job_file, built))
    finally:
        rows.close()
    return findings


def _shown(job_file: JobFile, request: EngageRequest) -> str:
    job = job_file.job
    headers = {**headers_of(job, MASK), "Request-ID": request.request_id}
    head = "\n".join(f"{name}: {value}" for name, value in headers.items())
    body = "".join(_part(part) for part in request.body)
    return f"POST {job.endpoint.url}{METHOD}\n{head}\n\n{body}"


def _part(part: bytes) -> str:
    text = part.decode()
    if len(text) <= SHOWN_BYTES:
        return text
    return f"{text[:SHOWN_BYTES]}… ({len(part):,} bytes)"
