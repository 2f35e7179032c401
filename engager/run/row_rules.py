"""The rules of a job by which rows are left out: repeats, exclusion lists, and whom earlier runs reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engager.config.job import JobFile
from engager.errors import JobError
from engager.models import EngageRequest, Row
from engager.reader.outcome_lines import REASON_COLUMNS
from engager.reader.rows import Rows
from engager.requests.builder import Builder
from engager.requests.exclusion import ExcludedSource, Exclusion, Lists
from engager.requests.key_forms import PhoneForm, fold_of, phone_form
from engager.requests.keys import DIGEST_SIZE
from engager.requests.repeats import OnRepeat, RepeatDetector
from engager.requests.selection import Selection
from engager.run.earlier_runs import leave_out_reached
from engager.store.disk import read_file
from engager.store.run_directory import RunDirectory

#: Rows whose telephone numbers are looked at before a run, at most: it takes some hundredths of a second.
FIRST_RECORDS = 1000


def selection_of(
    job_file: JobFile,
    builder: Builder,
    after: Sequence[str] = (),
    observe: bool = False,
    salt: bytes | None = None,
) -> Selection | None:
    """The rules by which rows are left out; None where there are none. Raises InputError.

    Args:
        job_file: the job.
        builder: builds its requests; it is asked for all that a profile is matched by, where a rule needs it.
        after: earlier runs, whose people are left out.
        observe: repeats are looked for although the job does not leave them out.
        salt: of the digests of excluded keys, by which a later start compares them.

    """
    given = job_file.job.input
    unique = given.unique or observe
    if not unique and not given.lists and not after:
        return None
    builder.identifies = unique
    fold = fold_of(*builder.key_fields, region=given.region)
    return Selection(unique, _exclusion(job_file, builder, after, salt), fold)


def _exclusion(
    job_file: JobFile, builder: Builder, after: Sequence[str], salt: bytes | None
) -> Exclusion | None:
    """The keys whose rows are left out. Raises JobError, InputError or RunDirectoryError."""
    lists, runs = _lists_and_runs(job_file)
    if not lists and not runs and not after:
        return None
    if lists and builder.key_field == "custom_request":
        text = "a custom_request has no key that a list could hold; leave such rows out of the input"
        raise JobError(job_file.at("input.exclude", text))
    exclusion = Exclusion(fold_of(builder.key_field, region=job_file.job.input.region), salt)
    try:
        _lists(job_file, builder, lists).add_to(exclusion)
        for run in (*runs, *map(Path, after)):
            leave_out_reached(exclusion, run)
    except BaseException:
        exclusion.close()
        raise
    return exclusion


def _lists_and_runs(job_file: JobFile) -> tuple[list[str], list[Path]]:
    """What `input.exclude` names: files of keys, and run directories."""
    given = job_file.job.input.lists
    runs = [name for name in given if (job_file.base / name / "run.json").is_file()]
    return [name for name in given if name not in runs], [job_file.base / name for name in runs]


def sources_of(selection: Selection | None) -> list[ExcludedSource]:
    """The lists of a job, and the earlier runs whose people are left out."""
    return selection.excluded.sources if selection and selection.excluded else []


def warning_of(source: ExcludedSource) -> str | None:
    """What is odd about a list or a run: it has no keys."""
    return None if source.keys else f"{source}: it leaves nobody out"


def repeats_of(job_file: JobFile, builder: Builder, on_repeat: OnRepeat) -> RepeatDetector | None:
    """Who looks for a repeat; None where the job says what is to become of repeats, one way or the other."""
    if "unique" in job_file.job.input.model_fields_set:
        return None
    builder.identifies = builder.key_is_part
    return RepeatDetector(fold_of(*builder.key_fields, region=job_file.job.input.region), on_repeat)


class PhoneForms:
    """The forms of the telephone numbers that people are matched by, where no region makes them one form."""

    def __init__(self, job_file: JobFile, builder: Builder) -> None:
        self._is_wanted = builder.key_field == "phone" and job_file.job.input.region is None
        self._rows: Counter[PhoneForm] = Counter()
        self._examples: dict[PhoneForm, int] = {}

    def note(self, request: EngageRequest | None) -> None:
        """Count the number of one row, if it has a request."""
        if self._is_wanted and request is not None:
            form = phone_form(request.key)
            self._rows[form] += 1
            self._examples.setdefault(form, request.row.number)

    @property
    def warnings(self) -> list[str]:
        """A warning if one person may have several keys."""
        if len(self._rows) < 2:
            return []
        forms = "; ".join(
            f"{count:,} {form} (such as row {self._examples[form]})"
            for form, count in self._rows.most_common()
        )
        return [
            f"request.phone: the numbers have several forms: {forms}. One person in two forms counts as two. "
            'input.region = "RU", or another country, brings them to one form'
        ]


def warnings_of_phones(job_file: JobFile, builder: Builder, rows: Rows) -> list[str]:
    """Warn of several forms among the rows that were read before the first is sent."""
    forms = PhoneForms(job_file, builder)
    if builder.key_field == "phone":
        for record in rows.first_records[:FIRST_RECORDS]:
            built = builder.build(record) if isinstance(record, Row) else None
            forms.note(built if isinstance(built, EngageRequest) else None)
    return forms.warnings


def warnings_of_reasons(rows: Rows, job_file: JobFile, after: Sequence[str]) -> list[str]:
    """Say that an input comes from a run whose people are not left out."""
    names = rows.peek_keys() if rows.columns is None else rows.columns
    if after or _lists_and_runs(job_file)[1] or not set(REASON_COLUMNS).intersection(names):
        return []
    runs = sorted({str(file.parent) for file in rows.files if (file.parent / "run.json").exists()})
    return [
        "the input has columns engager_…: it comes from a run, and whom that run has reached may be in it "
        f"again. --after {' '.join(runs) or 'RUN'} leaves them out"
    ]


def _lists(job_file: JobFile, builder: Builder, lists: Sequence[str]) -> Lists:
    given = job_file.job.input
    return Lists(
        lists,
        job_file.base,
        builder.key_field,
        builder.key_columns,
        given.exclude_column,
        given.exclude_encoding,
        frozenset(given.empty),
    )


def lost_keys(found: RunDirectory, exclusion: Exclusion | None) -> int:
    """How many keys of an earlier start are left out no more: a list may grow, and nothing else."""
    if not found.excluded_path.exists():
        return 0
    known = read_file(found.excluded_path)
    return len(known) // DIGEST_SIZE if exclusion is None else exclusion.missing(known)
