"""The rules of a job by which rows are skipped: repeats, exclusion lists, and people of earlier runs."""

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
from engager.requests.key_forms import PhoneForm, fold_of, fold_of_listed, parts_of, phone_form
from engager.requests.keys import DIGEST_SIZE
from engager.requests.repeats import OnRepeat, RepeatDetector
from engager.requests.selection import Selection
from engager.run.earlier_runs import exclude_reached
from engager.store.disk import read_file
from engager.store.run_directory import RunDirectory

#: Rows whose telephone numbers are looked at before a run, at most: it takes some hundredths of a second.
FIRST_RECORDS = 1000


def selection_of(
    job_file: JobFile,
    builder: Builder,
    after: Sequence[str] = (),
    own: Path | None = None,
    observe: bool = False,
    salt: bytes | None = None,
) -> Selection | None:
    """The rules by which rows are skipped; None if there are none. Raises InputError.

    Args:
        job_file: the job.
        builder: builds its requests; if a rule needs it, with all that a profile is matched by.
        after: earlier runs, whose people are excluded.
        own: the directory of the run that is prepared.
        observe: detect repeats also if the job does not skip them.
        salt: of the digests of excluded keys, by which a later start compares them.

    """
    given = job_file.job.input
    unique = given.unique or observe
    if not unique and not given.lists and not after:
        return None
    listed = len(builder.listed_fields)
    builder.identifies = unique or listed > 1
    fold = fold_of(*builder.key_fields, region=given.region)
    return Selection(unique, _exclusion(job_file, builder, after, own, salt), fold, listed)


def _exclusion(
    job_file: JobFile, builder: Builder, after: Sequence[str], own: Path | None, salt: bytes | None
) -> Exclusion | None:
    """The excluded keys. Raises JobError, InputError or RunDirectoryError."""
    lists, runs = _lists_and_runs(job_file)
    if not lists and not runs and not after:
        return None
    if lists and builder.key_field == "custom_request":
        text = "a custom_request has no key that a list could contain; remove such rows from the input"
        raise JobError(job_file.at("input.exclude", text))
    fold = fold_of_listed(builder.listed_fields, job_file.job.input.region)
    exclusion = Exclusion(fold, salt, _has_forms(job_file, builder))
    try:
        _lists(job_file, builder, lists).add_to(exclusion)
        exclude_reached(exclusion, [*runs, *map(Path, after)], own)
    except BaseException:
        exclusion.close()
        raise
    return exclusion


def _lists_and_runs(job_file: JobFile) -> tuple[list[str], list[Path]]:
    """The files of keys and the run directories that `input.exclude` names."""
    given = job_file.job.input.lists
    runs = [name for name in given if (job_file.base / name / "run.json").is_file()]
    return [name for name in given if name not in runs], [job_file.base / name for name in runs]


def sources_of(selection: Selection | None) -> list[ExcludedSource]:
    """The exclusion lists and the earlier runs of a selection."""
    return selection.excluded.sources if selection and selection.excluded else []


def warning_of(source: ExcludedSource) -> str | None:
    """The warning of a list or a run that has no keys; otherwise None."""
    return None if source.keys else f"{source}: it excludes no row"


def repeats_of(job_file: JobFile, builder: Builder, on_repeat: OnRepeat) -> RepeatDetector | None:
    """The detector of repeats; None if the job says how to treat repeats."""
    if "unique" in job_file.job.input.model_fields_set:
        return None
    builder.identifies = builder.key_is_part
    return RepeatDetector(fold_of(*builder.key_fields, region=job_file.job.input.region), on_repeat)


class PhoneForms:
    """The forms of the telephone numbers that people are matched by, where no region makes them one form."""

    def __init__(self, job_file: JobFile, builder: Builder) -> None:
        #: Whether forms matter to this job; otherwise no number is counted.
        self.is_wanted = _has_forms(job_file, builder)
        self._fields = builder.listed_fields
        self._numbers: Counter[PhoneForm] = Counter()
        self._examples: dict[PhoneForm, str] = {}

    def note(self, request: EngageRequest | None) -> None:
        """Count the number of one row, if it has a request."""
        if self.is_wanted and request is not None:
            parts = [request.key] if len(self._fields) == 1 else parts_of(request.identity, len(self._fields))
            form = phone_form(parts[self._fields.index("phone")])
            self._numbers[form] += 1
            self._examples.setdefault(form, f"row {request.row.number}")

    def note_listed(self, sources: Sequence[ExcludedSource]) -> None:
        """Count the numbers of lists, which exclude no row that has another form."""
        for source in sources:
            self._numbers += source.forms
            for form in source.forms:
                self._examples.setdefault(form, f"in {source.name}")

    @property
    def warnings(self) -> list[str]:
        """A warning if one person may have several keys."""
        if len(self._numbers) < 2:
            return []
        forms = "; ".join(
            f"{count:,} {form} (such as {self._examples[form]})"
            for form, count in self._numbers.most_common()
        )
        return [
            f"request.phone: the numbers have several forms: {forms}. One person in two forms counts as two. "
            'input.region = "RU", or another country, brings them to one form'
        ]


def _has_forms(job_file: JobFile, builder: Builder) -> bool:
    """Whether people are matched by telephone numbers that no region brings to one form."""
    return "phone" in builder.listed_fields and job_file.job.input.region is None


def warnings_of_phones(
    job_file: JobFile, builder: Builder, rows: Rows, sources: Sequence[ExcludedSource]
) -> list[str]:
    """Warn of several forms among lists and the rows that were read before the first is sent."""
    forms = PhoneForms(job_file, builder)
    if forms.is_wanted:
        identifies, builder.identifies = builder.identifies, True
        for record in rows.first_records[:FIRST_RECORDS]:
            built = builder.build(record) if isinstance(record, Row) else None
            forms.note(built if isinstance(built, EngageRequest) else None)
        builder.identifies = identifies
        forms.note_listed(sources)
    return forms.warnings


def warnings_of_reasons(rows: Rows, job_file: JobFile, after: Sequence[str]) -> list[str]:
    """Warn of an input that comes from a run whose people are not excluded."""
    names = rows.peek_keys() if rows.columns is None else rows.columns
    if after or _lists_and_runs(job_file)[1] or not set(REASON_COLUMNS).intersection(names):
        return []
    runs = sorted({str(file.parent) for file in rows.files if (file.parent / "run.json").exists()})
    return [
        "the input has columns engager_…: it comes from a run, and may contain people that it reached. "
        f"--after {' '.join(runs) or 'RUN'} excludes them"
    ]


def _lists(job_file: JobFile, builder: Builder, lists: Sequence[str]) -> Lists:
    given = job_file.job.input
    return Lists(
        lists,
        job_file.base,
        {name: builder.columns_of(name) for name in builder.listed_fields},
        given.exclude_column,
        given.exclude_encoding,
        frozenset(given.empty),
    )


def lost_keys(found: RunDirectory, exclusion: Exclusion | None) -> int:
    """The number of keys of an earlier start that are not excluded any more: lists may only grow."""
    if not found.excluded_path.exists():
        return 0
    known = read_file(found.excluded_path)
    return len(known) // DIGEST_SIZE if exclusion is None else exclusion.missing(known)
