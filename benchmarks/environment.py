"""A bare checkout in, the tools of the benchmark out: a virtual environment, Debian's packages, npm's.

Everything of pip's and npm's goes to `.bench/`, which git ignores. What cannot be had is told, not fatal.
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
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit("benchmarks: engager runs on Python 3.11 to 3.13; start this with one of them.")
    python = VENV / "bin" / "python"
    needed = fingerprint()
    stamp = CACHE / "installed"
    if not python.exists() or not stamp.exists() or stamp.read_text() != needed:
        print(f"installing engager and what it is measured with into {VENV} …", file=sys.stderr)
        CACHE.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install_engager(VENV, ROOT, "-r", str(ROOT / "benchmarks" / "requirements.txt"))
        stamp.write_text(needed)
    # What is measured is the compiled package: its sources must not come first.
    PATH.mkdir(exist_ok=True)
    (PATH / "benchmarks").unlink(missing_ok=True)
    (PATH / "benchmarks").symlink_to(ROOT / "benchmarks")
    os.environ["PYTHONPATH"] = str(PATH)
    os.execv(python, [str(python), "-P", "-m", "benchmarks", *sys.argv[1:]])


def install_engager(venv: Path, source: Path, *more: str) -> None:
    """Install engager, compiled, and what else is wanted."""
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    compiling = {**os.environ, "ENGAGER_COMPILE": "yes"}
    subprocess.run([*pip, f"{source}[metrics]", *more], check=True, env=compiling)


def fingerprint() -> str:
    """Of everything that is installed, and of what runs it."""
    files = (ROOT / "pyproject.toml", ROOT / "hatch_build.py", ROOT / "benchmarks" / "requirements.txt")
    sources = sorted((ROOT / "engager").rglob("*.py"))
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
    told = (done.stderr or done.stdout).strip().splitlines()
    return f"`{shown}`: {told[-1] if told else f'ended with {done.returncode}'}" if done.returncode else None


def find(tool: str) -> str | None:
    """Where a tool is, in the benchmark's own folders, on the PATH or among the system's."""
    folders = [str(VENV / "bin"), str(NPM / "node_modules" / ".bin"), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(tool, path=os.pathsep.join(folders))
