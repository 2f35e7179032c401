"""Opens the input of a job, compiles and packs its requests, in the same way for every command."""

from __future__ import annotations

from pathlib import Path

from engager.config.job import JobFile
from engager.config.sanitize import name_fault
from engager.endpoint.access import spec_of
from engager.errors import InputError, JobError, ParameterError
from engager.reader.input_verifier import InputVerifier
from engager.reader.rows import InputSpec, Rows, open_rows
from engager.requests.builder import NO_COLUMN, Builder, compile_builder
from engager.requests.packing import BatchForm, Packer


def place_of_input(job_file: JobFile, input_path: str | None) -> tuple[str, Path]:
    """The path of the job's input, or of another one, and the folder that it is relative to.

    The job names its input from its own folder, a command from the working directory.
    """
    return (input_path, Path.cwd()) if input_path else (job_file.job.input.path, job_file.base)


def open_input(job_file: JobFile, input_path: str | None, verifier: InputVerifier | None = None) -> Rows:
    """Open the input of the job, or `input_path` relative to the working directory. Raises InputError."""
    given = job_file.job.input
    path, base = place_of_input(job_file, input_path)
    spec = InputSpec(
        path=path,
        base=base,
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
        source = ", ".join(map(str, rows.files)) or "stdin"
        raise JobError(
            f"{source}: no row at the beginning of the input has {', '.join(map(repr, absent))}. Correct the "
            "names of columns in [request], or the input."
        )
