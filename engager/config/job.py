"""Load and validate a job file with its overrides. Sends nothing and reads no row."""

from __future__ import annotations

import difflib
import os
import time
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from engager.config.job_sections import SANDBOX, UNCHOSEN, EndpointSection, Job
from engager.config.method_rules import refusals_of_method, warnings_of_method
from engager.config.positions import locate
from engager.config.profiles import PROFILES, chosen_by, faults_of, is_choice, with_profile
from engager.config.sanitize import name_fault
from engager.errors import JobError, ParameterError
from engager.policies.delivery import Mode


def _names_proxy(url: SplitResult) -> bool:
    """Whether the environment names a proxy for this address, as it does for many other programs."""
    names = (f"{url.scheme}_proxy", f"{url.scheme}_proxy".upper())
    if not any(os.environ.get(name) for name in names):
        return False
    from urllib.request import proxy_bypass  # it is slow to load, and rarely needed

    return not proxy_bypass(url.hostname or "")


#: Keys whose values are printed nowhere.
_SECRET = frozenset({"endpoint.token", "endpoint.proxy", "notify", "notify.url"})

#: Seconds by which the clocks of two machines may differ.
_CLOCKS = 60.0


#: The path of the input of a job whose program gives the rows.
FROM_PROGRAM = "rows of a program"


class JobFile:
    """A validated job and its source, for errors with file and line."""

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Load a job file. Raises JobError."""
        if fault := name_fault(str(path.resolve())):
            raise JobError(fault)
        text = _read_text(path)
        self._load(path, text, path.resolve().parent, _parse(path, text), overrides)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], base: Path, overrides: Sequence[str] = ()) -> JobFile:
        """A job from its tables; relative paths are relative to `base`. Raises JobError.

        Without `input.path` its program gives the rows.
        """
        job_file = cls.__new__(cls)
        copied = deepcopy(dict(tables))
        if isinstance(given := copied.setdefault("input", {}), dict):
            given.setdefault("path", FROM_PROGRAM)
        job_file._load(None, "", base.resolve(), copied, overrides)
        return job_file

    def _load(
        self, path: Path | None, text: str, base: Path, tables: dict[str, Any], overrides: Sequence[str]
    ) -> None:
        self.path, self.base, self.overrides = path, base, tuple(overrides)
        self._text = text
        self.profile = chosen_by(overrides)  #: the profile whose values it has
        self._overridden: list[str] = []
        self._profiled: dict[str, Any] = {}
        tables = self._in_profile(tables)
        self._overridden = [_override(tables, override) for override in overrides if not is_choice(override)]
        self._tables = tables
        self.job = self._validate(tables)

    def _in_profile(self, tables: dict[str, Any]) -> dict[str, Any]:
        """The tables with the values of the chosen profile. Raises JobError."""
        profiles = tables.get(PROFILES, {})
        sections = {name: field.annotation for name, field in Job.model_fields.items() if name != PROFILES}
        if faults := [self.at(key, text) for key, text in faults_of(profiles, sections)]:
            raise JobError("\n".join(faults))
        if self.profile is None:
            return tables
        if self.profile not in profiles:
            hint = nearest(self.profile, list(profiles)) if profiles else "; the job has no profiles"
            place = "" if self.path is None else f"{self.path}: "
            raise JobError(
                f"{place}there is no profile {self.profile!r}{hint.replace('known keys', 'there')}"
            )
        self._profiled = profiles[self.profile]
        return with_profile(tables, self._profiled)

    @property
    def source(self) -> dict[str, Any]:
        """How to load the job again with `JobFile.from_source`."""
        if self.path is not None:
            return {"job": str(self.path.resolve()), "overrides": self.overrides, "profile": self.profile}
        return {"job": None, "tables": self._tables, "base": str(self.base), "profile": self.profile}

    @classmethod
    def from_source(cls, source: Mapping[str, Any], overrides: Sequence[str] = ()) -> JobFile:
        """Load a job from its source, with further overrides. Raises JobError."""
        if source["job"] is not None:
            return cls(Path(source["job"]), [*source["overrides"], *overrides])
        job_file = cls.from_tables(source["tables"], Path(source["base"]), overrides)
        job_file.profile = job_file.profile or source.get("profile")
        return job_file

    def _validate(self, tables: dict[str, Any]) -> Job:
        try:
            job = Job.model_validate(tables)
        except ValidationError as invalid:
            messages = [self._message(fault) for fault in invalid.errors()]
            raise JobError("\n".join(messages)) from None
        if job.endpoint.url != SANDBOX and job.endpoint.token is None:
            raise JobError(self.at("endpoint.token", 'missing; give "env:NAME" or "file:PATH"'))
        if faults := [self.at(key, text) for key, text in refusals_of_method(job)]:
            raise JobError("\n".join(faults))
        if job.endpoint.url != SANDBOX and job.scenario == UNCHOSEN:
            unchosen = f"choose the scenario; {UNCHOSEN} is the placeholder of engager init"
            raise JobError(self.at(job.scenario_key, unchosen))
        self._refuse_unsafe_name(job)
        self._refuse_visible_address(job.notify.url)
        self._refuse_proxy(job.endpoint)
        self._refuse_cluster(job)
        return job

    def _refuse_cluster(self, job: Job) -> None:
        """Refuse what the workers of a cluster cannot do, or would need a secret of this machine for."""
        if job.cluster.scheduler is None:
            return
        if job.limits.processes != 1:
            raise JobError(self.at("limits.processes", "the workers of [cluster] send; remove this key"))
        if job.endpoint.url == SANDBOX:
            text = "the workers of [cluster] cannot reach the embedded sandbox; start `engager sandbox`"
            raise JobError(self.at("endpoint.url", text))
        if job.endpoint.proxy is not None and "@" in job.endpoint.proxy:
            text = 'its password would travel; give "env:NAME" or "file:PATH", which each worker follows'
            raise JobError(self.at("endpoint.proxy", text))

    def _refuse_unsafe_name(self, job: Job) -> None:
        """Refuse a named run that the endpoint would not recognize, or of which no end is known."""
        if (job.job.run_name is None) != (job.job.run_since is None):
            text = "run_name and run_since go together: a name is safe for the deduplication window"
            raise JobError(self.at("job.run_name", text))
        if job.job.run_name is None:
            return
        if job.delivery.mode is not Mode.EXACTLY_ONCE:
            raise JobError(self.at("job.run_name", 'it needs delivery.mode = "exactly-once"'))
        if job.method.is_batch:
            # Without its run directory, nothing says which rows a batch had.
            text = f"not with {job.method.name}: a batch whose rows change is another request"
            raise JobError(self.at("job.run_name", text))
        if job.named_since is not None and job.named_since > time.time() + _CLOCKS:
            raise JobError(self.at("job.run_since", "it is in the future; give that of the first start"))

    @property
    def _shares_directory(self) -> bool:
        """Whether the chosen profile sends elsewhere, and its run directory is that of the job."""
        elsewhere = "url" in self._profiled.get("endpoint", ())
        named = self.job.output.directory is None and "name" in self._profiled.get("job", ())
        return elsewhere and not named and "directory" not in self._profiled.get("output", ())

    @property
    def warnings(self) -> list[str]:
        """Settings that are valid but may be a mistake."""
        endpoint, found = self.job.endpoint, list(warnings_of_method(self.job))
        metrics = self.job.output.metrics
        if metrics is not None and not (folder := (self.base / metrics).parent).is_dir():
            found.append(self.at("output.metrics", f"the folder {folder} does not exist; create it"))
        if endpoint.url == SANDBOX and self._shares_directory:
            found.append(
                f"profile {self.profile} rehearses in the run directory of the job, which a run at the "
                f"platform cannot use then; set directory in [{PROFILES}.{self.profile}.output]"
            )
        if (notify := self.job.notify).mail is not None and which(notify.sendmail) is None:
            found.append(
                f"notify.sendmail: {notify.sendmail} is no program here, so no mail is sent at the end"
            )
        if endpoint.is_here:
            return found
        parts = urlsplit(endpoint.url)
        if parts.scheme == "http":
            found.append(f"{endpoint.url} is not encrypted: the network can read the token and the rows")
        if endpoint.proxy is None and _names_proxy(parts):
            found.append(
                f"the environment names a proxy for {parts.scheme}, and it is not used: "
                "set endpoint.proxy to go through it"
            )
        return found

    @property
    def undated_directory(self) -> str | None:
        """What is wrong if the input has a date and the run directory none; None otherwise."""
        if not self.job.lacks_date:
            return None
        text = "the name of the run directory needs a date, too: put {date} into output.directory or job.name"
        return self.at("input.path", text)

    def _refuse_proxy(self, endpoint: EndpointSection) -> None:
        """Refuse a proxy that is not used, that could read the token, or whose password is visible."""
        if endpoint.proxy is None:
            return
        if endpoint.transport == "lean":
            text = "this transport does not support endpoint.proxy; remove one of the two keys"
            raise JobError(self.at("endpoint.transport", text))
        if endpoint.url.startswith("http:") and not endpoint.is_here:
            text = "the proxy could read the token, because endpoint.url is http; use https, or no proxy"
            raise JobError(self.at("endpoint.proxy", text))
        is_visible = self.path is None or "endpoint.proxy" in self._overridden
        if is_visible and "://" in endpoint.proxy and "@" in endpoint.proxy:
            text = 'an address with a password is a secret; give "env:NAME" or "file:PATH"'
            raise JobError(self.at("endpoint.proxy", text))

    def _refuse_visible_address(self, url: str | None) -> None:
        """The address of a webhook is a secret, but arguments are visible and tables are stored."""
        is_visible = self.path is None or "notify.url" in self._overridden
        if url is not None and "://" in url and is_visible:
            raise JobError(self.at("notify.url", 'the address is a secret; give "env:NAME" or "file:PATH"'))

    def _message(self, fault: Any) -> str:
        loc = [str(part) for part in fault["loc"]]
        key = ".".join(loc)
        if fault["type"] == "extra_forbidden":
            return self.at(key, f"unknown key{nearest(loc[-1], _known(loc[:-1]))}")
        if fault["type"] == "missing":
            return self.at(key, "missing")
        text = fault["msg"].removeprefix("Value error, ")
        # A token written into the job by mistake must not come back in the message.
        shown = "" if key in _SECRET else f" (the value is {fault['input']!r})"
        return self.at(key, text[0].lower() + text[1:] + shown)

    def at(self, key: str, text: str) -> str:
        """The text of an error about a key, with file and line."""
        if key in self._overridden:
            return f"--set {key}: {text}"
        section, _, name = key.partition(".")
        if name.split(".")[0] in self._profiled.get(section, ()):
            key = f"{PROFILES}.{self.profile}.{key}"
        if self.path is None:
            return f"{key}: {text}"
        line = locate(self._text, key)
        return f"{self.path}{f':{line}' if line else ''}: {key}: {text}"

    def explain(self, fault: ParameterError) -> JobError:
        """An error of the [request] section, with file and line."""
        return JobError(self.at(fault.key, str(fault).removeprefix(f"{fault.key}: ")))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise JobError(f"{path}: a job file must be UTF-8; byte {fault.start} is not.") from fault
    except OSError as fault:
        raise JobError(f"{path}: the job file cannot be read: {fault.strerror}.") from fault


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise JobError(f"{path}: the file is not valid TOML: {fault}.") from fault


def _override(tables: dict[str, Any], override: str) -> str:
    """Apply one `--set section.key=value`; returns the key."""
    key, equals, value = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not sections or not last:
        raise JobError(f"--set {key}: the form is section.key=value")
    table: Any = tables
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise JobError(f"--set {key}: {section} is a value, not a table")
    table[last] = _toml_value(value)
    return key.strip()


def _toml_value(text: str) -> Any:
    """Parse a value as TOML; anything else is a string."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tables["value"] if len(tables) == 1 else text


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?`, or the known words."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys are {', '.join(known)}"


def _known(loc: Sequence[str]) -> list[str]:
    model: Any = Job
    for part in loc:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
