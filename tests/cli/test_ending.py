"""However a command ends, its exit code is right, and the error says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engager.cli.ending import exit_with
from engager.errors import Exit, JobError


class Panic(BaseException):
    """As of a package that is written in Rust."""


@pytest.mark.parametrize(
    ("fault", "code", "goes_on"),
    [
        (JobError("job.toml: wrong"), Exit.WRONG, False),
        (KeyboardInterrupt(), Exit.INTERRUPTED, False),
        (MemoryError(), Exit.INTERNAL, True),
        (OSError(28, "No space left on device", "/runs/test"), Exit.INTERNAL, True),
        (SystemError("error return without exception set"), Exit.INTERNAL, True),
        (Panic("out of memory"), Exit.INTERNAL, True),
        (ZeroDivisionError(), Exit.INTERNAL, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_is_an_exit_code(
    fault: BaseException, code: Exit, goes_on: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise fault

    with pytest.raises(SystemExit) as ended:
        exit_with(action)
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert ("the same command" in said) is goes_on
    assert ("Traceback" in said) is isinstance(fault, ZeroDivisionError)


async def test_with_json_logs_an_error_before_the_run_is_a_line_of_json(bench: Any) -> None:
    b = await bench(2)
    for args in (("job.toml", "--input", "gone.csv"), ("gone.toml",)):
        ended = await b.engager("run", *args, "--log-format", "json")
        lines = [json.loads(line) for line in ended.err.splitlines()]
        assert ended.code == Exit.WRONG
        assert [line["level"] for line in lines if line.get("event") == "error"] == ["error"]
        assert "gone" in lines[-1]["text"]
