"""A path inside a volume never leads out of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.subpath import SubPathError, open_inside


@contextmanager
def opened(volume: Path, sub_path: str) -> Iterator[Path]:
    descriptor = open_inside(str(volume), sub_path)
    try:
        yield Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir()
    made.chmod(0o2775)
    return made


def test_what_is_missing_becomes_directories_like_the_volume(volume: Path) -> None:
    with opened(volume, "a/b") as found:
        assert found == volume / "a/b"
        assert [(volume / part).stat().st_mode & 0o7777 for part in ("a", "a/b")] == [0o2775, 0o2775]


def test_files_and_links_inside_are_followed(volume: Path) -> None:
    (volume / "..v1").mkdir()
    (volume / "..v1/file").write_text("x")
    (volume / "..data").symlink_to("..v1")
    (volume / "file").symlink_to("..data/file")
    (volume / "deep").mkdir()
    (volume / "deep/up").symlink_to("../..data")
    for path in ("file", "deep/up/file", "./deep//up/file"):
        with opened(volume, path) as found:
            assert found == volume / "..v1/file"


@pytest.mark.parametrize("target", ["/etc", "..", "../..", "a/../../x"])
def test_a_link_that_leads_out_is_refused(volume: Path, target: str) -> None:
    (volume / "a").mkdir()
    (volume / "out").symlink_to(target)
    with pytest.raises(SubPathError, match="out of the volume"), opened(volume, "out/passwd"):
        pass
    assert list(volume.parent.iterdir()) == [volume]


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x"])
def test_a_path_that_leads_out_is_refused(volume: Path, path: str) -> None:
    with pytest.raises(SubPathError), opened(volume, path):
        pass


def test_a_file_in_the_way_and_a_link_to_itself(volume: Path) -> None:
    (volume / "file").write_text("")
    (volume / "loop").symlink_to("loop")
    with pytest.raises(SubPathError, match="not a directory"), opened(volume, "file/x"):
        pass
    with pytest.raises(SubPathError, match="too many"), opened(volume, "loop"):
        pass


def test_no_descriptor_is_left_open(volume: Path) -> None:
    (volume / "out").symlink_to("..")
    with opened(volume, "a/b/c"):
        pass
    with pytest.raises(SubPathError), opened(volume, "a/../out/x"):
        pass
    with pytest.raises(SubPathError), opened(volume, "out/x"):
        pass
    held = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert [path for path in held if path.is_relative_to(volume.parent)] == []
