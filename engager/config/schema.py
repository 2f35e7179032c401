"""The JSON Schema (draft 2020-12) of the job file, from its sections and the rules of its parameters.

A run refuses everything that the schema refuses. The schema accepts more: only `engager check` knows whether
a column exists or an address is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from engager.altcraft.attachments import ATTACHMENT_KEYS
from engager.altcraft.methods import METHOD_MEANING, METHODS, START, Method
from engager.altcraft.parameters import DEFAULT_MATCHING, FILTERS, FURTHER_PARAMETERS, MEANINGS, Rule
from engager.altcraft.profile_data import ACTION, CHANNELS, PART_MEANINGS, SHAPES, Shape
from engager.config.job_sections import Job
from engager.config.profiles import NAME
from engager.config.sections import Section
from engager.sandbox.config import Assumptions, SandboxConfig
from engager.sandbox.faults import FAULTS, ITEM_FAULTS

#: A text that contains a column.
_TEMPLATE = {"type": "string", "pattern": r"\{", "description": 'A column: "{column}".'}

#: One value of every TOML type that a parameter may have.
_PROBES: Mapping[str, Any] = {
    "string": "x",
    "integer": 1,
    "number": 1.5,
    "object": {},
    "array": [],
    "boolean": True,
}


def job_schema() -> dict[str, Any]:
    """The schema of a whole job file."""
    sections = _sections()
    for section in sections.values():
        # Their building is deferred, and some versions of pydantic do not build what a default needs.
        section.model_rebuild()
    schema = Job.model_json_schema(schema_generator=_OfToml)
    for name, section in sections.items():
        _put_defaults(schema["$defs"][section.__name__]["properties"], section)
        schema["properties"][name].pop("default", None)
    request = {"description": schema["properties"]["request"]["description"], **_request()}
    sandbox = {"description": schema["properties"]["sandbox"]["description"], **_sandbox()}
    profiles = {"description": schema["properties"]["profiles"]["description"], **_profiles(schema, sandbox)}
    schema["properties"] |= {"request": request, "sandbox": sandbox, "profiles": profiles}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **schema,
        "title": "A job of engager",
        "allOf": [_further_only_when_asked(), _token_for_the_platform(), _batch_with_its_methods()],
    }


class _OfToml(GenerateJsonSchema):
    """Omits null, which TOML does not have."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        """The schema of the value if the key is present."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Whether a field gets a title: never, because its key is enough."""
        return False


def _sections() -> Mapping[str, type[Section]]:
    kinds = {name: described.annotation for name, described in Job.model_fields.items()}
    return {
        name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)
    }


def _profiles(schema: Mapping[str, Any], sandbox: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of sections: none of their keys is required, and rules of the whole job do not apply."""
    parts: dict[str, Any] = {
        name: _closed(schema["$defs"][section.__name__]["properties"])
        for name, section in _sections().items()
    }
    request = {"type": "object", "propertyNames": {"enum": ["method", *MEANINGS]}}
    profile = _closed({**parts, "request": request, "sandbox": sandbox})
    return {**_closed({}), "patternProperties": {f"^{NAME}$": profile}}


def _put_defaults(properties: dict[str, Any], section: type[Section]) -> None:
    """Set every default in the form of a job file."""
    for key, described in section.model_fields.items():
        if not described.is_required():
            value, holds = section.written(key)
            properties[key].pop("default", None)
            if holds and value is not None:
                properties[key]["default"] = value


def _request() -> dict[str, Any]:
    methods = {"description": METHOD_MEANING, "enum": list(METHODS), "default": START.name}
    described = {name: {"description": meaning} for name, meaning in MEANINGS.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {"method": methods, **described},
        "allOf": [{"if": _is(method), "then": _of_method(method)} for method in METHODS.values()],
    }


def _is(method: Method) -> dict[str, Any]:
    """A [request] table with this method, which is the one of a table that names none if it is `start`."""
    named = {"properties": {"method": {"const": method.name}}}
    return named if method is START else {**named, "required": ["method"]}


def _of_method(method: Method) -> dict[str, Any]:
    known: dict[str, Any] = {name: _of_parameter(name, method) for name in method.parameters}
    known["matching"] = {"enum": list(method.modes(True)), "default": DEFAULT_MATCHING}
    known["attach"] = _attach()
    others = dict.fromkeys((name for name in MEANINGS if name not in known), False)
    keys = [name for name in ("matching", "email", "custom_request") if name in known]
    return {
        "properties": {**known, **others},
        "required": [method.scenario],
        "allOf": [
            {
                "if": {"properties": {"matching": {"const": mode}}, "required": ["matching"]},
                "then": {"required": list(way.fields)},
            }
            for mode, way in method.modes(True).items()
        ],
        "dependentSchemas": {
            "custom_request": {"properties": {"matching": False, "subscription_filter": False}}
        },
        "anyOf": [{"required": [name]} for name in keys],
    }


def _of_parameter(name: str, method: Method) -> dict[str, Any]:
    if name == "subscription_filter":
        return {"anyOf": [*map(_filter, FILTERS), _TEMPLATE]}
    if name in SHAPES:
        return _shaped(SHAPES[name])
    # What stands once in a batch holds no column, except that every row may have its own content.
    is_same = name in method.once and name != "content"
    return _parameter(method.parameters[name], templates=[] if is_same else [_TEMPLATE])


def _shaped(shape: Shape) -> dict[str, Any]:
    """A part of the data of a profile; wherever it is, a column may stand in its place."""
    if shape.rule is None:
        return {}
    schema = _parameter(shape.rule)
    choices: list[dict[str, Any]] = schema.get("anyOf", [schema])
    for choice in choices:
        if choice.get("type") == "object" and shape.parts:
            choice["properties"] = {name: _described_part(name, part) for name, part in shape.parts.items()}
            choice["additionalProperties"] = shape.others is not None
        elif choice.get("type") == "array" and shape.items:
            choice["items"] = _shaped(shape.items)
    functions = [{"type": "object", "required": [ACTION]}] if shape.takes_functions else []
    return {"anyOf": [*choices, *functions]}


def _described_part(name: str, part: Shape) -> dict[str, Any]:
    if name == "channel":
        return {"description": PART_MEANINGS[name], "anyOf": [{"enum": list(CHANNELS)}, _TEMPLATE]}
    return {"description": PART_MEANINGS[name], **_shaped(part)}


def _parameter(rule: Rule, templates: Sequence[dict[str, Any]] = (_TEMPLATE,)) -> dict[str, Any]:
    """The types that a rule accepts, and templates. The rule itself is asked."""
    types = [_typed(kind, probe, rule) for kind, probe in _PROBES.items() if _takes(rule, probe)]
    choices = types if _takes(rule, "x") else [*types, *templates]
    return {"anyOf": choices} if len(choices) > 1 else choices[0]


def _takes(rule: Rule, probe: Any) -> bool:
    wrong = rule(probe)
    return wrong is None or wrong[0] != "wrong_type"


def _typed(kind: str, probe: Any, rule: Rule) -> dict[str, Any]:
    """A type, with its lower bound if the rule has one."""
    least = {"integer": ("minimum", 0, 1), "string": ("minLength", "", 1), "object": ("minProperties", {}, 1)}
    word, nothing, one = least.get(kind, ("", probe, 0))
    return {"type": kind, word: one} if word and rule(nothing) else {"type": kind}


def _filter(variant: Mapping[str, Rule]) -> dict[str, Any]:
    properties = {name: _parameter(rule) for name, rule in variant.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**properties, "not_strict": {"anyOf": [{"type": "boolean"}, _TEMPLATE]}},
        "required": list(properties),
    }


def _attach() -> dict[str, Any]:
    text = {"type": "string", "pattern": "^[^{}]*$"}
    table = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict.fromkeys(ATTACHMENT_KEYS, text),
        "required": ["path"],
    }
    return {"type": "array", "items": {"anyOf": [text, table]}}


def _sandbox() -> dict[str, Any]:
    texts_or_numbers = {"type": ["string", "number"]}
    properties: dict[str, Any] = {setting.name: {} for setting in fields(SandboxConfig)}
    properties |= {"latency": texts_or_numbers, "retry_after": texts_or_numbers}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    properties["faults"] = _closed(dict.fromkeys((*FAULTS, *ITEM_FAULTS), share))
    properties["assumptions"] = _closed(
        {name: _switch(hint) for name, hint in get_type_hints(Assumptions).items()}
    )
    return _closed(properties)


def _switch(hint: Any) -> dict[str, Any]:
    if choices := get_args(hint):
        return {"enum": list(choices)}
    return {"type": {bool: "boolean", int: "integer", float: "number"}[hint]}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


def _further_only_when_asked() -> dict[str, Any]:
    asked = {"properties": {"further_matching": {"const": True}}, "required": ["further_matching"]}
    page = {
        "properties": dict.fromkeys(sorted(FURTHER_PARAMETERS), False),
        "allOf": [
            {"if": _is(method), "then": {"properties": {"matching": {"enum": list(method.matching)}}}}
            for method in METHODS.values()
        ],
    }
    return {
        "if": {"properties": {"endpoint": {"not": asked}}},
        "then": {"properties": {"request": page}},
    }


def _batch_with_its_methods() -> dict[str, Any]:
    names = [method.name for method in METHODS.values() if method.is_batch]
    carries = {"properties": {"method": {"enum": names}}, "required": ["method"]}
    return {
        "if": {"properties": {"request": {"not": carries}}},
        "then": {"properties": {"batch": {"maxProperties": 0}}},
    }


def _token_for_the_platform() -> dict[str, Any]:
    real = {"properties": {"url": {"not": {"const": "sandbox"}}}, "required": ["url"]}
    return {
        "if": {"properties": {"endpoint": real}},
        "then": {"properties": {"endpoint": {"required": ["token"]}}},
    }
