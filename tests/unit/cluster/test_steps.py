import io

import pytest
from rich.console import Console

from provider.cluster.steps import SetupError, Steps


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with Steps(Console(file=out)).step("build [x]") as report:
        report("half")
    assert out.getvalue().splitlines() == ["==> build [x]", "    half", "==> build [x]: done"]


def test_a_failed_step_has_a_cross_on_a_terminal_and_the_error_passes_on() -> None:
    out = io.StringIO()
    with pytest.raises(SetupError), Steps(Console(file=out, force_terminal=True)).step("build"):
        raise SetupError("a", "b", "c")
    assert "✗" in out.getvalue()
    assert "✓" not in out.getvalue()


def test_a_failure_says_what_why_and_next() -> None:
    out = io.StringIO()
    Steps(Console(file=out)).failure(SetupError("it broke", "no disk", "free some"))
    for text in ("it broke", "no disk", "free some"):
        assert text in out.getvalue()
