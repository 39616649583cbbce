"""What a container sees of a FilesVolume, before and after a replacement."""

import os
from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.files_volume import write_files
from provider.model.volume import FileEntry


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
    assert len(list(tmp_path.glob("..[0-9]*"))) == 1
    assert not (tmp_path / "gone").is_symlink()


def test_the_same_content_changes_nothing(tmp_path: Path) -> None:
    files = [FileEntry("a", b"1")]
    write_files(tmp_path, files)
    before = (tmp_path / "..data").readlink()
    write_files(tmp_path, files)
    assert (tmp_path / "..data").readlink() == before


def test_what_a_crash_left_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "..1999_stray").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..1999_stray")
    write_files(tmp_path, [FileEntry("a", b"1")])
    assert visible(tmp_path) == {"a": b"1"}
    assert not (tmp_path / "..1999_stray").exists()


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


def test_a_version_is_named_by_its_time(tmp_path: Path) -> None:
    write_files(tmp_path, [FileEntry("a", b"1")], now=1_700_000_000)
    assert str((tmp_path / "..data").readlink()).startswith("..2023_11_14_22_13_20.")
    write_files(tmp_path, [FileEntry("a", b"2")], now=1_700_000_060)
    versions = [one.name for one in tmp_path.iterdir() if one.name.startswith("..2")]
    assert versions == [str((tmp_path / "..data").readlink())]
    assert versions[0].startswith("..2023_11_14_22_14_20.")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_an_owner_has_the_file_and_its_link(tmp_path: Path) -> None:
    write_files(tmp_path, [FileEntry("token", b"1", 0o600, 1234), FileEntry("ca", b"2")], 4321)
    assert [(one.st_uid, one.st_gid, one.st_mode & 0o777) for one in [(tmp_path / "token").stat()]] == [
        (1234, 4321, 0o640)
    ]
    assert ((tmp_path / "token").lstat().st_uid, (tmp_path / "ca").stat().st_uid) == (1234, 0)
    before = (tmp_path / "..data").readlink()
    write_files(tmp_path, [FileEntry("token", b"1", 0o600, 99), FileEntry("ca", b"2")], 4321)
    assert (tmp_path / "..data").readlink() != before
    assert (tmp_path / "token").stat().st_uid == 99
