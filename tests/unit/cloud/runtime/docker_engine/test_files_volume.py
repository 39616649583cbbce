"""What a container sees of a FilesVolume, before and after a replacement."""

import os
from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.files_volume import write_files
from provider.model.instance import FileEntry


def visible(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for name in [found.name for found in root.iterdir()]
        if not name.startswith("..")
        for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
        if path.is_file()
    }


def test_files_are_links_through_data(tmp_path: Path) -> None:
    write_files(tmp_path, [FileEntry("a", b"1", 0o400), FileEntry("d/b", b"2")])
    assert visible(tmp_path) == {"a": b"1", "d/b": b"2"}
    assert str((tmp_path / "a").readlink()) == "..data/a"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400


def test_replacement_shows_only_the_new_and_leaves_one_version(tmp_path: Path) -> None:
    write_files(tmp_path, [FileEntry("a", b"1"), FileEntry("gone", b"x")])
    held = (tmp_path / "..data").resolve()
    write_files(tmp_path, [FileEntry("a", b"2"), FileEntry("new", b"y")])
    assert visible(tmp_path) == {"a": b"2", "new": b"y"}
    assert not held.exists()
    assert len(list(tmp_path.glob("..v*"))) == 1
    assert not (tmp_path / "gone").is_symlink()


def test_the_same_content_changes_nothing(tmp_path: Path) -> None:
    files = [FileEntry("a", b"1")]
    write_files(tmp_path, files)
    before = (tmp_path / "..data").readlink()
    write_files(tmp_path, files)
    assert (tmp_path / "..data").readlink() == before


def test_what_a_crash_left_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "..vstray").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..vstray")
    write_files(tmp_path, [FileEntry("a", b"1")])
    assert visible(tmp_path) == {"a": b"1"}
    assert not (tmp_path / "..vstray").exists()


def test_the_group_may_read(tmp_path: Path) -> None:
    write_files(tmp_path, [FileEntry("a", b"1", 0o600), FileEntry("d/b", b"2", 0o200)], group=os.getgid())
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "d/b").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o2755


@pytest.mark.parametrize("group", [None, os.getgid()])
def test_a_change_of_mode_alone_is_applied(tmp_path: Path, group: int | None) -> None:
    write_files(tmp_path, [FileEntry("a", b"1", 0o640)], group)
    before = (tmp_path / "..data").readlink()
    write_files(tmp_path, [FileEntry("a", b"1", 0o644)], group)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    changed = (tmp_path / "..data").readlink()
    assert changed != before
    write_files(tmp_path, [FileEntry("a", b"1", 0o644)], group)
    assert (tmp_path / "..data").readlink() == changed


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "..data"])
def test_a_path_out_of_the_volume_writes_nothing(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="inside a volume"):
        write_files(tmp_path, [FileEntry("ok", b""), FileEntry(path, b"")])
    assert list(tmp_path.iterdir()) == []
