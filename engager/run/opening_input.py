"""Opens the input of a job, compiles and packs its requests, in the same way for every command."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from engager.config.job import FROM_PROGRAM, JobFile
from engager.config.placeholders import expanded, is_dated
from engager.config.sanitize import name_fault
from engager.endpoint.access import spec_of
from engager.errors import InputError, JobError, ParameterError
from engager.reader.input_verifier import InputVerifier
from engager.reader.objects import OBJECTS
from engager.reader.rows import InputSpec, Rows, open_rows
from engager.requests.builder import NO_COLUMN, Builder, compile_builder
from engager.requests.packing import BatchForm, Packer


def moment_of_name(job_file: JobFile, seconds: float) -> datetime:
    """A moment in the time zone of the job, for the dates in its names."""
    return datetime.fromtimestamp(seconds, job_file.job.window.tz)


def place_of_input(job_file: JobFile, input_path: str | None, started_at: float) -> tuple[str, Path]:
    """The path of the input of a run that started then, and the folder that it is relative to.

    The job names its input from its own folder, with the date of the run; a command names another input from
    the working directory. Raises JobError if a program gives the rows, and has not given them.
    """
    if input_path:
        return input_path, Path.cwd()
    path = job_file.job.input.path
    if path == FROM_PROGRAM:
        raise JobError(
            "input: missing. Give the rows as input=, such as engager.run(job, input=rows), or name a file "
            "in input.path of the job."
        )
    if is_dated(path):  # the time zone of this machine is slow to find
        return expanded(path, moment_of_name(job_file, started_at)), job_file.base
    return expanded(path, datetime.min), job_file.base


def open_input(
    job_file: JobFile,
    input_path: str | None,
    started_at: float,
    verifier: InputVerifier | None = None,
    objects: BinaryIO | None = None,
) -> Rows:
    """Open the input of a run that started then, or `input_path` in its place. Raises InputError.

    `objects`: rows of a program, as JSONL, which are read where the input is a stream.
    """
    given = job_file.job.input
    path, base = place_of_input(job_file, input_path, started_at)
    spec = InputSpec(
        path=path,
        base=base,
        format=given.format,
        delimiter=given.delimiter,
        encoding=given.encoding,
        max_row_bytes=given.max_row_bytes,
        multiline=given.multiline,
        on_empty=given.on_empty,
    )
    if objects is not None:
        spec = replace(spec, format="jsonl", encoding="utf-8", examine=False, stream=OBJECTS)
    rows = open_rows(spec, objects, verifier)
    if fault := next(filter(None, (name_fault(str(file)) for file in rows.files)), None):
        rows.close()
        raise InputError(fault)
    return rows


def builder_of(job_file: JobFile, rows: Rows, token: str, run_id: str) -> Builder:
    """Compile the templates of the job for the columns of the input. Raises JobError with file and line."""
    try:
        builder = compile_builder(spec_of(job_file, token), rows.columns, run_id)
    except ParameterError as fault:
        raise job_file.explain(fault) from None
    if builder.is_for_one and rows.has_several:
        raise JobError(job_file.at(f"request.{builder.key_field}", f"{NO_COLUMN}. Name the column"))
    _refuse_absent_columns(builder, rows)
    return builder


def packer_of(job_file: JobFile, builder: Builder) -> Packer | None:
    """Packs the rows of a method whose requests carry several; None for any other method."""
    if not builder.is_batch:
        return None
    form = BatchForm(builder.join, builder.request_ids, builder.frame_bytes, builder.separator_bytes)
    return Packer(form, job_file.job.batch.rows, job_file.job.batch.bytes)


def _refuse_absent_columns(builder: Builder, rows: Rows) -> None:
    if rows.columns is not None or not (seen := rows.peek_keys()):
        return
    if absent := sorted(builder.required_columns - seen):
        raise JobError(
            f"{rows.name}: no row at the beginning of the input has {', '.join(map(repr, absent))}. Correct "
            "the names of columns in [request] and input.filter, or the input."
        )
