"""A job in, a carried-out run out: opens what the pipeline needs, closes it, and leaves the summary."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from anyio import to_thread

from engager import __version__
from engager.dispatch.aiohttp_transport import AiohttpTransport, Destination
from engager.dispatch.limits import Stop
from engager.errors import BusyError, Exit, JobError, RunDirectoryError
from engager.intake.builder import Builder, RequestSpec, compile_builder
from engager.intake.identity import fresh
from engager.intake.rows import InputSpec, Rows, open_rows
from engager.intake.template import ParameterError
from engager.intake.witness import Witness
from engager.job import SANDBOX, Job, JobFile
from engager.ledger import account, passes
from engager.ledger.lines import CsvLines, JsonLines, MendableCsv, MendableJson
from engager.ledger.lock import RunLock
from engager.ledger.marks import Marks, read_marks
from engager.ledger.recorder import Formats, Recorder
from engager.ledger.run_directory import (
    RunDirectory,
    find_run,
    input_identity,
    new_run,
    take_folder,
)
from engager.model import Row, Status, Unreadable
from engager.pipeline import Plan, carry_out
from engager.sandbox import Sandbox, SandboxConfig
from engager.secret import Secret, read_secret

log = logging.getLogger("engager")

METHOD = "/api/v1.1/workflows/start"

#: What the embedded sandbox is given when the job names no token.
SANDBOX_TOKEN = Secret("sandbox-token")


@dataclass(slots=True)
class Run:
    """One carrying-out of a job: made by `prepare`, carried out by `send`."""

    job_file: JobFile
    secret: Secret
    rows: Rows
    builder: Builder
    directory: RunDirectory
    lock: RunLock
    recorder: Recorder
    marks: Marks
    stop: Stop = field(default_factory=Stop)
    summary: dict[str, Any] = field(default_factory=dict)  #: complete once `send` ended, however it ended


def open_input(job_file: JobFile, input_path: str | None, witness: Witness | None = None) -> Rows:
    """Open the job's input, or another one named from the working directory. Raises InputError."""
    given = job_file.job.input
    spec = InputSpec(
        path=input_path or given.path,
        base=Path.cwd() if input_path else job_file.base,
        format=given.format,
        delimiter=given.delimiter,
        encoding=given.encoding,
        max_row_bytes=given.max_row_bytes,
    )
    return open_rows(spec, witness=witness)


def token_of(job_file: JobFile) -> Secret:
    """The token that the job refers to. Raises JobError."""
    reference = job_file.job.endpoint.token
    if reference is None:
        return SANDBOX_TOKEN
    try:
        return read_secret(reference, job_file.base)
    except JobError as fault:
        key = "endpoint.token"
        raise JobError(job_file.at(key, str(fault).removeprefix(f"{key}: "))) from fault.__cause__


def builder_of(job_file: JobFile, rows: Rows, token: str, run_id: str) -> Builder:
    """Compile the job's templates against the input's columns. Raises JobError with file and line."""
    endpoint = job_file.job.endpoint
    spec = RequestSpec(
        parameters=job_file.job.request,
        base=job_file.base,
        token=token,
        auth=endpoint.auth,
        wire=endpoint.format,
        answer=endpoint.answer or endpoint.format,
        further_matching=endpoint.further_matching,
    )
    try:
        builder = compile_builder(spec, rows.columns, run_id)
    except ParameterError as fault:
        raise job_file.explain(fault) from None
    _refuse_absent_columns(builder, rows)
    return builder


def _refuse_absent_columns(builder: Builder, rows: Rows) -> None:
    if rows.columns is not None or not (seen := rows.peek_keys()):
        return
    if absent := sorted(builder.required_columns - seen):
        raise JobError(f"no row at the beginning of the input has {', '.join(map(repr, absent))}.")


def headers_of(job: Job, token: str) -> dict[str, str]:
    """What every request carries in its head, but for the Request-ID."""
    headers = {
        "Content-Type": f"application/{job.endpoint.format}; charset=utf-8",
        "User-Agent": f"engager/{__version__}",
    }
    if job.endpoint.auth == "bearer":
        headers["Authorization"] = f"Bearer {token}"
    return headers


def prepare(
    job_file: JobFile, out: Path, input_path: str | None, again: frozenset[Status] = frozenset()
) -> Run | dict[str, Any]:
    """Check everything that can be checked before a row is sent, and take the run up, new or begun before.

    `again` asks for another pass over the rows of a complete run that have these statuses. Returns the
    summary of a run that is complete and stays so instead. Raises JobError, InputError,
    RunDirectoryError or RecordingError.
    """
    with ExitStack() as opened:
        secret = token_of(job_file)
        tls_of(job_file)
        found = find_run(out)
        rows = open_input(job_file, input_path, Witness(read_marks(found.marks_path) if found else ()))
        opened.callback(rows.close)
        directory = found or new_run(out)
        builder = builder_of(job_file, rows, secret.reveal(), directory.run_id)
        identity = _identity(job_file.job, rows, builder)
        if found:
            found.refuse_other(identity)
            if ended := _ended(found, again):
                return ended
            if again and not _complete_summary(found) and passes.latest(found) is None:
                raise RunDirectoryError(f"{out}: this run is not complete yet. Go on with it first.")
        else:
            invocation = _invocation(job_file, rows, input_path)
            directory = replace(directory, identity=identity, invocation=invocation)
        lock = take_folder(out)
        opened.callback(lock.release)
        if found != find_run(out):
            raise BusyError(f"{out}: another process has just begun there. Look, and run again.")
        job, formats = job_file.job, formats_of(job_file, rows, secret)
        synced, known_by = job.delivery.durability == "disk", secret.digest(directory.run_id)
        if found:
            if ended := _ended(found, again):  # by another process, while this one waited for the lock
                return ended
            if _complete_summary(found):
                passes.ask_for(found, again)
            recorder = account.resume(found, formats, synced, known_by)
        else:
            recorder = account.begin(directory, formats, job.input.max_row_bytes, synced, known_by)
        opened.callback(recorder.abandon)
        marks = Marks(directory.marks_path, synced)
        rows.witness.tell(marks.keep)
        opened.pop_all()
    return Run(job_file, secret, rows, builder, directory, lock, recorder, marks)


def _invocation(job_file: JobFile, rows: Rows, input_path: str | None) -> dict[str, Any]:
    """What to call for another pass, from wherever."""
    given = str(Path(input_path).absolute()) if input_path and rows.files else input_path
    return {"job": str(job_file.path.resolve()), "overrides": job_file.overrides, "input": given}


def _complete_summary(run: RunDirectory) -> dict[str, Any] | None:
    summary = run.summary()
    return summary if summary and summary.get("complete") else None


def _ended(run: RunDirectory, again: frozenset[Status]) -> dict[str, Any] | None:
    """The summary of a complete run that has no row to be tried again."""
    summary = _complete_summary(run)
    return None if summary is None or any(summary["statuses"][status] for status in again) else summary


def _identity(job: Job, rows: Rows, builder: Builder) -> dict[str, Any]:
    """What would change a request or a row, and so would make it another run."""
    endpoint = job.endpoint.model_dump(mode="json", include={"url", "format", "answer"})
    reading = job.input.model_dump(mode="json", include={"encoding", "max_row_bytes"})
    return {
        "job": {"name": job.job.name},
        "endpoint": endpoint,
        "request": job.request,
        "attached": builder.attached,
        "input": {
            "format": rows.format,
            "delimiter": rows.delimiter,
            **reading,
            "files": input_identity(rows.files),
        },
        "output": {"results": job.output.results},
    }


async def send(run: Run, limit: int | None = None) -> None:
    """Carry the run out and leave its summary.

    Whatever ends it, a cancellation included, every outcome that is known is written first.
    """
    started = time.monotonic()
    complete = False
    try:
        async with _connected(run) as transport:
            complete = await carry_out(
                _plan(run.job_file.job),
                first_rows(run.rows.chunks(), limit),
                run.builder.build,
                transport.send,
                fresh,
                run.recorder,
                run.stop,
                lambda call: to_thread.run_sync(call, abandon_on_cancel=True),
            )
    finally:
        try:
            run.rows.close()
            run.marks.close()
            run.recorder.close()
            run.summary = _summary(run, complete, limit, started)
            run.directory.write_summary(run.summary)
        finally:
            run.lock.release()


def _plan(job: Job) -> Plan:
    return Plan(job.limits.concurrency, job.pace, job.retry_policy, job.delivery_policy)


def first_rows(
    chunks: Iterator[list[Row | Unreadable]], limit: int | None
) -> Iterator[Sequence[Row | Unreadable]]:
    """The chunks of the first `limit` rows, or all."""
    if limit is None:
        yield from chunks
        return
    for chunk in chunks:
        yield list(islice(chunk, limit))
        limit -= len(chunk)
        if limit <= 0:
            return


def formats_of(job_file: JobFile, rows: Rows, secret: Secret) -> Formats:
    """How the files of outcomes look."""
    job, redact = job_file.job, secret.redact
    results = JsonLines() if job.output.results == "jsonl" else CsvLines()
    if rows.columns is None:
        return Formats(results, MendableJson(redact), redact)
    return Formats(results, MendableCsv(rows.columns, rows.delimiter, job.input.encoding, redact), redact)


@asynccontextmanager
async def _connected(run: Run) -> AsyncIterator[AiohttpTransport]:
    job = run.job_file.job
    async with AsyncExitStack() as stack:
        origin = job.endpoint.url
        if origin == SANDBOX:
            origin = (await stack.enter_async_context(Sandbox(_sandbox_config(job)))).url
        destination = Destination(
            origin + METHOD,
            headers_of(job, run.secret.reveal()),
            job.endpoint.timeout,
            tls_of(run.job_file),
        )
        transport = AiohttpTransport(destination, job.limits.concurrency)
        stack.push_async_callback(transport.aclose)
        yield transport


def _sandbox_config(job: Job) -> SandboxConfig:
    try:
        return SandboxConfig.from_mapping(job.sandbox)
    except ValueError as fault:
        raise JobError(f"sandbox: {fault}") from fault


def tls_of(job_file: JobFile) -> ssl.SSLContext:
    """What TLS trusts; it always verifies. Raises JobError."""
    ca_file = job_file.job.endpoint.ca_file
    try:
        return ssl.create_default_context(cafile=ca_file and str(job_file.base / ca_file))
    except (OSError, ssl.SSLError) as fault:
        raise JobError(job_file.at("endpoint.ca_file", f"{ca_file} cannot be used: {fault}")) from fault


def _summary(run: Run, complete: bool, limit: int | None, started: float) -> dict[str, Any]:
    exit_code = _exit_code(run, complete)
    return {
        "job": run.job_file.job.job.name,
        "run": run.directory.run_id,
        "complete": complete and limit is None,
        "exit_code": int(exit_code),
        "stopped": run.stop.reason if run.stop.requested and not complete else None,
        "started_at": _moment(run.directory.started_at),
        "finished_at": _moment(time.time()),
        "seconds": round(time.monotonic() - started, 3),
        **run.recorder.tally.as_dict(),
    }


def _exit_code(run: Run, complete: bool) -> Exit:
    if complete:
        settled = run.recorder.tally.statuses[Status.ENGAGED] + run.recorder.tally.statuses[Status.SKIPPED]
        return Exit.DONE if settled == run.recorder.tally.rows else Exit.INCOMPLETE
    return run.stop.exit or Exit.INTERNAL


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
