"""The sections of a job file: every key with its type, its default and its description."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from math import inf
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from engager.altcraft.attachments import MAX_BODY
from engager.altcraft.methods import MAX_ROWS, START, Method, method_of
from engager.config.encodings import carries_rows
from engager.config.placeholders import NAME_PATTERN, PLACEHOLDER, example_of, is_dated
from engager.config.rule_sections import BreakerSection, StopSection, WindowSection
from engager.config.sections import Seconds, Section
from engager.policies.adaptive import CEILING, Adaptive, concurrency_settings, rate_settings
from engager.policies.delivery import Delivery, Mode
from engager.policies.rate import LEAST_RATE, MOST_RATE, Pace
from engager.policies.retry import Retry
from engager.policies.schedule import moment_of

SANDBOX = "sandbox"
AUTO: Literal["auto"] = "auto"

#: What the embedded sandbox takes for a token if the job has none: no secret.
SANDBOX_TOKEN = "sandbox-token"  # noqa: S105

#: Placeholder of a scenario that is not chosen yet: no account has so many, and only the sandbox accepts it.
UNCHOSEN = 999_999_999


def _job_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", example_of(name)):
        raise ValueError(
            "use letters, digits, dot, dash and underscore, at most 100 characters, a letter or digit first"
        )
    return name


def _refuse_long_name(host: str) -> None:
    """Raises ValueError for a name that no name server can have."""
    try:
        name = host.encode("idna")
    except UnicodeError:
        name = b""
    if not 0 < len(name) <= 253:
        raise ValueError("a part of the host name is empty or longer than 63 letters, or all of it than 253")


def proxy_address(text: str) -> str:
    """Validate the address of a proxy. Raises ValueError, whose text does not contain the address."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = None
    if not known:
        raise ValueError('give "http://HOST:PORT"; other kinds of proxy, such as socks5, are not supported')
    _refuse_long_name(parts.hostname or "")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_RUN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _run_name(name: str) -> str:
    if not re.fullmatch(_RUN_NAME, name):
        raise ValueError(
            "use up to 100 letters, digits, dots, dashes and underscores, a letter or digit first"
        )
    return name


def _moment(value: Any) -> Any:
    """A date and time, of TOML or as text."""
    text = value.isoformat() if isinstance(value, datetime) else value
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError('give a date and time such as "2026-11-29T02:00" or with "+03:00"') from None
    return text


def _input_path(path: str) -> str:
    example_of(path)
    return path


def _filter(given: Any) -> Any:
    """The values that rows must have, by column."""
    values = (str, bool, int, float)
    if isinstance(given, dict) and all(
        isinstance(wanted, list) and wanted and all(isinstance(value, values) for value in wanted)
        for wanted in given.values()
    ):
        return given
    raise ValueError('give for each column a list of values, such as { consent = ["yes"] }')


#: The accepted types, for editors; the function above checks them.
_FILTER = WithJsonSchema(
    {
        "type": "object",
        "additionalProperties": {
            "type": "array",
            "minItems": 1,
            "items": {"type": ["string", "number", "boolean"]},
        },
    }
)


def _directory(name: str) -> str:
    if not example_of(name).strip():
        raise ValueError("give the name of a directory")
    return name


def _textfile(path: str) -> str:
    if not path.endswith(".prom"):
        raise ValueError("the node exporter reads files that end in .prom only; name such a file")
    return path


def _gateway(url: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\\]+/?", url):
        raise ValueError('give "http://HOST:PORT", without a path, a user or a password')
    return url.rstrip("/")


class JobSection(Section):
    """[job]"""

    name: Annotated[str, AfterValidator(_job_name)] = Field(
        description="Name of job and run directory: letters, digits, dot, dash, underscore, `{date}`.",
        json_schema_extra={"pattern": f"^([A-Za-z0-9]|{PLACEHOLDER})([A-Za-z0-9._-]|{PLACEHOLDER}){{0,99}}$"},
    )
    run_name: Annotated[str, AfterValidator(_run_name)] | None = Field(
        None,
        description="Name of the run, from which its Request-IDs derive, also without its run directory.",
        examples=["spring-2026"],
        json_schema_extra={"pattern": f"^{_RUN_NAME}$"},
    )
    run_since: Annotated[str, BeforeValidator(_moment)] | None = Field(
        None,
        description="Date and time of the first start under `run_name`, its own zone or `window.zone`.",
        examples=["2026-11-29T02:00"],
    )


class EndpointSection(Section):
    """[endpoint]"""

    url: str = Field(
        description='Address of the platform without a path; `"sandbox"` = the embedded one.',
        json_schema_extra={"pattern": r"^(sandbox|[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\]+/?)$"},
    )
    token: str | None = Field(
        None,
        description='API token: `"env:NAME"` or `"file:PATH"`. The embedded sandbox needs none.',
        examples=["env:ALTCRAFT_TOKEN"],
        json_schema_extra={"pattern": "^(env|file):."},
    )
    auth: Literal["body", "bearer"] = Field(
        "body", description="Where the token is sent: `body`, or `bearer` for the header `Authorization`."
    )
    format: Literal["json", "xml"] = Field("json", description="Format of requests and responses.")
    answer: Literal["json", "xml", "csv"] | None = Field(
        None, description="Format of responses, if it differs from `format`.", examples=["csv"]
    )
    timeout: Seconds = Field(
        30.0, description="Seconds to connect, and again for one attempt; 120 with batches."
    )
    ca_file: str | None = Field(
        None,
        description="File of certificates to trust instead of the certificates of the system.",
        examples=["company-ca.pem"],
    )
    client_cert: str | None = Field(
        None,
        description="Client certificate (PEM); the same file, or `client_key`, contains its key.",
        examples=["client.pem"],
    )
    client_key: str | None = Field(
        None, description="Key of the client certificate, unencrypted.", examples=["client.key"]
    )
    transport: Literal["auto", "lean", "aiohttp"] = Field(
        "auto", description="HTTP client: `lean`, or `aiohttp`, the only one that supports a proxy."
    )
    proxy: str | None = Field(
        None,
        description='HTTP proxy, `"http://HOST:PORT"`; one with a password as `"env:NAME"` or `"file:PATH"`.',
        examples=["http://proxy:3128"],
    )
    further_matching: bool = Field(
        False, description="Allow the matching modes that the page of the method does not list."
    )

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        if url == SANDBOX:
            return url
        parts = urlsplit(url)
        origin = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if not origin or parts.path not in ("", "/") or any(sign in url for sign in "@?#\\"):
            raise ValueError(
                'give "https://HOST" or "https://HOST:PORT", without a path, a query, a user or a token'
            )
        _refuse_long_name(parts.hostname or "")
        return url.rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: str | None) -> str | None:
        return proxy if proxy is None or proxy.startswith(("env:", "file:")) else proxy_address(proxy)

    @property
    def is_here(self) -> bool:
        """Whether requests stay on this machine."""
        return self.url == SANDBOX or is_loopback(urlsplit(self.url).hostname or "")


class InputSection(Section):
    """[input]"""

    path: Annotated[str, AfterValidator(_input_path)] = Field(
        description='A file, a glob of files, or `"-"` for stdin; may contain `{date}`, the date of the run.',
        json_schema_extra={"pattern": NAME_PATTERN},
    )
    format: Literal["csv", "jsonl"] | None = Field(
        None, description="Format of the input; by default its name decides.", examples=["csv"]
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Delimiter of a CSV file; default: a comma, or a tab for `.tsv` files.",
        examples=[";"],
        json_schema_extra={"pattern": '[^"\\r\\n]'},
    )
    encoding: str = Field("utf-8", description="The text encoding of the file.")
    max_row_bytes: int = Field(1 << 20, ge=1024, description="A longer row is `invalid`.")
    multiline: bool = Field(
        False, description="CSV: lines within quotes are one text, also where each looks like a row."
    )
    region: str | None = Field(
        None,
        description="Brings telephone numbers, as dialled from that country, to `+` and digits.",
        examples=["RU"],
        json_schema_extra={"pattern": "^[A-Z]{2}$"},
    )
    empty: list[str] = Field(
        [], description="Texts that mean an empty value in a column.", examples=[["NULL", "\\N"]]
    )
    decimal: Literal[".", ","] = Field(
        ".", description="The decimal mark of a number that is cast by `{column:decimal}`."
    )
    filter: Annotated[dict[str, list[Any]], BeforeValidator(_filter), _FILTER] = Field(
        {},
        description="Values that a column must have; a row without one of them is skipped.",
        examples=[{"consent": ["yes"]}],
    )
    on_empty: Literal["ok", "fail"] = Field(
        "fail", description="An input without a row: `fail` refuses it, `ok` completes the run."
    )
    repeat: bool = Field(
        False, description="Allow a run of another date to send an input that an earlier run has sent."
    )
    keep: bool = Field(
        False,
        description="Copy the input into the run directory, so that the run can be finished without it.",
    )
    unique: bool = Field(
        False, description="Skip later rows with the same key; if it is not set, a run warns of a duplicate."
    )
    exclude: str | list[str] | None = Field(
        None,
        description="Exclusion lists, whose keys are skipped: CSV, JSONL, or one key per line in `.txt`.",
        examples=["unsubscribed.csv"],
    )
    exclude_column: str | None = Field(
        None,
        description="Column of the lists that has the keys; default: the column that the job matches by.",
        examples=["email"],
    )

    exclude_encoding: str | None = Field(
        None,
        description="The text encoding of the lists; default: by their byte order mark, or `utf-8`.",
        examples=["cp1251"],
    )

    @property
    def lists(self) -> list[str]:
        """The exclusion lists."""
        given = self.exclude or []
        return [given] if isinstance(given, str) else given

    @field_validator("encoding", "exclude_encoding")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is None:
            return None
        try:
            if not codecs.lookup(name)._is_text_encoding:
                raise LookupError
        except LookupError:
            raise ValueError(f"{name!r} is not a text encoding") from None
        if not carries_rows(name):
            raise ValueError(f"engager cannot read lines in {name!r}; save the file as UTF-8")
        return name

    @field_validator("region")
    @classmethod
    def _is_region(cls, region: str | None) -> str | None:
        if region is None:
            return None
        from phonenumbers import SUPPORTED_REGIONS  # for jobs that ask for it

        if region not in SUPPORTED_REGIONS:
            raise ValueError('give the two capital letters of a country, such as "RU"')
        return region

    @field_validator("delimiter")
    @classmethod
    def _can_delimit(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and delimiter in '"\r\n':
            raise ValueError("a quote or a line end cannot be the delimiter")
        return delimiter


# The bounds are for editors; the functions below give one error instead of one for each type.
Concurrency = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Processes = Annotated[int, Field(ge=1, le=64)]


def _concurrency(value: Any) -> Any:
    if value == AUTO or (type(value) is int and 1 <= value <= 4096):
        return value
    raise ValueError('give a whole number from 1 to 4096, or "auto"')


def _rate(value: Any) -> Any:
    if value == AUTO or (type(value) in (int, float) and LEAST_RATE <= value <= MOST_RATE):
        return value
    raise ValueError('give a number from 0.001 to 1000000, or "auto"')


def _processes(value: Any) -> Any:
    if value == AUTO or (type(value) is int and 1 <= value <= 64):
        return value
    raise ValueError('give a whole number from 1 to 64, or "auto"')


class LimitsSection(Section):
    """[limits]"""

    concurrency: Annotated[Concurrency | Literal["auto"], BeforeValidator(_concurrency)] = Field(
        64, description='Maximum number of requests in flight; 8 with batches; `"auto"` finds it.'
    )
    rate: Annotated[Rate | Literal["auto"], BeforeValidator(_rate)] | None = Field(
        None,
        description='Requests per second, retries included; absent = no limit; `"auto"` finds it.',
        examples=[500],
    )
    processes: Annotated[Processes | Literal["auto"], BeforeValidator(_processes)] = Field(
        1, description='Processes that send; 1 = the run itself; `"auto"` = as the processors allow.'
    )
    max_concurrency: int | None = Field(
        None,
        ge=1,
        le=4096,
        description='Upper bound of `concurrency = "auto"`; default 256.',
        examples=[CEILING],
    )
    max_rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description='Upper bound of `rate = "auto"`; absent = no bound.',
        examples=[1000],
    )

    confirm_above: int | None = Field(
        None,
        ge=1,
        description="Number of rows that are sent before a person, or `--yes`, confirms the rest.",
        examples=[100],
    )

    @field_validator("max_concurrency", "max_rate")
    @classmethod
    def _has_a_use(cls, ceiling: float | None, info: ValidationInfo) -> float | None:
        limit = str(info.field_name).removeprefix("max_")
        if ceiling is not None and info.data.get(limit) != AUTO:
            raise ValueError(
                f'this is the upper bound of {limit} = "auto"; set {limit} to "auto", or remove this key'
            )
        return ceiling

    @property
    def max_in_flight(self) -> int:
        """The number of workers: the largest possible number of requests in flight."""
        return (self.max_concurrency or CEILING) if self.concurrency == AUTO else self.concurrency


class RetrySection(Section):
    """[retry]"""

    attempts: int = Field(
        5, ge=1, le=1000, description="Maximum number of attempts per row, the first included."
    )
    base_delay: Seconds = Field(
        0.5, description="The first delay is drawn from 0 to this; the bound doubles with each retry."
    )
    max_delay: Seconds = Field(30.0, description="Largest upper bound of a delay.")
    budget: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Retries per second that are allowed even if nothing succeeds; default: the concurrency.",
        examples=[64],
    )
    longest_pause: Seconds = Field(3600.0, description="A longer Retry-After stops the run.", examples=["1h"])


class DeliverySection(Section):
    """[delivery]"""

    mode: Mode = Field(Mode.EXACTLY_ONCE, strict=False, description="What follows if a response is lost.")
    dedupe_window: Seconds = Field(
        86400.0, description="How long the endpoint remembers a Request-ID.", examples=["24h"]
    )
    durability: Literal["process", "disk"] = Field(
        "process", description="`disk`: stored outcomes survive a power failure too."
    )
    probe: bool = Field(
        False,
        description="Test deduplication before the first row, and refuse `exactly-once` if there is none.",
    )


class OutputSection(Section):
    """[output]"""

    directory: Annotated[str, AfterValidator(_directory)] | None = Field(
        None,
        description="Run directory; may contain `{date}`, the date of the start. "
        "Default: `runs/<job.name>` beside this file.",
        examples=["runs/nightly-{date}"],
        json_schema_extra={"pattern": NAME_PATTERN},
    )
    results: Literal["jsonl", "csv"] = Field("jsonl", description="Format of the results file.")
    report: bool = Field(True, description="Write `report.html` at the end of a run.")
    metrics: Annotated[str, AfterValidator(_textfile)] | None = Field(
        None,
        description="File with the metrics of the last start, for the Prometheus node exporter: `*.prom`.",
        examples=["/var/lib/node_exporter/nightly.prom"],
        json_schema_extra={"pattern": r"\.prom$"},
    )
    push: Annotated[str, AfterValidator(_gateway)] | None = Field(
        None,
        description="Pushgateway that gets the metrics of the last start.",
        examples=["http://localhost:9091"],
        json_schema_extra={"pattern": r"^https?://[^/?#@\\]+/?$"},
    )


#: One address of mail: no list, no option of a program, and nothing that a header reads as more than it is.
_MAIL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]*@[A-Za-z0-9][A-Za-z0-9.-]*")


class NotifySection(Section):
    """[notify]"""

    url: str | None = Field(
        None,
        examples=["env:ENGAGER_WEBHOOK"],
        description='Webhook that is notified at the end: `"env:NAME"`, `"file:PATH"`, or its address.',
    )
    on: Literal["always", "trouble"] = Field(
        "always", description="`trouble`: notify only if the exit code is not 0."
    )
    timeout: Seconds = Field(10.0, description="Maximum seconds for the notification, all attempts together.")
    mail: str | None = Field(
        None,
        examples=["ops@example.com"],
        description="Address that is notified by mail at the end, on the same occasions as the webhook.",
    )
    sendmail: str = Field(
        "/usr/sbin/sendmail", description="The program that takes the mail on its standard input."
    )

    @field_validator("mail")
    @classmethod
    def _is_one_address(cls, mail: str | None) -> str | None:
        if mail is not None and not _MAIL.fullmatch(mail):
            raise ValueError("give one address, such as ops@example.com")
        return mail

    @field_validator("sendmail")
    @classmethod
    def _is_a_whole_path(cls, sendmail: str) -> str:
        if not sendmail.startswith("/") or "\0" in sendmail:
            raise ValueError("give the whole path of a program, such as /usr/sbin/sendmail")
        return sendmail

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://", "env:", "file:")):
            raise ValueError('give "env:NAME", "file:PATH", or an address such as "https://HOST/PATH"')
        return url

    @property
    def shown(self) -> str:
        """Where the address is found; an address itself is a secret."""
        return "the value" if self.url is None or "://" in self.url else f"the content of {self.url}"


class BatchSection(Section):
    """[batch]"""

    rows: int = Field(500, ge=1, le=MAX_ROWS, description="Maximum number of rows that a request carries.")
    bytes: int = Field(1_000_000, ge=1024, le=MAX_BODY, description="Maximum number of bytes of its body.")
    split: bool = Field(
        True, description="Halve a batch that is refused as a whole; if false, its rows are in doubt."
    )
    content_by_row: bool = Field(
        False, description="Allow columns in `request.content`: then every row has its own."
    )


class ClusterSection(Section):
    """[cluster]"""

    scheduler: str | None = Field(
        None,
        description='Address of the Dask scheduler whose workers send: `"tls://HOST:8786"`.',
        examples=["tls://scheduler:8786"],
        json_schema_extra={"pattern": r"^(tls|tcp)://[^/?#@\\]+$"},
    )
    ca_file: str | None = Field(
        None, description="Certificates that the scheduler is verified with.", examples=["cluster-ca.pem"]
    )
    cert: str | None = Field(
        None, description="Certificate by which the scheduler knows this machine.", examples=["cluster.pem"]
    )
    key: str | None = Field(None, description="Key of `cert`, unencrypted.", examples=["cluster.key"])
    at_least: int = Field(1, ge=1, le=1000, description="Number of workers without which nothing is sent.")
    patience: Seconds = Field(
        120.0, description="Time with fewer workers after which the run stops.", examples=["2m"]
    )
    insecure: bool = Field(
        False, description="Allow `tcp://` to another machine: all who reach the scheduler can run code."
    )

    @field_validator("scheduler")
    @classmethod
    def _is_address(cls, scheduler: str | None) -> str | None:
        if scheduler is None:
            return None
        parts = urlsplit(scheduler)
        known = parts.scheme in ("tls", "tcp") and parts.hostname and parts.port
        if not known or parts.path or any(sign in scheduler for sign in "@?#\\"):
            raise ValueError('give "tls://HOST:PORT"')
        return scheduler

    @model_validator(mode="after")
    def _is_secure(self) -> ClusterSection:
        if self.scheduler is None:
            if self.model_fields_set:
                raise ValueError("scheduler is missing")
            return self
        parts = urlsplit(self.scheduler)
        if parts.scheme == "tls":
            if not (self.ca_file and self.cert and self.key):
                raise ValueError("tls:// needs ca_file, cert and key")
        elif not (self.insecure or is_loopback(parts.hostname or "")):
            raise ValueError(
                "all who reach a scheduler without TLS can run code on all its machines; use tls://, or "
                "set insecure = true in a network that only you reach"
            )
        return self


#: Defaults of a job whose requests carry many rows, by section and key.
BATCH_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "limits": {"concurrency": 8},
    "endpoint": {"timeout": 120.0},
}


class Job(Section):
    """A whole job file."""

    job: JobSection
    endpoint: EndpointSection
    input: InputSection
    request: dict[str, Any] = Field(description="Parameters of the endpoint; values may contain {column}.")
    batch: BatchSection = BatchSection.model_construct()
    limits: LimitsSection = LimitsSection.model_construct()
    cluster: ClusterSection = ClusterSection.model_construct()
    retry: RetrySection = RetrySection.model_construct()
    delivery: DeliverySection = DeliverySection.model_construct()
    output: OutputSection = OutputSection.model_construct()
    notify: NotifySection = NotifySection.model_construct()
    stop: StopSection = StopSection.model_construct()
    window: WindowSection = WindowSection.model_construct()
    breaker: BreakerSection = BreakerSection.model_construct()
    profiles: dict[str, dict[str, Any]] = Field(
        {},
        description="Environments: sections whose keys replace those of the job with `--profile NAME`.",
        examples=[{"stage": {"limits": {"rate": 5}}}],
    )
    sandbox: dict[str, Any] = Field(
        {}, description="Behaviour of the embedded sandbox.", examples=[{"latency": "20-80ms"}]
    )

    @model_validator(mode="before")
    @classmethod
    def _put_defaults_of_batches(cls, tables: Any) -> Any:
        request = tables.get("request") if isinstance(tables, dict) else None
        method = method_of(request) if isinstance(request, dict) else None
        if method is None or not method.is_batch:
            return tables
        given = {section: tables.get(section, {}) for section in BATCH_DEFAULTS}
        return tables | {
            section: {**BATCH_DEFAULTS[section], **table} if isinstance(table, dict) else table
            for section, table in given.items()
        }

    @property
    def method(self) -> Method:
        """The method of its requests."""
        return method_of(self.request) or START

    @property
    def is_remote(self) -> bool:
        """Whether other processes send: of this machine or of a cluster."""
        return self.limits.processes != 1 or self.cluster.scheduler is not None

    @property
    def lacks_date(self) -> bool:
        """Whether its input has a date and its run directory none: every run would be the first one."""
        directory = self.output.directory or self.job.name
        return is_dated(self.input.path) and not is_dated(directory)

    @property
    def scenario(self) -> Any:
        """The scenario: a number, a template, or None."""
        return self.request.get(self.method.scenario)

    @property
    def scenario_key(self) -> str:
        """The key of the scenario in a job file."""
        return f"request.{self.method.scenario}"

    @property
    def rows_per_request(self) -> int:
        """The number of rows that a request carries at most."""
        return self.batch.rows if self.method.is_batch else 1

    @property
    def named_since(self) -> float | None:
        """When a run with a name was started first, in seconds since the epoch; None without a name."""
        since = self.job.run_since
        return None if since is None else moment_of(since, 0.0, self.window.tz)

    def forgotten_at(self, started_at: float) -> float | None:
        """When nothing may leave any more of a run that has a name, and a directory begun at that moment.

        A directory that is younger than the run takes the place of a lost one: what that one has sent is not
        known, and the endpoint remembers it until the window has passed. None where no other directory was.
        """
        since = self.named_since
        return None if since is None or started_at <= since else since + self.delivery.dedupe_window

    @property
    def pace(self) -> Pace | None:
        """The rate as a policy; for `"auto"`, where the search begins."""
        climb, rate = self.adaptive.rate, self.limits.rate
        if climb is not None:
            return Pace(climb.begin().value)
        return Pace(rate) if rate is not None and rate != AUTO else None

    @property
    def adaptive(self) -> Adaptive:
        """The policies of limits that are `"auto"`."""
        limits = self.limits
        return Adaptive(
            concurrency_settings(limits.max_in_flight) if limits.concurrency == AUTO else None,
            rate_settings(limits.max_rate or inf) if limits.rate == AUTO else None,
        )

    @property
    def retry_policy(self) -> Retry:
        """The retries as a policy."""
        retry = self.retry
        floor = retry.budget or max(10.0, float(self.limits.max_in_flight))
        return Retry(
            retry.attempts, retry.base_delay, retry.max_delay, floor, longest_pause=retry.longest_pause
        )

    @property
    def delivery_policy(self) -> Delivery:
        """The delivery mode as a policy."""
        return Delivery(self.delivery.mode, self.delivery.dedupe_window)
