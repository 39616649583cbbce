from __future__ import annotations

from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cluster.installation import Installation, Record

if TYPE_CHECKING:
    from pathlib import Path

LEFT_BY_THE_PROVIDER = ("provider.lock", "elastic.sock", "journal.sqlite", "journal.sqlite-wal", "nodes/a.kubeconfig")


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
