"""The build: with `ENGAGER_COMPILE=yes`, what every row goes through is compiled.

mypyc turns typed Python into a C extension that does the same in less time. Its C has faults; one is mended
here, and `.ci/compiled` runs all tests on what is compiled.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# A class of a library that is not there would pass for `object`, and corrupt memory once it is.
_MYPY = """
[mypy]
cache_dir = {cache}
ignore_missing_imports = True
disallow_subclassing_any = True
follow_imports = silent
"""


class CompilingHook(BuildHookInterface):
    """Puts compiled modules beside their sources."""

    PLUGIN_NAME = "custom"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._folder: Path | None = None
        wish = os.environ.get("ENGAGER_COMPILE", "no")
        if wish not in ("yes", "no"):
            raise ValueError(f"ENGAGER_COMPILE is yes or no, and not {wish!r}")
        self._is_wanted = wish == "yes" and self.target_name == "wheel"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling."""
        return self.config["needs"] if self._is_wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        # In a checkout that is worked on, a compiled module would hide what is changed in its source.
        if self._is_wanted and version != "editable":
            self._folder = Path(tempfile.mkdtemp(prefix="engager-"))
            build_data["force_include"].update(self._compiled(self._folder))
            build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called behind it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compiled(self, folder: Path) -> dict[str, str]:
        from mypyc.build import mypycify
        from setuptools import Distribution

        (folder / "mypy.ini").write_text(_MYPY.format(cache=folder / "cache"))
        options = ["--config-file", str(folder / "mypy.ini"), *self.config["modules"]]
        with chdir(self.root):
            extensions = mypycify(options, opt_level="2", debug_level="0", target_dir=str(folder / "c"))
            _keep_globals(folder / "c", len(self.config["modules"]))
            distribution = Distribution({"name": "engager", "ext_modules": extensions})
            command = distribution.get_command_obj("build_ext")
            command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
            command.ensure_finalized()
            command.run()
        return {path: str(Path(path).relative_to(folder / "lib")) for path in command.get_outputs()}


def _keep_globals(folder: Path, modules: int) -> None:
    """Let every compiled module own the dict of its globals.

    mypyc only borrows it. As Python ends, the dict goes with its module, and compiled code may still run
    after that: what was left half-way, as the rows of an input are by a stop, is closed by the last
    collection of garbage. Its exception's traceback would then refer to freed memory, and crash.
    """
    found = 0
    for source in folder.rglob("*.c"):
        code = source.read_text(encoding="utf-8")
        code, kept = re.subn(r"= (PyModule_GetDict\(\w+\));", r"= Py_XNewRef(\1);", code)
        source.write_text(code, encoding="utf-8")
        found += kept
    if found != modules:
        raise RuntimeError(f"mypyc takes the globals of {found} modules, and {modules} are compiled")
