"""However a command ends, its exit code is right, and the error says what to do."""

from __future__ import annotations

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
