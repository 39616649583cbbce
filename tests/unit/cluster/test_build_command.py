"""A command that fails says what, why and what next; one that hangs is ended with all it started."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.build_command import BuildError, capture, run
from provider.cluster.processes import start_time, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    run(["sh", "-c", "echo out; echo err >&2"], what="it", log=log, timeout=20, next_step="-")
    assert log.read_text().splitlines() == ["$ sh -c echo out; echo err >&2", "out", "err"]


def test_a_failure_carries_the_last_lines_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", "seq 100; exit 3"], what="building etcd", log=log, timeout=20, next_step="read the log")
    error = caught.value
    assert error.what == "building etcd failed with exit code 3"
    assert error.why.splitlines()[-1] == "100"
    assert len(error.why.splitlines()) == 12
    assert str(error).endswith(f"next: read the log\nlog: {log}")


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    with pytest.raises(BuildError, match="was ended"):
        run(["sh", "-c", script], what="it", log=tmp_path / "x.log", timeout=2, next_step="-")
    child = int(pid_file.read_text())
    assert asyncio.run(wait_until(SystemClock(), lambda: start_time(child) is None, 10))


def test_ticks_while_it_waits(tmp_path: Path) -> None:
    ticks: list[int] = []
    with pytest.raises(BuildError):
        run(
            ["sleep", "60"],
            what="it",
            log=tmp_path / "x.log",
            timeout=0.2,
            next_step="-",
            tick=lambda: ticks.append(1),
        )
    assert ticks == [1]


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="did not start"):
        run(["/no/such/program"], what="it", log=tmp_path / "x.log", timeout=5, next_step="-")
    with pytest.raises(BuildError, match="did not start"):
        capture(["/no/such/program"], what="it", timeout=5, next_step="-")


def test_capture_returns_standard_output_and_tells_both_when_it_fails() -> None:
    assert capture(["echo", "x"], what="it", timeout=5, next_step="-") == "x\n"
    with pytest.raises(BuildError) as caught:
        capture(["sh", "-c", "echo out; echo err >&2; exit 1"], what="it", timeout=5, next_step="-")
    assert caught.value.why == "out\n\nerr"
    with pytest.raises(BuildError, match="took longer"):
        capture(["sleep", "60"], what="it", timeout=0.1, next_step="-")


def test_the_environment_is_the_given_one(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "ONLY": "this"}
    assert capture(["sh", "-c", "echo $ONLY"], what="it", timeout=5, next_step="-", env=given, cwd=tmp_path) == "this\n"
