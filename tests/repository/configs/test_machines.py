"""cron, systemd and Kubernetes: each example is read as its scheduler reads it, and its command is run."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import tomllib
from configparser import ConfigParser
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim

from engager import Exit
from engager.config.job import JobFile

CONFIGS = Path(__file__).parents[3] / "configs"
NIGHTLY = JobFile(CONFIGS / "nightly.toml").job

FOR_A_PERSON = {Exit.INCOMPLETE, Exit.WRONG}
GOES_ON = {Exit.STOPPED, Exit.INTERNAL}


def crontab(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The settings of a crontab, and when it runs what."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    entries = [line.split(maxsplit=5) for line in lines if not re.match(r"\w+=", line)]
    return settings, [(" ".join(entry[:5]), entry[5]) for entry in entries]


async def test_cron_runs_it_at_night_and_goes_on_in_the_morning(machine: Any) -> None:
    m = await machine()
    settings, entries = crontab(m.example("engager.cron"))
    assert settings["CRON_TZ"] == NIGHTLY.window.zone
    midnight = datetime(2026, 11, 24)
    hours = [[at.hour for at in islice(CronSim(when, midnight), 4)] for when, _ in entries]
    assert hours == [[2, 2, 2, 2], [3, 4, 5, 3]]
    assert not any("%" in command for _, command in entries)  # which is a line end to cron
    first, again = [await m.carry_out(["/bin/sh", "-c", command]) for _, command in entries]
    assert (first.code, first.err) == (0, "")
    assert "40 engaged" in first.out
    assert (again.code, again.out, again.err) == (0, "", "")  # no mail
    assert len(m.sandbox.log) == sum(m.engaged.values()) == 40


async def test_cron_starts_it_while_it_is_at_work(machine: Any) -> None:
    m = await machine(latency="4s")  # the second start finds the first at work, also on a busy machine
    _, [(_, first), (_, second)] = crontab(m.example("engager.cron"))
    process = await m.start(["/bin/sh", "-c", first])
    while not m.sandbox._in_flight:
        await asyncio.sleep(0.01)
    ended = await m.carry_out(["/bin/sh", "-c", second])
    assert (ended.code, ended.out) == (Exit.STOPPED, "")
    assert re.search(r"process \d+ ", ended.err)
    m.sandbox._faults.plan = replace(m.sandbox._faults.plan, latency=(0.0, 0.0))
    await process.communicate()
    assert (process.returncode, len(m.sandbox.log)) == (0, 40)


def unit(text: str) -> ConfigParser:
    parser = ConfigParser(strict=True, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


async def test_systemd_runs_it_with_its_credential(machine: Any) -> None:
    m = await machine(tokens=["t0ken"])
    service = unit(m.example("engager.service"))["Service"]
    name, _ = service["LoadCredential"].split(":")
    credentials = m.home / "credentials"
    credentials.mkdir()
    (m.home / "token").rename(credentials / name)
    command = shlex.split(service["ExecStart"].replace("%d", str(credentials)))
    assert Path(command[0]).is_absolute()
    ended = await m.carry_out(command, Path(service["WorkingDirectory"]))
    assert (ended.code, ended.err) == (0, "")
    assert sum(m.engaged.values()) == 40
    assert [path.parents[1] for path in m.home.glob("runs/*/run.json")] == [Path(service["ReadWritePaths"])]


async def test_systemd_goes_on_only_where_that_is_of_use(machine: Any) -> None:
    service = unit((CONFIGS / "schedulers/engager.service").read_text())["Service"]
    assert (service["Type"], service["Restart"]) == ("oneshot", "on-failure")
    prevented = set(map(int, service["RestartPreventExitStatus"].split()))
    assert prevented == {*FOR_A_PERSON, Exit.HUNG_UP, Exit.INTERRUPTED, Exit.TERMINATED}
    assert int(service["TimeoutStopSec"]) > NIGHTLY.endpoint.timeout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
async def test_systemd_understands_every_line(machine: Any) -> None:
    m = await machine()
    for name in ("engager.service", "engager.timer"):
        (m.home / name).write_text(m.example(name))
    verified = await m.carry_out(
        ["systemd-analyze", "verify", "--man=no", "engager.service", "engager.timer"]
    )
    assert (verified.code, verified.err) == (0, "")
    when = unit(m.example("engager.timer"))["Timer"]["OnCalendar"]
    assert when.endswith(str(NIGHTLY.window.zone))
    assert (await m.carry_out(["systemd-analyze", "calendar", when])).code == 0


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    claim, cronjob = yaml.safe_load_all((CONFIGS / "schedulers/cronjob.yaml").read_text())
    return claim, cronjob


def test_kubernetes_runs_one_pod_at_a_time_and_goes_on_in_another() -> None:
    _, cronjob = documents()
    spec, job = cronjob["spec"], cronjob["spec"]["jobTemplate"]["spec"]
    assert (cronjob["apiVersion"], cronjob["kind"]) == ("batch/v1", "CronJob")
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", NIGHTLY.window.zone)
    assert next(CronSim(spec["schedule"], datetime(2026, 11, 24))) == datetime(2026, 11, 24, 2, 15)
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which a failure policy demands
    assert pod["terminationGracePeriodSeconds"] > NIGHTLY.endpoint.timeout
    gone, failed = job["podFailurePolicy"]["rules"]  # the first one that fits counts
    assert (gone["action"], gone["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (failed["action"], set(failed["onExitCodes"]["values"])) == ("FailJob", FOR_A_PERSON)
    assert job["backoffLimit"] > 0
    assert not GOES_ON & set(failed["onExitCodes"]["values"])


def test_kubernetes_gives_it_no_more_than_it_needs() -> None:
    claim, cronjob = documents()
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    rights = container["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    token = Path(str(NIGHTLY.endpoint.token).removeprefix("file:"))
    assert mounts["token"] == str(token.parent)
    assert volumes["token"]["secret"]["defaultMode"] == 0o440
    assert f"--from-file={token.name}" in (CONFIGS / "schedulers/cronjob.yaml").read_text()


async def test_the_container_runs_the_given_command(machine: Any) -> None:
    m = await machine()
    _, cronjob = documents()
    [container] = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (m.home / "data/nightly.jsonl").rename(m.home / "data/orders.jsonl")
    words = [*container["command"], *container["args"]]
    here = [re.sub(r"/etc/engager|(?<==)(?=/data)", str(m.home), word) for word in words]
    ended = await m.carry_out([str(m.home / ".venv/bin/engager"), *here[1:]])
    assert ended.code == 0, ended.err
    assert sum(m.engaged.values()) == 40
    assert len(list((m.home / "data/runs").glob("nightly-20*"))) == 1


def test_the_job_of_the_examples_puts_the_date_into_its_directory() -> None:
    job = tomllib.loads((CONFIGS / "nightly.toml").read_text())
    assert job["output"]["directory"] == "runs/nightly-{date}"


def test_the_image_is_that_of_the_cronjob() -> None:
    """Its user, its command, and the files that its build copies."""
    lines = (CONFIGS / "container/Containerfile").read_text().splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    words = dict(instructions)
    _, cronjob = documents()
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert words["USER"].split(":")[0] == str(pod["securityContext"]["runAsUser"])
    assert json.loads(words["ENTRYPOINT"]) == container["command"][:1]
    assert container["image"] in lines[1]
    for name, rest in instructions:
        if name == "COPY" and "--from" not in rest:
            assert all((CONFIGS.parent / file).exists() for file in rest.split()[:-1])
    assert any(name == "RUN" and "[cluster,metrics]" in rest for name, rest in instructions)
