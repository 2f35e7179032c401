"""Who is notified of the end of a run: the webhook of a job, and an address of mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engager.config.job import JobFile
from engager.config.webhook import Webhook, webhook_of
from engager.errors import Exit
from engager.events import Summary


@dataclass(frozen=True, slots=True)
class Mail:
    """The address that is notified by mail at the end of a run."""

    address: str
    sendmail: str  #: the path of the program that takes the mail
    trouble_only: bool
    timeout: float  #: seconds until the program has taken the mail

    def wants(self, summary: Summary) -> bool:
        """Whether this end of a run is notified."""
        return not self.trouble_only or summary.exit_code != Exit.DONE


Receiver: TypeAlias = Webhook | Mail


def receivers_of(job_file: JobFile) -> Sequence[Receiver]:
    """Who a job notifies. Raises JobError."""
    return [one for one in (webhook_of(job_file), _mail_of(job_file)) if one is not None]


def _mail_of(job_file: JobFile) -> Mail | None:
    notify = job_file.job.notify
    if notify.mail is None:
        return None
    return Mail(notify.mail, notify.sendmail, notify.on == "trouble", notify.timeout)
