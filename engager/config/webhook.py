"""The webhook of a job. Its address is a secret: everyone with the address can post there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from engager.config.job import JobFile
from engager.config.secret import Secret, read_secret
from engager.errors import Exit, JobError
from engager.events import Summary

_KEY = "notify.url"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook that is notified at the end of a run."""

    url: Secret
    trouble_only: bool
    timeout: float  #: seconds for all attempts together

    def wants(self, summary: Summary) -> bool:
        """Whether this end of a run is notified."""
        return not self.trouble_only or summary.exit_code != Exit.DONE


def webhook_of(job_file: JobFile) -> Webhook | None:
    """The webhook of a job, if it has one. Raises JobError, whose text does not contain the address."""
    notify = job_file.job.notify
    if notify.url is None:
        return None
    if notify.url.startswith(("https://", "http://")):
        url = Secret(notify.url)
    else:
        try:
            url = read_secret(notify.url, job_file.base, _KEY, "address of a webhook")
        except JobError as fault:
            raise type(fault)(job_file.at(_KEY, str(fault).removeprefix(f"{_KEY}: "))) from fault.__cause__
    if not _is_address(url.reveal()):
        raise JobError(job_file.at(_KEY, f"{notify.shown} is not an address such as https://HOST/PATH"))
    return Webhook(url, notify.on == "trouble", notify.timeout)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
