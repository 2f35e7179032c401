"""The cluster in Kubernetes: its parts fit together, and its commands are carried out."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from engager import JobFile, __version__
from engager.sandbox import Sandbox, SandboxConfig

FOLDER = Path(__file__).parents[3] / "configs/container"
TEXT = (FOLDER / "cluster.yaml").read_text()
DOCUMENTS = {(found["kind"], found["metadata"]["name"]): found for found in yaml.safe_load_all(TEXT)}
JOB = DOCUMENTS["ConfigMap", "engager-campaign"]["data"]["campaign.toml"]

#: What each pod is, by the name of its container.
PODS: Mapping[str, Any] = {
    found["spec"]["template"]["spec"]["containers"][0]["name"]: found["spec"]["template"]
    for found in DOCUMENTS.values()
    if "template" in found["spec" if "spec" in found else "metadata"]
}


def container(name: str) -> Any:
    return PODS[name]["spec"]["containers"][0]


def volumes(name: str) -> Mapping[str, str | None]:
    """The secret or other source of each folder of a pod, by its path."""
    sources = {
        volume["name"]: (volume.get("secret") or {}).get("secretName")
        for volume in PODS[name]["spec"]["volumes"]
    }
    return {mount["mountPath"]: sources[mount["name"]] for mount in container(name)["volumeMounts"]}


def test_all_have_the_same_image_of_this_version() -> None:
    images = {container(name)["image"] for name in PODS}
    assert len(PODS) == 3
    assert len(images) == 1
    assert images.pop().rpartition(":")[2] == __version__


@pytest.mark.parametrize("name", ["scheduler", "worker", "engager"])
def test_no_pod_has_more_than_it_needs(name: str) -> None:
    pod, rights = PODS[name]["spec"], container(name)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert volumes(name)["/run/cluster"] == "engager-cluster"
    # The scheduler sends nothing, and has no token.
    assert volumes(name).get("/run/secrets") == (None if name == "scheduler" else "engager-token")


def test_the_job_is_valid_and_names_what_the_pods_have(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(JOB)
    job = JobFile(tmp_path / "campaign.toml").job
    service = DOCUMENTS["Service", "engager-scheduler"]
    [port] = service["spec"]["ports"]
    address = f"tls://{service['metadata']['name']}:{port['port']}"
    assert job.cluster.scheduler == address
    assert container("worker")["command"][2] == address
    files = {job.cluster.ca_file, job.cluster.cert, job.cluster.key}
    for name in ("scheduler", "worker"):
        assert {arg.partition("=")[2] for arg in container(name)["args"] if "--tls-" in arg} == files
    assert all(f"--from-file={Path(str(file)).name}" in TEXT for file in files)
    token = Path(str(job.endpoint.token).removeprefix("file:"))
    assert volumes("worker")[str(token.parent)] == volumes("engager")[str(token.parent)] == "engager-token"
    assert f"--from-file={token.name}" in TEXT
    assert job.cluster.at_least <= DOCUMENTS["Deployment", "engager-worker"]["spec"]["replicas"]
    grace = PODS["engager"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > job.endpoint.timeout


def test_only_members_reach_the_cluster() -> None:
    policy = DOCUMENTS["NetworkPolicy", "engager-cluster"]["spec"]
    [rule] = policy["ingress"]
    [member] = rule["from"]
    assert member["podSelector"] == policy["podSelector"]
    label = policy["podSelector"]["matchLabels"].items()
    assert all(label <= pod["metadata"]["labels"].items() for pod in PODS.values())
    asked = {container(name)["readinessProbe"]["tcpSocket"]["port"] for name in ("scheduler", "worker")}
    assert {port["port"] for port in rule["ports"]} == asked
    service = DOCUMENTS["Service", "engager-scheduler"]["spec"]["selector"].items()
    assert service <= PODS["scheduler"]["metadata"]["labels"].items()


def free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


async def test_its_commands_send_the_rows(tmp_path: Path) -> None:
    """Each command as it is in the example, with the folders, the host and the ports of this machine."""
    config = SandboxConfig.from_mapping({"tokens": ["t0ken-of-the-tests"]})
    async with Sandbox(config) as sandbox:
        places = furnish(tmp_path, sandbox.url)
        started: list[Process] = []
        try:
            for name in ("scheduler", "worker", "engager"):
                started.append(await start(name, places, tmp_path))
            async with asyncio.timeout(90):
                code = await started[-1].wait()
        finally:
            for process in started:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        assert code == 0, (tmp_path / "engager.log").read_text()
        assert sandbox.brain.effects.total() == 20
    assert (tmp_path / "data/runs/campaign/summary.json").exists()


def furnish(folder: Path, url: str) -> Mapping[str, str]:
    """The files that the pods have; returns what stands for what on this machine."""
    scheduler, worker = free_ports(2)
    places = {
        path: str(folder / path[1:]) for path in ("/run/cluster", "/run/secrets", "/data", "/etc/engager")
    }
    for place in places.values():
        Path(place).mkdir(parents=True)
    authority = trustme.CA()
    member = authority.issue_cert("cluster")
    authority.cert_pem.write_to_path(f"{places['/run/cluster']}/ca.pem")
    member.private_key_and_cert_chain_pem.write_to_path(f"{places['/run/cluster']}/cluster.pem")
    member.private_key_pem.write_to_path(f"{places['/run/cluster']}/cluster.key")
    Path(places["/run/secrets"], "altcraft-token").write_text("t0ken-of-the-tests\n")
    people = "".join(f"p{number}@example.com\n" for number in range(20))
    Path(places["/data"], "people.csv").write_text(f"email\n{people}")
    places = {
        **places,
        "engager-scheduler:8786": f"127.0.0.1:{scheduler}",
        "--port=8786": f"--port={scheduler}",
        "=8788": f"={worker}",
        "https://ru.altkraft.com": url,
        "at_least = 2": "at_least = 1",
    }
    Path(places["/etc/engager"], "campaign.toml").write_text(here(JOB, places))
    return places


def here(text: str, places: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)


async def start(name: str, places: Mapping[str, str], folder: Path) -> Process:
    command = [here(word, places) for word in (*container(name)["command"], *container(name)["args"])]
    code = {
        "dask": "from dask.__main__ import main; main()",
        "engager": "from engager.cli import main; main()",
    }
    with (folder / f"{name}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code[command[0]], *command[1:]),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
