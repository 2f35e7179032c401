"""The build: what every row goes through is compiled, where there is a compiler.

mypyc turns typed Python into a C extension that does the same in less time. Without a compiler, or where
anything about it fails, the wheel holds the Python alone: it is the same program, only slower.
`ENGAGER_COMPILE=no` does without, `ENGAGER_COMPILE=required` fails instead of doing without.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: "no", "if possible" or "required".
_WISH = os.environ.get("ENGAGER_COMPILE", "if possible")

_MYPY = """
[mypy]
cache_dir = {cache}
ignore_missing_imports = True
follow_imports = silent
"""


class CompiledHook(BuildHookInterface):
    """Puts compiled modules beside their sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling."""
        return self.config["needs"] if self._is_wanted else []

    @property
    def _is_wanted(self) -> bool:
        return self.target_name == "wheel" and _WISH != "no"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        # In a checkout that is worked on, a compiled module would hide what is changed in its source.
        if not self._is_wanted or version == "editable":
            return
        try:
            made = self._compile()
        except (Exception, SystemExit) as fault:  # mypyc ends the process where it cannot go on
            if _WISH == "required":
                raise
            self.app.display_warning(f"nothing was compiled: {fault!r}")
            return
        build_data["force_include"].update(made)
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def _compile(self) -> dict[str, str]:
        from mypyc.build import mypycify
        from setuptools import Distribution

        folder = Path(tempfile.mkdtemp(prefix="engager-"))
        (folder / "mypy.ini").write_text(_MYPY.format(cache=folder / "cache"))
        os.chdir(self.root)
        options = ["--config-file", str(folder / "mypy.ini"), *self.config["modules"]]
        extensions = mypycify(options, opt_level="2", debug_level="0", target_dir=str(folder / "c"))
        command = Distribution({"name": "engager", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
        command.ensure_finalized()
        command.run()
        return {path: str(Path(path).relative_to(folder / "lib")) for path in command.get_outputs()}
