"""The text of a job file for a sample: valid at once, with every key and without any value of a row.

The endpoint is the embedded sandbox, and the scenario is a placeholder that is sent to no other endpoint, so
that a job file that was not read to its end reaches no person.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from engager.altcraft.methods import METHOD_MEANING, START, Method
from engager.altcraft.parameters import MEANINGS
from engager.config.job_sections import (
    BATCH_DEFAULTS,
    SANDBOX,
    UNCHOSEN,
    BatchSection,
    Job,
    JobSection,
)
from engager.config.placeholders import escaped
from engager.config.sections import Section
from engager.errors import InputError, JobError
from engager.init import toml_text
from engager.init.columns import column_of, obstacle, template_of
from engager.init.matching import CUSTOM, MatchingKey, key_of
from engager.init.profile import Profile, profile_of
from engager.init.sample import InputSample
from engager.models import Unreadable

#: The column at which comments begin.
_MARGIN = 41

#: Values that are set, each with its comment.
Given = Mapping[str, tuple[Any, str]]

_URL = "https://ru.altkraft.com"
_NOT_SET = "(not set) "

#: The keys, by section, that keep small what a mistake in the job or in the input does to people.
_ADVISED = {"limits": "confirm_above", "stop": "max_failed", "window": "hours"}

_OPTIONAL = {
    "resource_id": "24",
    "subscription_filter": "{{ {field} = {template}, not_strict = true }}",
    "db_id": "1",
    "skip_invalid_subscriptions": "true",
    "detect_geo": "true",
    "custom_data": '{{ source = "file" }}',
    "attach": '["files/offer.pdf"]',
}


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a job file, and warnings for its reader."""

    text: str
    key: MatchingKey
    columns: int  #: number of columns besides the key
    place: str  #: the parameter that has them
    warnings: list[str] = field(default_factory=list)


def draft(sample: InputSample, name: str, input_path: str, method: Method = START) -> Draft:
    """Write a job for an input; `input_path` is relative to the job file. Raises InputError."""
    obstacles = {column: obstacle(column, sample) for column in dict.fromkeys(sample.columns)}
    usable = [column for column, why in obstacles.items() if not why]
    if not usable:
        whys = "; ".join(f"{toml_text.text(column)}: {why}" for column, why in obstacles.items())
        raise InputError(f"no column of the input can be used in a job. {whys or 'The rows are empty'}.")
    key = key_of(sample, usable)
    templates = {
        column: str(template_of(column_of(sample, column), sample))
        for column in usable
        if column != key.column
    }
    left_out = {column: why for column, why in obstacles.items() if why}
    profile = profile_of(sample, key, templates) if method.is_import else None
    if profile is not None:
        left_out |= profile.left_out
    sections: dict[str, Given] = {
        "job": {"name": (name, _described(JobSection, "name"))},
        "endpoint": {
            "url": (SANDBOX, "the embedded sandbox: a run is a rehearsal and reaches no person"),
            "token": ("env:ALTCRAFT_TOKEN", "the environment variable with the API token"),
        },
        "input": _input(sample, input_path),
    }
    request = [*_request(sample, key, method)]
    request += _content(templates) if profile is None else _data(profile)
    request += [f"# not used: {toml_text.text(column)}, because {why}\n" for column, why in left_out.items()]
    blocks = [_head(sample), *_sections(sections, "".join(request), method)]
    place, columns = ("content", len(templates)) if profile is None else ("data", len(profile.fields))
    return Draft("\n".join(blocks), key, columns, place, _warnings(sample, key, left_out))


def _head(sample: InputSample) -> str:
    return (
        f"# Written by `engager init` from the header and {_rows(sample)}.\n"
        "# A line with # shows a default, or an example (not set). Remove the # to set it.\n"
        "# CHANGE marks what you must choose before people can be reached: the scenario and the endpoint.\n"
        "# ADVISED marks what keeps a mistake small: a confirmation, a failure threshold, a sending window.\n"
    )


def _rows(sample: InputSample) -> str:
    if not sample.rows:
        return "no row"
    return f"{'all' if sample.whole else 'the first'} {len(sample.rows):,} rows"


def _input(sample: InputSample, path: str) -> Given:
    given: dict[str, tuple[Any, str]] = {"path": (escaped(path), "relative to this file")}
    if not sample.named:
        given["format"] = (sample.format, "the name of the file does not say it")
    if sample.delimiter is not None:
        given["delimiter"] = (sample.delimiter, "")
    if sample.encoding.remark:
        given["encoding"] = (sample.encoding.name, sample.encoding.remark)
    return given


def _sections(sections: Mapping[str, Given], request: str, method: Method) -> Iterator[str]:
    for name, described in Job.model_fields.items():
        if name == "cluster":  # for few jobs, and its keys go together: the manual has them
            continue
        model = _model(described.annotation)
        if name == "request":
            yield request
        elif model is not None:
            yield _section(name, model, sections.get(name, {}), method)
        else:
            examples = (described.examples or [{}])[0].items()
            lines = [_line(f"# {key} = {toml_text.value(value)}", _NOT_SET) for key, value in examples]
            yield "".join((_line(f"# [{name}]", str(described.description)), *lines))


def _model(annotation: Any) -> type[Section] | None:
    choices = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((kind for kind in choices if isinstance(kind, type) and issubclass(kind, Section)), None)


def _section(name: str, model: type[Section], given: Given, method: Method) -> str:
    # A section with required keys must not be empty, and the keys of a batch need a method that has batches.
    idle = model is BatchSection and not method.is_batch
    defaults = BATCH_DEFAULTS.get(name, {}) if method.is_batch else {}
    optional = idle or (not given and any(field.is_required() for field in model.model_fields.values()))
    lines = [f"{'# ' if optional else ''}[{name}]\n"]
    for key in model.model_fields:
        if key in given:
            value, remark = given[key]
            lines.append(_line(f"{key} = {toml_text.value(value)}", remark))
            if (name, key) == ("endpoint", "url"):
                lines.append(_line(f"# url = {toml_text.value(_URL)}", "CHANGE: the address of the platform"))
        elif model.model_fields[key].is_required():
            lines.append(_line(f"# {key} = …", _described(model, key)))
        else:
            value, holds = (defaults[key], True) if key in defaults else model.written(key)
            remark = ("" if holds and not idle else _NOT_SET) + _advice(name, key) + _described(model, key)
            lines.append(_line(f"# {key} = {toml_text.value(value)}", remark))
    return "".join(lines)


def _advice(section: str, key: str) -> str:
    return "ADVISED: " if _ADVISED.get(section) == key else ""


def _described(model: type[Section], key: str) -> str:
    return str(model.model_fields[key].description).replace("`", "")


def _line(text: str, remark: str = "") -> str:
    return f"{text:<{_MARGIN - 1}} # {remark.rstrip()}\n" if remark else f"{text}\n"


def _request(sample: InputSample, key: MatchingKey, method: Method) -> Iterator[str]:
    unchosen = "CHANGE: the number of the scenario. Only the sandbox accepts this one"
    yield "[request]\n"
    if method is START:
        yield _line(f"# method = {toml_text.text(method.name)}", _NOT_SET + METHOD_MEANING.replace("`", ""))
    else:
        yield _line(f"method = {toml_text.text(method.name)}", METHOD_MEANING.replace("`", ""))
    yield _line(f"{method.scenario} = {UNCHOSEN}", unchosen)
    yield _line(f'matching = "{key.mode}"', f"how the profile is found: {', '.join(method.matching)}")
    yield from _key_lines(sample, key, method)
    if "skip_triggers" in method.parameters:
        yield _line("skip_triggers = true", MEANINGS["skip_triggers"])
        yield _line('# content = { campaign = "spring" }', _NOT_SET + MEANINGS["content"])
    field_ = method.matching[key.mode].fields[0]
    for name, form in _OPTIONAL.items():
        if name not in method.known or (name == "subscription_filter" and field_ not in ("email", "phone")):
            continue
        example = form.format(field=field_, template=toml_text.text(key.template))
        yield _line(f"# {name} = {example}", _NOT_SET + MEANINGS[name])


def _content(templates: Mapping[str, str]) -> Iterator[str]:
    yield (
        f"\n# {MEANINGS['content']} The text after | is used if the column is empty:\n"
        '# "{name|friend}". A cast converts a text to a number: "{age:int}"; "{age:int|}" is null if empty.\n'
        "[request.content]\n"
    )
    names = _content_names(templates)
    for column, text in templates.items():
        yield _line(f"{toml_text.key(names[column])} = {toml_text.text(text)}")


def _data(profile: Profile) -> Iterator[str]:
    yield (
        f"\n# {MEANINGS['data']}\n"
        "# CHANGE the names on the left to those of the fields of the base, and add to each subscription\n"
        "# the resource_id of its resource. Messages are sent to subscriptions only.\n"
        "[request.data]\n"
    )
    for name, value in profile.fields.items():
        yield _line(f"{toml_text.key(name)} = {value}")
    if profile.subscriptions:
        tables = "".join(f"    {table},\n" for table in profile.subscriptions)
        yield f"subscriptions = [\n{tables}]\n"


def _key_lines(sample: InputSample, key: MatchingKey, method: Method) -> Iterator[str]:
    fields = method.matching[key.mode].fields
    fitting = f"valid in {key.fitting:,} of {_rows(sample)}" if sample.rows else MEANINGS[fields[0]]
    yield _line(f"{fields[0]} = {toml_text.text(key.template)}", fitting)
    if key.mode == CUSTOM:
        remark = "CHANGE: the name of the field of the profile with this value"
        yield _line(f"field_name = {toml_text.text(key.column)}", remark)


def _content_names(templates: Mapping[str, str]) -> Mapping[str, str]:
    """Names in `content`: without surrounding blanks, if they stay distinct."""
    bare = [column.strip() for column in templates]
    return {
        column: name if bare.count(name) == 1 else column
        for column, name in zip(templates, bare, strict=True)
    }


def _warnings(sample: InputSample, key: MatchingKey, left_out: Mapping[str, str]) -> list[str]:
    warnings = [
        f"column {toml_text.text(column)} is not used, because {why}" for column, why in left_out.items()
    ]
    if sample.encoding.remark:
        warnings.append(f"input.encoding is {sample.encoding.name}, {sample.encoding.remark}")
    if sample.unreadable:
        warnings.append(_unreadable(sample.unreadable))
    if key.mode == CUSTOM:
        warnings.append(
            f"no column has addresses, phones or profile ids: people are matched by "
            f"{toml_text.text(key.column)}. Verify request.field_name"
        )
    elif key.fitting < len(sample.rows):
        warnings.append(
            f"request.{START.matching[key.mode].fields[0]}: {len(sample.rows) - key.fitting:,} of "
            f"{_rows(sample)} have no valid value in {toml_text.text(key.column)}"
        )
    return warnings


def _unreadable(records: Sequence[Unreadable]) -> str:
    first = records[0]
    which = f"row {first.number} ({first.source}, line {first.line})"
    if len(records) == 1:
        return f"{which} cannot be read and will be invalid: {first.error_text}"
    text = f"{len(records):,} of the first rows cannot be read and will be invalid; the first is"
    return f"{text} {which}: {first.error_text}"


def path_from(job_path: Path, input_path: str) -> str:
    """The path of the input relative to the job file. Raises JobError for a name that TOML cannot contain."""
    folder = job_path.parent.resolve()
    given = Path(input_path)
    # The last part stays as it is, because it may be a link or a glob.
    path = os.path.relpath(given.parent.resolve() / given.name, folder)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise JobError(f"{path!r}: a job file cannot contain the name of this file; rename it.") from None
    return path if path != "-" else "./-"
