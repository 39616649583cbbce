"""How much a tree takes on its disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.disk_use import directory_use

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


def blocks(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_a_tree_is_counted_once(tmp_path: Path) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (below / "f").write_bytes(os.urandom(MIB))
    (tmp_path / "again").hardlink_to(below / "f")
    (tmp_path / "link").symlink_to(below)
    whole = [tmp_path, tmp_path / "a", below, below / "f", tmp_path / "link"]
    assert directory_use(tmp_path) == blocks(*whole)
    assert directory_use(tmp_path) >= MIB


def test_holes_take_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 * MIB)
    assert directory_use(tmp_path) < MIB


def test_what_is_not_there_takes_none(tmp_path: Path) -> None:
    assert directory_use(tmp_path / "none") == 0
