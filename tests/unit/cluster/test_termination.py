"""A command that gets SIGTERM undoes what it has made, wherever it is just then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from provider.cluster.termination import TERMINATED

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = """
import asyncio, signal, sys
from pathlib import Path
from provider.clock import SystemClock
from provider.cluster.build_command import run
from provider.cluster.installation import Installation
from provider.cluster.steps import Steps
from provider.cluster.termination import run_undoable
from provider.cluster.undo import undoing

root, clock = Path(sys.argv[1]), SystemClock()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a command that a script runs in the background

async def undo():
    for part in range(3):
        await clock.sleep(0.01)
        print("undone", part, flush=True)

async def waiting():
    print("begun", flush=True)
    await clock.sleep(60)

async def building():
    run(["sh", "-c", "echo $$ > {}; sleep 60".format(root / "pid")], what="a build", log=root / "log", timeout=50,
        next_step="none", tick=lambda: print("begun", flush=True))

async def main():
    async with undoing(Installation("term-unit", root / "state", clock), Steps(), undo):
        await globals()[sys.argv[2]]()

run_undoable(main())
print("went on")
"""


@pytest.mark.parametrize("where", ["waiting", "building"])
def test_what_was_made_is_undone(tmp_path: Path, where: str) -> None:
    environment = os.environ | {"ZONELET_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-c", _SCRIPT, str(tmp_path), where]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        words = ""
        while "undone 0" not in words:
            words = process.stdout.readline()
            assert words, process.stderr
        process.send_signal(signal.SIGTERM)  # a second one does not disturb the undoing
        rest, told = process.communicate(timeout=30)
    assert (process.returncode, rest) == (TERMINATED, "undone 1\nundone 2\n"), told
    assert "what was made is undone" in told
    if where == "building":
        assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")  # noqa: PTH110
