"""A job file in, a run that can be sent out: everything that can be checked before a row is sent."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from engager.config.job import JobFile
from engager.config.log import log
from engager.config.placeholders import expanded
from engager.config.sanitize import name_fault
from engager.config.secret import Secret
from engager.endpoint.access import proxy_of, spec_of, tls_of, token_of
from engager.errors import BusyError, InputError, JobError, ParameterError, RunDirectoryError
from engager.events import Summary
from engager.models import Status
from engager.reader.input_verifier import InputVerifier
from engager.reader.rows import InputSpec, Rows, open_rows
from engager.reader.sources import STDIN
from engager.requests.builder import NO_COLUMN, Builder, compile_builder
from engager.requests.exclusion import ExcludedSource, Exclusion, Lists
from engager.requests.key_forms import fold_of
from engager.requests.repeats import OnRepeat, RepeatDetector
from engager.requests.selection import Selection
from engager.run.control import Control
from engager.run.run_selection import known_by, moment_of_name
from engager.store import opening, passes
from engager.store.files.formats import Formats
from engager.store.files.lines import CsvLines, JsonLines, MendableCsv, MendableJson
from engager.store.run_directory import (
    RunDirectory,
    find_run,
    input_identity,
    new_run,
    take_folder,
    whole_identity,
)
from engager.store.status import existing_run
from engager.store.store import ResultStore, StoreOptions

#: Raised when an engager would build other bytes, and so other Request-IDs, from the same row.
REQUEST_FORM = 2

#: Keys of [input] that change what a row is.
READING = {"encoding", "max_row_bytes", "multiline", "region", "empty", "decimal"}


@dataclass(slots=True)
class Run:
    """One carrying-out of a job: made by `prepare`, carried out by `send`."""

    job_file: JobFile
    secret: Secret
    input_path: str | None  #: named instead of the job's
    rows: Rows
    builder: Builder
    selection: Selection | None
    directory: RunDirectory
    store: ResultStore
    resources: ExitStack  #: closes what is open, and gives up the lock
    resumed: bool  #: an earlier process began it
    control: Control = field(default_factory=Control)
    summary: Summary | None = None  #: once `send` ended, however it ended

    @property
    def name(self) -> str:
        """The job's name, at the moment of the run's start."""
        return expanded(self.job_file.job.job.name, moment_of_name(self.job_file, self.directory.started_at))


def open_input(job_file: JobFile, input_path: str | None, verifier: InputVerifier | None = None) -> Rows:
    """Open the job's input, or another one named from the working directory. Raises InputError."""
    given = job_file.job.input
    spec = InputSpec(
        path=input_path or given.path,
        base=Path.cwd() if input_path else job_file.base,
        format=given.format,
        delimiter=given.delimiter,
        encoding=given.encoding,
        max_row_bytes=given.max_row_bytes,
        multiline=given.multiline,
    )
    rows = open_rows(spec, verifier=verifier)
    if fault := next(filter(None, (name_fault(str(file)) for file in rows.files)), None):
        rows.close()
        raise InputError(fault)
    return rows


def builder_of(job_file: JobFile, rows: Rows, token: str, run_id: str) -> Builder:
    """Compile the job's templates against the input's columns. Raises JobError with file and line."""
    try:
        builder = compile_builder(spec_of(job_file, token), rows.columns, run_id)
    except ParameterError as fault:
        raise job_file.explain(fault) from None
    if builder.is_for_one and rows.has_several:
        raise JobError(job_file.at(f"request.{builder.key_field}", f"{NO_COLUMN}. Name the column"))
    _refuse_absent_columns(builder, rows)
    return builder


def selection_of(job_file: JobFile, builder: Builder, observe: bool = False) -> Selection | None:
    """The rules by which rows are left out; None where there are none. Raises InputError.

    `observe`: for whoever wants to know of repeats, whether or not the job leaves them out.
    """
    given = job_file.job.input
    unique = given.unique or observe
    if not unique and not given.lists:
        return None
    builder.identifies = unique
    return Selection(
        unique, _exclusion(job_file, builder), fold_of(*builder.key_fields, region=job_file.job.input.region)
    )


def _exclusion(job_file: JobFile, builder: Builder) -> Exclusion | None:
    """The keys whose rows are left out. Raises JobError or InputError."""
    if not job_file.job.input.lists:
        return None
    if builder.key_field == "custom_request":
        text = "a custom_request has no key that a list could hold; leave such rows out of the input"
        raise JobError(job_file.at("input.exclude", text))
    exclusion = Exclusion(fold_of(builder.key_field, region=job_file.job.input.region))
    try:
        _lists(job_file, builder).add_to(exclusion)
    except BaseException:
        exclusion.close()
        raise
    return exclusion


def sources_of(selection: Selection | None) -> list[ExcludedSource]:
    """The lists of a job, and the earlier runs whose people are left out."""
    return selection.excluded.sources if selection and selection.excluded else []


def warnings_of(selection: Selection | None) -> list[str]:
    """What is odd about the lists of a job: one without keys leaves nobody out."""
    return [f"{source}: it leaves nobody out" for source in sources_of(selection) if not source.keys]


def repeats_of(job_file: JobFile, builder: Builder, on_repeat: OnRepeat) -> RepeatDetector | None:
    """Who looks for a repeat; None where the job says what is to become of repeats, one way or the other."""
    if "unique" in job_file.job.input.model_fields_set:
        return None
    builder.identifies = builder.key_is_part
    return RepeatDetector(fold_of(*builder.key_fields, region=job_file.job.input.region), on_repeat)


def _lists(job_file: JobFile, builder: Builder) -> Lists:
    given = job_file.job.input
    return Lists(
        given.lists,
        job_file.base,
        builder.key_field,
        builder.key_columns,
        given.exclude_column,
        given.exclude_encoding,
        frozenset(given.empty),
    )


def _refuse_absent_columns(builder: Builder, rows: Rows) -> None:
    if rows.columns is not None or not (seen := rows.peek_keys()):
        return
    if absent := sorted(builder.required_columns - seen):
        raise JobError(f"no row at the beginning of the input has {', '.join(map(repr, absent))}.")


def prepare(
    job_file: JobFile, out: Path, input_path: str | None, again: frozenset[Status] = frozenset()
) -> Run | Summary:
    """Check everything that can be checked before a row is sent, and take the run up, new or begun before.

    `again` asks for another pass over the rows of a complete run that have these statuses. Returns the
    summary of a run that is complete and stays so instead. Raises JobError, InputError,
    RunDirectoryError or RecordingError.
    """
    with ExitStack() as opened:
        secret = token_of(job_file)
        tls_of(job_file)
        found = _taken(out, opened)
        if found:  # before it is opened: whoever named the wrong file is not to hear of its bytes and columns
            found.refuse_other_input(known_by(job_file, input_path), _input_name(job_file, input_path))
        rows = open_input(job_file, input_path, InputVerifier(opening.checkpoints(found) if found else ()))
        opened.callback(rows.close)
        directory = found or new_run(out)
        builder = builder_of(job_file, rows, secret.reveal(), directory.run_id)
        builder.warnings += rows.warnings
        rows.warn = log.warning
        identity = _identity(job_file, rows, builder)
        options = _options(job_file, rows, secret, directory.run_id)
        if found:
            found.refuse_other(identity)
            if (summary := _ends_here(found, again)) is not None:
                return summary
        else:
            invocation = _invocation(job_file, rows, input_path)
            directory = replace(directory, identity=identity, invocation=invocation)
            _lock_new(out, opened)
        if (selection := selection_of(job_file, builder)) is not None:
            opened.callback(selection.close)
            builder.warnings += warnings_of(selection)
            builder.notes += [f"leaves out: {source}" for source in sources_of(selection) if source.keys]
        store = (opening.resume if found else opening.begin)(directory, options)
        opened.callback(store.close)
        return Run(
            job_file,
            secret,
            input_path,
            rows,
            builder,
            selection,
            directory,
            store,
            opened.pop_all(),
            found is not None,
        )


def _taken(out: Path, opened: ExitStack) -> RunDirectory | None:
    """The run in a folder, if there is one, under its lock."""
    if find_run(out) is None:
        return None  # a folder is only made when nothing can go wrong any more
    _lock(out, opened)
    return existing_run(out)


def _lock(out: Path, opened: ExitStack) -> None:
    opened.callback(take_folder(out).release)


def _lock_new(out: Path, opened: ExitStack) -> None:
    _lock(out, opened)
    if find_run(out):
        raise BusyError(f"{out}: another process has just begun there. Look, and run again.")


def _ends_here(found: RunDirectory, again: frozenset[Status]) -> Summary | None:
    """The summary of a run that is complete and stays so; if not, another pass is asked for."""
    summary = found.summary()
    if summary is None or not summary.get("complete"):
        if again and passes.latest(found) is None:
            raise RunDirectoryError(f"{found.path}: this run is not complete yet. Go on with it first.")
        return None
    if not any(summary["statuses"][status] for status in again):
        return Summary.from_dict(summary)
    passes.ask_for(found, again)
    return None


def _options(job_file: JobFile, rows: Rows, secret: Secret, run_id: str) -> StoreOptions:
    synced = job_file.job.delivery.durability == "disk"
    return StoreOptions(formats_of(job_file, rows, secret), synced, secret.mark(run_id))


def _invocation(job_file: JobFile, rows: Rows, input_path: str | None) -> dict[str, Any]:
    """What to call for another pass, from wherever, and what is read then."""
    given = os.path.abspath(input_path) if input_path and rows.files else input_path
    return {**job_file.source, "input": given, "reads": _input_name(job_file, input_path)}


def _input_name(job_file: JobFile, input_path: str | None) -> str:
    """What to call the input, from wherever."""
    path = input_path or job_file.job.input.path
    return "stdin" if path == STDIN else os.path.abspath(path if input_path else job_file.base / path)


def _identity(job_file: JobFile, rows: Rows, builder: Builder) -> dict[str, Any]:
    """What would change a request or a row, and so would make it another run."""
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
    if job.input.unique or job.input.lists:
        lists = [whole_identity(file) for file in _lists(job_file, builder).files]
        rules = {"exclude": lists, "exclude_column": job.input.exclude_column}
        identity["input"] |= {"unique": job.input.unique, **rules}
    # As it will be read back: TOML has dates, and JSON has texts.
    return orjson.loads(orjson.dumps(identity))  # type: ignore[no-any-return]


def formats_of(job_file: JobFile, rows: Rows, secret: Secret) -> Formats:
    """How the files of outcomes look."""
    job, proxy = job_file.job, proxy_of(job_file)

    def redact(text: str) -> str:
        return secret.redact(proxy.redact(text) if proxy else text)

    results = JsonLines() if job.output.results == "jsonl" else CsvLines()
    if rows.columns is None:
        return Formats(results, MendableJson(redact), redact)
    return Formats(results, MendableCsv(rows.columns, rows.delimiter, job.input.encoding, redact), redact)
