"""A run that is stopped and continued is one run to the endpoint."""

from __future__ import annotations

from pathlib import Path

import engager
from engager import Control, Event, Progressed
from engager.sandbox import Sandbox, SandboxConfig


async def test_what_left_before_a_stop_counts_for_the_rate_after_it(tmp_path: Path) -> None:
    """In one process, where no start takes the time that has to pass."""
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(300)))
    control = Control()

    def stop_early(event: Event) -> None:
        if isinstance(event, Progressed) and event.snapshot.rows > 40:
            control.stop("enough")

    async with Sandbox(SandboxConfig.from_mapping({"keep_log": True})) as sandbox:
        job = engager.build_job(
            {
                "job": {"name": "stopped"},
                "endpoint": {"url": sandbox.url, "token": "file:token"},
                "input": {"path": "people.csv"},
                "request": {"id": 12, "email": "{email}"},
                "limits": {"rate": 100},
                "output": {"report": False},
            },
            base=tmp_path,
        )
        (tmp_path / "token").write_text("t0ken-of-the-tests")
        first = await engager.run_async(job, out=tmp_path / "run", control=control, watch=stop_early)
        before = len(sandbox.log)
        second = await engager.run_async(job, out=tmp_path / "run")
        assert (first.exit_code, second.exit_code) == (3, 0)
        assert sandbox.log[before].arrived - sandbox.log[before - 1].arrived >= 1
