from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.down import take_down
from provider.cluster.installation import Installation, Record
from provider.cluster.local_up import up_local
from provider.cluster.steps import SetupError, Steps
from provider.exclusive import hold

if TYPE_CHECKING:
    from pathlib import Path

LEFT_BY_THE_PROVIDER = (
    "provider.lock",
    "elastic.sock",
    "pulls.json",
    "journal.sqlite",
    "journal.sqlite-wal",
    "nodes/a.kubeconfig",
)


def installation(state: Path) -> Installation:
    made = Installation("zonelet", state, SystemClock())
    made.write_record(Record("local"))
    (state / "nodes").mkdir()
    for name in LEFT_BY_THE_PROVIDER:
        (state / name).touch()
    return made


def test_nothing_of_an_installation_is_left(tmp_path: Path) -> None:
    state = tmp_path / "state"
    installation(state).remove_files()
    assert not state.exists()


def test_a_file_of_somebody_else_keeps_the_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = installation(state)
    (state / "notes.txt").touch()
    made.remove_files()
    assert [each.name for each in state.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"cluster": 3}', b'"\xff"'])
def test_a_spoiled_record_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    made = installation(tmp_path)
    (tmp_path / "installation.json").write_bytes(content)
    with pytest.raises(SetupError) as failed:
        made.record()
    assert str(tmp_path / "installation.json") in failed.value.what
    assert '{"cluster": "local"}' in failed.value.next_step
    assert "zonelet down --name zonelet" in failed.value.next_step


def test_what_the_advice_wants_written_is_a_record(tmp_path: Path) -> None:
    made = installation(tmp_path)
    (tmp_path / "installation.json").write_text('{"cluster": "current", "context": "NAME"}')
    assert made.record() == Record("current", "NAME")


def test_a_record_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    made = installation(tmp_path)
    (tmp_path / "installation.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        made.write_record(Record("current", "other"))
    assert made.record() == Record("local")


async def test_a_provider_that_was_just_killed_is_waited_for(tmp_path: Path) -> None:
    """Its name is held until the last of its threads has ended, which is after its pid counts as ended."""
    name = f"updown-unit-{os.getpid()}"
    mine = Installation(name, tmp_path / "mine", SystemClock())
    mine.provider.directory.mkdir(parents=True)
    mine.provider.pid_file.write_text(f"{os.getpid()} 1\n")  # not this process: it began at another time
    async with asyncio.TaskGroup() as group:
        with hold(name, tmp_path / "dying"):
            waiting = group.create_task(mine.require_unserved())
            await mine.clock.sleep(0)
            assert not waiting.done()


async def test_what_another_provider_of_the_name_has_is_not_touched(tmp_path: Path) -> None:
    name = f"zl-unit-held-{os.getpid()}"
    mine = Installation(name, tmp_path / "mine", SystemClock())
    await mine.require_unserved()
    with hold(name, tmp_path / "other"):
        for act in (take_down(mine, Steps()), up_local(mine, Steps())):
            with pytest.raises(SetupError, match=f"another provider of this machine serves an installation {name}"):
                await act
    assert not mine.state.exists()
