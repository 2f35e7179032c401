"""Prepares a run from a job file. Invariant: all that can be checked is checked before a row is sent."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from engager.config.job import JobFile
from engager.config.log import log
from engager.config.method_rules import people_at_rate
from engager.config.placeholders import expanded
from engager.config.secret import Secret
from engager.endpoint.access import proxy_of, tls_of, token_in_body, token_of
from engager.endpoint.address import Move
from engager.errors import BusyError, InputError, JobError, RunDirectoryError
from engager.events import Summary, utc_text
from engager.models import Status
from engager.policies.schedule import moment_text
from engager.reader.identity import input_identity
from engager.reader.input_verifier import InputVerifier
from engager.reader.outcome_fields import Redact
from engager.reader.outcome_lines import CsvLines, JsonLines, RejectedCsv, RejectedJson, TextForm
from engager.reader.rows import BLOCK, Rows
from engager.reader.sources import STDIN, blocks, find_files, open_stream
from engager.requests.builder import Builder
from engager.requests.exclusion import Exclusion
from engager.requests.identity import run_id_of
from engager.requests.selection import Selection
from engager.run.control import Control
from engager.run.earlier_runs import at_address, refuse_change, refuse_input, refuse_more
from engager.run.opening_input import builder_of, moment_of_name, open_input, place_of_input
from engager.run.row_rules import (
    lost_keys,
    selection_of,
    sources_of,
    warning_of,
    warnings_of_phones,
    warnings_of_reasons,
)
from engager.run.run_selection import input_files
from engager.run.unsettled import rows_of
from engager.store import opening, passes
from engager.store.files.formats import Formats
from engager.store.files.kept_input import keep_input
from engager.store.run_directory import (
    RunDirectory,
    find_run,
    lock_folder,
    new_run,
    replace_file,
    write_run,
)
from engager.store.status import existing_run
from engager.store.store import ResultStore, StoreOptions

#: Increase it when the same row gets other bytes, and so another request id, than in an earlier version.
REQUEST_FORM = 2

#: Keys of [input] that change what a row is.
READING = {"encoding", "max_row_bytes", "multiline", "region", "empty", "decimal"}


@dataclass(slots=True)
class Run:
    """One run of a job: made by `prepare`, carried out by `send`."""

    job_file: JobFile
    secret: Secret
    input_path: str | None  #: replaces the input of the job
    rows: Rows
    builder: Builder
    selection: Selection | None
    directory: RunDirectory
    store: ResultStore
    redact: Redact  #: removes every secret of the run from a text
    resources: ExitStack  #: closes all files, and releases the lock
    resumed: bool  #: an earlier process began the run
    control: Control = field(default_factory=Control)
    summary: Summary | None = None  #: set when `send` ends, however it ends

    @property
    def name(self) -> str:
        """The name of the job, with the moment of the start of the run."""
        return expanded(self.job_file.job.job.name, moment_of_name(self.job_file, self.directory.started_at))


@dataclass(frozen=True, slots=True)
class _Opened:
    """The first phase: the input is open, and the lock of an existing run is acquired."""

    job_file: JobFile
    input_path: str | None
    secret: Secret
    found: RunDirectory | None
    directory: RunDirectory  #: the one that was found, or a new one
    rows: Rows
    after: Sequence[str]  #: earlier runs, whose people are excluded
    move: Move  #: how the address differs from the one that the run was sent to
    confirmed: bool = False  #: by this call
    is_pass: bool = False  #: by `retry`, whose overrides are for that pass only


@dataclass(frozen=True, slots=True)
class _Identified:
    """The second phase: every template is compiled, and the run belongs to this job and this input."""

    opened: _Opened
    builder: Builder
    directory: RunDirectory
    options: StoreOptions


def prepare(
    job_file: JobFile,
    out: Path,
    input_path: str | None,
    again: frozenset[Status] = frozenset(),
    after: Sequence[str] = (),
    new_address: bool = False,
    started_at: float | None = None,
    objects: BinaryIO | None = None,
    chooser: passes.Chooser | None = None,
    confirmed: bool = False,
) -> Run | Summary:
    """Check everything that can be checked before a row is sent, and begin or resume the run.

    Returns the summary if the run is complete, unless `again` asks for another pass over its rows with these
    statuses; `chooser` chooses among the in-doubt ones. With `new_address` a run is resumed at another
    address than it began with. A new run starts at `started_at`, or now. `objects` are rows of a program in
    the place of a stream. A run remembers that it was `confirmed`. Raises JobError, InputError,
    RunDirectoryError, RecordingError, or UnsettledRunError where the input was replaced before it was
    settled.
    """
    with ExitStack() as resources:
        found, move = _find(job_file, out, input_path, after, bool(again), new_address, resources)
        start = found or _new_run(job_file, out, time.time() if started_at is None else started_at)
        opened = _open(job_file, found, start, move, input_path, after, objects, resources)
        opened = replace(opened, confirmed=confirmed, is_pass=bool(again))
        identified = _identify(opened)
        if again or opened.found is None or not opened.found.is_complete:
            _refuse_forgotten(job_file, identified.directory)
        if opened.found and (summary := _ask_for_pass(opened.found, again, chooser)) is not None:
            if not again and not opened.rows.files:
                refuse_more(opened.found, job_file, input_path, after, opened.rows)
            return summary
        return _prepare(identified, resources)


def _find(
    job_file: JobFile,
    out: Path,
    input_path: str | None,
    after: Sequence[str],
    again: bool,
    new_address: bool,
    resources: ExitStack,
) -> tuple[RunDirectory | None, Move]:
    """The run in a folder, if there is one, under its lock, and with the address that the job has now."""
    found = _find_and_lock(out, resources)
    if found is None:
        return None, Move.NONE
    return at_address(found, job_file, input_path, after, new_address, again)


def _open(
    job_file: JobFile,
    found: RunDirectory | None,
    directory: RunDirectory,
    move: Move,
    input_path: str | None,
    after: Sequence[str],
    objects: BinaryIO | None,
    resources: ExitStack,
) -> _Opened:
    secret = token_of(job_file)
    tls_of(job_file)
    if found:  # before the input is opened: an error must not show bytes and columns of a wrong file
        found = directory = _with_input(found, job_file, input_path, after)
        after = [*dict.fromkeys([*map(str, found.after), *after])]
    verifier = InputVerifier(opening.checkpoints(found) if found else ())
    rows = open_input(job_file, input_path, directory.started_at, verifier, objects)
    resources.callback(rows.close)
    return _Opened(job_file, input_path, secret, found, directory, rows, after, move)


def _identify(opened: _Opened) -> _Identified:
    job_file, rows, secret, directory = opened.job_file, opened.rows, opened.secret, opened.directory
    builder = builder_of(job_file, rows, token_in_body(job_file.job, secret), directory.run_id)
    builder.warnings += [*rows.warnings, *warnings_of_reasons(rows, job_file, opened.after)]
    rows.warn = log.warning
    identity = _identity(job_file, rows, builder)
    options = _options(job_file, rows, secret, directory)
    if opened.found:
        if difference := opened.found.difference_to(identity):
            refuse_change(opened.found, difference, job_file, opened.input_path, opened.after)
        begun_in = directory.invocation.get("profile")
        if begun_in != job_file.profile:
            was, now = begun_in or "none", job_file.profile or "none"
            builder.warnings.append(f"this run began with profile {was} and goes on with profile {now}")
        counted = directory.invocation.get("rows")
        facts = {
            "after": opened.after,
            "rows": rows_of(rows) if counted is None or rows.given_total is not None else counted,
            "sending": _sending(job_file),
            "confirmed": opened.confirmed or directory.is_confirmed,
            **({} if opened.is_pass else job_file.source),
        }
        directory = replace(directory, invocation={**directory.invocation, **facts})
    else:
        invocation = _invocation(opened)
        directory = replace(directory, identity=identity, invocation=invocation)
    return _Identified(opened, builder, directory, options)


def _new_run(job_file: JobFile, out: Path, started_at: float) -> RunDirectory:
    """A run that is about to begin; one with a name has the id that the name gives it."""
    directory, job = new_run(out, started_at), job_file.job.job
    return directory if job.run_name is None else replace(directory, run_id=run_id_of(job.name, job.run_name))


def _refuse_forgotten(job_file: JobFile, directory: RunDirectory) -> None:
    """Raises RunDirectoryError where the endpoint may have forgotten what a lost run directory sent."""
    ends, zone = job_file.job.forgotten_at(directory.started_at), job_file.job.window.tz
    if ends is None or time.time() < ends:
        return
    raise RunDirectoryError(
        f"{directory.path}: the run {job_file.job.job.run_name} was first started at "
        f"{job_file.job.job.run_since}, this directory is younger, and since {moment_text(ends, zone)} the "
        "endpoint may have forgotten what was sent before: everybody could get a second message. Nothing was "
        "sent. Restore the directory of that start. If there never was one, set job.run_since to "
        f"{utc_text(directory.started_at + 1)} or later."
    )


def _with_input(
    found: RunDirectory, job_file: JobFile, input_path: str | None, after: Sequence[str]
) -> RunDirectory:
    """The run with its current input, which must begin with all that the run has read.

    Raises UnsettledRunError or RunDirectoryError for another input.
    """
    files = input_files(job_file, input_path, found.started_at)
    known = found.identity["input"]["files"]
    if files == known:
        return found
    if not known or not files or not _has_grown(found, job_file, input_path):
        name = _input_name(job_file, input_path, found.started_at)
        refuse_input(found, found.difference_of_input(files, name), job_file, input_path, after)
    name = _input_name(job_file, input_path, found.started_at)
    log.warning("the input has changed after what this run has read of it: %s", name)
    if found.is_complete:
        found.reopen()
    identity = {**found.identity, "input": {**found.identity["input"], "files": files}}
    return replace(found, identity=identity, invocation={**found.invocation, "rows": None})


def _has_grown(found: RunDirectory, job_file: JobFile, input_path: str | None) -> bool:
    """Whether the current input begins with all that the run has read."""
    verifier = InputVerifier(opening.checkpoints(found))
    files = find_files(*place_of_input(job_file, input_path, found.started_at))
    try:
        for file in files:
            with open_stream(file) as stream:
                last = file is files[-1]
                for _ in verifier.watch(blocks(stream, str(file), BLOCK), str(file), last):
                    if verifier.is_through:
                        return True
    except InputError:
        return False
    return verifier.is_through


def _report_excluded(identified: _Identified, selection: Selection | None) -> Exclusion | None:
    """Report what is excluded. Raises RunDirectoryError if an earlier start excluded more."""
    opened, builder = identified.opened, identified.builder
    exclusion = None if selection is None else selection.excluded
    if opened.found and (lost := lost_keys(opened.found, exclusion)):
        change = f"{lost:,} keys that were excluded are in no list of input.exclude any more"
        refuse_change(opened.found, change, opened.job_file, opened.input_path, opened.after)
    sources = sources_of(selection)
    builder.warnings += warnings_of_phones(opened.job_file, builder, opened.rows, sources)
    builder.warnings += filter(None, map(warning_of, sources))
    builder.notes += [f"excludes: {source}" for source in sources if source.keys]
    if (people := people_at_rate(opened.job_file.job)) is not None:
        builder.notes.append(people)
    return exclusion


def _prepare(identified: _Identified, resources: ExitStack) -> Run:
    opened, directory = identified.opened, identified.directory
    resumed = opened.found is not None
    if not resumed:
        _lock_new(directory.path, resources)
        if opened.job_file.job.input.keep:
            _keep_input(directory, opened)
    selection = selection_of(
        opened.job_file, identified.builder, opened.after, directory.path, salt=directory.run_id.encode()
    )
    if selection is not None:
        resources.callback(selection.close)
    exclusion = _report_excluded(identified, selection)
    if resumed:
        knows_ids = opened.move in (Move.NONE, Move.SCHEME)
        store = opening.resume(directory, identified.options, knows_ids)
    else:
        store = opening.begin(directory, identified.options)
    resources.callback(store.close)
    if resumed:
        directory.given_up_path.unlink(missing_ok=True)
        write_run(directory)
    if exclusion is not None:
        replace_file(directory.excluded_path, exclusion.digests())
    return Run(
        opened.job_file,
        opened.secret,
        opened.input_path,
        opened.rows,
        identified.builder,
        selection,
        directory,
        store,
        identified.options.formats.redact,
        resources.pop_all(),
        resumed,
    )


def _keep_input(directory: RunDirectory, opened: _Opened) -> None:
    """Copy the input into the run directory. Raises JobError, InputError or RunDirectoryError."""
    files = opened.rows.files
    if not files:
        text = "a stream cannot be kept; write it to a file, and name that as the input"
        raise JobError(opened.job_file.at("input.keep", text))
    try:
        copies = keep_input(files, directory.path)
    except OSError as fault:
        raise RunDirectoryError(
            f"{directory.path}: the input cannot be copied there: {fault.strerror}. Nothing was sent. Make "
            "space, or set input.keep = false."
        ) from fault
    if input_identity(copies) != directory.identity["input"]["files"]:
        raise InputError(f"{files[0]}: the input changed while it was copied. Run the same command again.")


def _find_and_lock(out: Path, resources: ExitStack) -> RunDirectory | None:
    """The run in a folder, if there is one, under its lock."""
    if find_run(out) is None:
        return None  # the folder is created only when no check can fail any more
    _lock(out, resources)
    return existing_run(out)


def _lock(out: Path, resources: ExitStack) -> None:
    resources.callback(lock_folder(out).release)


def _lock_new(out: Path, resources: ExitStack) -> None:
    _lock(out, resources)
    if find_run(out):
        raise BusyError(f"{out}: another process has just begun there. See `engager status`, and run again.")


def _ask_for_pass(
    found: RunDirectory, again: frozenset[Status], chooser: passes.Chooser | None
) -> Summary | None:
    """Request another pass over a complete run; returns its summary if no pass is needed."""
    summary = found.summary()
    if summary is None or not summary.get("complete"):
        latest = passes.latest(found)
        if again and latest is None:
            raise RunDirectoryError(f"{found.path}: this run is not complete yet. Resume it first.")
        if chooser is not None and latest is not None and latest.keys != chooser.digest_for(found):
            raise RunDirectoryError(
                f"{found.path}: another pass, over other rows, is not complete yet. Complete it first, "
                "without a list of keys. Then give the list again."
            )
        return None
    if not any(summary["statuses"][status] for status in again):
        return Summary.from_dict(summary)
    passes.ask_for(found, again, chooser)
    return None


def _options(job_file: JobFile, rows: Rows, secret: Secret, directory: RunDirectory) -> StoreOptions:
    synced = job_file.job.delivery.durability == "disk"
    formats = formats_of(job_file, rows, secret, directory.columns)
    return StoreOptions(formats, synced, secret.mark(directory.run_id))


def _invocation(opened: _Opened) -> dict[str, Any]:
    """The call of another pass, valid in every working directory, and the input of that pass."""
    job_file, rows, input_path = opened.job_file, opened.rows, opened.input_path
    given = os.path.abspath(input_path) if input_path and rows.files else input_path
    reads = _input_name(job_file, input_path, opened.directory.started_at) if rows.files else rows.name
    facts = {
        "input": given,
        "reads": reads,
        "after": list(opened.after),
        "rows": rows_of(rows),
        "sending": _sending(job_file),
        "confirmed": opened.confirmed,
    }
    return {**job_file.source, **facts}


def _sending(job_file: JobFile) -> dict[str, Any]:
    """How the last start sends, for the report: the job file may change after it."""
    job = job_file.job
    return {
        "mode": job.delivery.mode,
        "rate": job.limits.rate,
        "concurrency": job.limits.concurrency,
        "batch_rows": job.batch.rows if job.method.is_batch else None,
    }


def _input_name(job_file: JobFile, input_path: str | None, started_at: float) -> str:
    """The name of the input, valid in every working directory."""
    path, base = place_of_input(job_file, input_path, started_at)
    return "stdin" if path == STDIN else os.path.abspath(base / path)


def _identity(job_file: JobFile, rows: Rows, builder: Builder) -> dict[str, Any]:
    """Everything that changes a request or a row: another identity is another run."""
    job = job_file.job
    endpoint = job.endpoint.model_dump(mode="json", include={"url", "format", "answer"})
    reading = job.input.model_dump(mode="json", include=READING)
    identity: dict[str, Any] = {
        "form": REQUEST_FORM,
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
    if job.job.run_name is not None:
        identity["run"] = {"name": job.job.run_name}
    if job.input.unique:
        identity["input"]["unique"] = True
    if job.input.filter:
        identity["input"]["filter"] = job.input.filter
    # As it will be read again: dates of TOML become texts in JSON.
    return orjson.loads(orjson.dumps(identity))  # type: ignore[no-any-return]


def formats_of(job_file: JobFile, rows: Rows, secret: Secret, columns: Sequence[str]) -> Formats:
    """The formats of the files of outcomes; `columns` are those of results."""
    job, proxy = job_file.job, proxy_of(job_file)

    def redact(text: str) -> str:
        return secret.redact(proxy.redact(text) if proxy else text)

    results = JsonLines() if job.output.results == "jsonl" else CsvLines(columns)
    form = TextForm(job.input.encoding, rows.has_mark)
    if rows.columns is None:
        return Formats(results, RejectedJson(redact, form), redact, columns)
    suffix = ".tsv" if rows.files and ".tsv" in rows.files[0].suffixes else ".csv"
    reject = RejectedCsv(rows.columns, rows.delimiter, form, redact, suffix)
    return Formats(results, reject, redact, columns)
