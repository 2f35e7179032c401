"""Inputs on the disk, and the jobs that are written for them."""

from __future__ import annotations

from pathlib import Path

from engager.altcraft.methods import START, Method
from engager.config.job import JobFile
from engager.init.job_text import Draft, draft, path_from
from engager.init.sample import InputSample, read_sample
from engager.models import EngageRequest, Invalid, Row, Skipped
from engager.run.opening_input import builder_of, open_input


def sampled(folder: Path, content: str | bytes, name: str = "people.csv") -> InputSample:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return read_sample(name, folder)


def drafted(
    folder: Path, content: str | bytes, name: str = "people.csv", method: Method = START
) -> tuple[Draft, JobFile]:
    """The draft of a job, and the job once it is written."""
    sample = sampled(folder, content, name)
    job = folder / "job.toml"
    made = draft(sample, "test", path_from(job, str(folder / name)), method)
    job.write_text(made.text, encoding="utf-8")
    return made, JobFile(job)


def built(job: JobFile) -> list[EngageRequest | Invalid | Skipped]:
    """What the rows of the job's input become."""
    rows = open_input(job, None, 0.0)
    try:
        builder = builder_of(job, rows, "token", "run")
        records = [record for chunk in rows.chunks() for record in chunk]
    finally:
        rows.close()
    return [builder.build(record) for record in records if isinstance(record, Row)]


def content_of(job: JobFile) -> dict[str, str]:
    return job.job.request["content"]  # type: ignore[no-any-return]
