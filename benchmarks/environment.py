"""A bare checkout in, the tools of the benchmark out: a virtual environment, Debian's packages, npm's.

Everything of pip's and npm's goes to `.bench/`, which git ignores. What cannot be installed is reported, not
fatal.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
VENV = CACHE / "venv"

#: What engager is built by, beside its sources.
BUILD = ("pyproject.toml",)
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"

#: Where Python finds the benchmarks, and nothing else of this checkout.
PATH = CACHE / "path"
NPM = CACHE / "npm"

#: The program or file that is looked for, and the Debian package that has it.
DEBIAN = {
    "nginx": "nginx-light",
    "openssl": "openssl",
    "wrk": "wrk",
    "hey": "hey",
    "curl": "curl",
    "npm": "npm",
    "/usr/lib/nginx/modules/ngx_http_echo_module.so": "libnginx-mod-http-echo",
}
AUTOCANNON = "autocannon@8"

#: Nothing is installed for it: what bears its name in the registries is a dummy, or of unknown origin.
K6 = "Debian has no package of it; it is measured where it is on the PATH"


def enter() -> None:
    """Go on in the benchmark's own environment, made or brought up to date where need be."""
    if Path(sys.prefix) == VENV:
        return
    provide(VENV, ROOT, "-r", str(REQUIREMENTS))
    # What is measured is the installed package, its bytecode at hand: its sources must not come first.
    PATH.mkdir(exist_ok=True)
    (PATH / "benchmarks").unlink(missing_ok=True)
    (PATH / "benchmarks").symlink_to(ROOT / "benchmarks")
    os.environ["PYTHONPATH"] = str(PATH)
    python = str(VENV / "bin" / "python")
    os.execv(python, [python, "-P", "-m", "benchmarks", *sys.argv[1:]])


def provide(venv: Path, source: Path, *more: str) -> None:
    """An environment with the engager of a folder and further packages; created if it does not exist."""
    needed, stamp = _fingerprint(source), venv / "installed"
    if stamp.exists() and stamp.read_text() == needed:
        return
    print(f"installing what is measured into {venv} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{source}[cluster,metrics]", *more], check=True)
    stamp.write_text(needed)


def _fingerprint(source: Path) -> str:
    """Of everything that is installed, and of what runs it."""
    files = (*(source / name for name in BUILD), REQUIREMENTS)
    sources = sorted((source / "engager").rglob("*.py"))
    python = f"{sys.base_prefix} {sys.version}".encode()
    return hashlib.sha256(b"".join((python, *(file.read_bytes() for file in (*files, *sources))))).hexdigest()


def install() -> dict[str, str]:
    """Install what is not there yet; returns why a tool cannot be had."""
    reasons = {} if find("k6") else {"k6": K6}
    wanted = [tool for tool in DEBIAN if not find(tool) and not Path("/", tool).exists()]
    if wanted and (fault := _apt("update", "-qq")):
        reasons |= dict.fromkeys(wanted, fault)
    else:
        for tool in wanted:
            if fault := _apt("install", "-qq", "-y", "--no-install-recommends", DEBIAN[tool]):
                reasons[tool] = fault
    if not find("autocannon") and (fault := _npm(AUTOCANNON)):
        reasons["autocannon"] = fault
    return reasons


def _apt(*arguments: str) -> str | None:
    if not shutil.which("apt-get"):
        return "there is no apt-get here"
    return _quietly([*([] if os.geteuid() == 0 else ["sudo", "-n"]), "apt-get", *arguments])


def _npm(package: str) -> str | None:
    if not (npm := find("npm")):
        return "there is no npm here"
    return _quietly([npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(NPM), package])


def _quietly(command: list[str]) -> str | None:
    """Run it; returns what it said last where it failed."""
    shown = " ".join(command)
    print(shown, file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    reported = (done.stderr or done.stdout).strip().splitlines()
    return (
        f"`{shown}`: {reported[-1] if reported else f'ended with {done.returncode}'}"
        if done.returncode
        else None
    )


def find(tool: str) -> str | None:
    """Where a tool is, in the benchmark's own folders, on the PATH or among the system's."""
    folders = [str(VENV / "bin"), str(NPM / "node_modules" / ".bin"), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(tool, path=os.pathsep.join(folders))
