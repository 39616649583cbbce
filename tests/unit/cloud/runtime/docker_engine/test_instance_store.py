from __future__ import annotations

from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.instance_store import InstanceStore

if TYPE_CHECKING:
    from pathlib import Path


def test_what_cannot_be_an_instance_is_not_told_as_one(tmp_path: Path) -> None:
    root = tmp_path / "instances"
    for name in ("5b0c2a5e-11aa-4d0f-9a5b-0a1b2c3d4e5f", "lost+found", ".snapshots"):
        (root / name).mkdir(parents=True)
    (root / "notes.txt").write_text("of the operator")
    (root / "elsewhere").symlink_to(tmp_path)
    store = InstanceStore(tmp_path, SystemClock())
    assert store.uids() == ["5b0c2a5e-11aa-4d0f-9a5b-0a1b2c3d4e5f"]
    assert sorted(path.name for path in store.strangers()) == [".snapshots", "elsewhere", "lost+found", "notes.txt"]
    assert [store.spec(uid) for uid in store.uids()] == [None]


def test_before_the_first_instance_there_is_none(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, SystemClock())
    assert (store.uids(), store.strangers()) == ([], [])
