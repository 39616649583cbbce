"""What an operator lets pods mount, and the kubelet's words for what is not as the pod says."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.host_paths import HostPaths
from provider.model.volume import HostPathVolume

if TYPE_CHECKING:
    from pathlib import Path

FAILED = 'MountVolume.SetUp failed for volume "v" : '


def refused(paths: HostPaths, path: Path | str, kind: str = "") -> str:
    with pytest.raises(RuntimeFault) as fault:
        paths.ready(HostPathVolume("v", str(path), kind))
    assert fault.value.kind is FaultKind.MOUNT
    assert fault.value.message.startswith(FAILED)
    return fault.value.message.removeprefix(FAILED)


@pytest.mark.parametrize("path", ["/elsewhere", "{root}x", "{root}/a/../..", "{root}/../b"])
def test_only_what_is_allowed(tmp_path: Path, path: str) -> None:
    told = refused(HostPaths([str(tmp_path)]), path.format(root=tmp_path))
    assert told.endswith("is not below a path that pods.hostPath.allowedPaths of the configuration names")
    assert refused(HostPaths(), tmp_path).startswith(f"hostPath {tmp_path} is not below")


def test_the_longest_allowed_path_counts(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    paths = HostPaths([str(tmp_path), str(tmp_path / "a")])
    assert paths.place(HostPathVolume("v", f"{tmp_path}/a/b")) == (tmp_path / "a", "b")
    assert paths.place(HostPathVolume("v", str(tmp_path))) == (tmp_path, ".")


def test_directories_and_files_are_made(tmp_path: Path) -> None:
    paths = HostPaths([str(tmp_path)])
    for path, kind in (("a/b", "DirectoryOrCreate"), ("c", ""), ("a/b/f", "FileOrCreate")):
        for _ in range(2):
            paths.ready(HostPathVolume("v", f"{tmp_path}/{path}", kind))
    assert [(tmp_path / one).stat().st_mode & 0o777 for one in ("a/b", "c", "a/b/f")] == [0o755, 0o755, 0o644]
    assert "no such file or directory" in refused(paths, tmp_path / "no/f", "FileOrCreate")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("Directory", "directory"),
        ("File", "file"),
        ("Socket", "socket file"),
        ("CharDevice", "character device"),
        ("BlockDevice", "block device"),
    ],
)
def test_what_is_not_there(tmp_path: Path, kind: str, what: str) -> None:
    told = refused(HostPaths([str(tmp_path)]), tmp_path / "x", kind)
    assert told == (
        f"hostPath type check failed, {tmp_path}/x is not a {what}, unable to determine its type: "
        f'path "{tmp_path}/x" does not exist'
    )


def test_what_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.mkfifo(tmp_path / "pipe")
    paths = HostPaths([str(tmp_path)])
    paths.ready(HostPathVolume("v", f"{tmp_path}/f", "File"))
    assert refused(paths, tmp_path / "f", "DirectoryOrCreate") == (
        f"hostPath type check failed: {tmp_path}/f is not a directory, it's a File"
    )
    assert refused(paths, tmp_path / "f", "Directory") == (
        f"hostPath type check failed: {tmp_path}/f is not a directory, it's a File"
    )
    assert refused(paths, tmp_path, "FileOrCreate") == (
        f"hostPath type check failed: {tmp_path} is not a file, it's a Directory"
    )
    assert "only recognise file, directory" in refused(paths, tmp_path / "pipe", "File")
    assert refused(paths, tmp_path, "Door") == "Door is an invalid volume type"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        paths.ready(HostPathVolume("v", f"{tmp_path}/s", "Socket"))


def test_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "out").symlink_to(tmp_path)
    refused(HostPaths([str(inside)]), inside / "out/made", "DirectoryOrCreate")
    assert not (tmp_path / "made").exists()
