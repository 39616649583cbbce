"""Paths of the engine's host that an operator lets pods mount. Blocking; root.

Type checks and their texts: kubernetes pkg/volume/hostpath. A path is opened part by part below the allowed directory
that it belongs to (subpath.open_inside), so that no link which a container has made there leads anywhere else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.subpath import SubPathError, open_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.model.volume import HostPathVolume

_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
_DIRECTORY = "Directory"
_WANTED = {
    "DirectoryOrCreate": (_DIRECTORY, "directory"),
    "Directory": (_DIRECTORY, "directory"),
    "FileOrCreate": ("File", "file"),
    "File": ("File", "file"),
    "Socket": ("Socket", "socket file"),
    "CharDevice": ("CharDevice", "character device"),
    "BlockDevice": ("BlockDevice", "block device"),
}
"""By the volume's type: what the path has to be, and the kubelet's name of that."""
_FOUND = (
    (stat.S_ISDIR, _DIRECTORY),
    (stat.S_ISREG, "File"),
    (stat.S_ISSOCK, "Socket"),
    (stat.S_ISCHR, "CharDevice"),
    (stat.S_ISBLK, "BlockDevice"),
)


class HostPaths:
    """The directories that pods may mount, and everything below them."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Take the `allowed` absolute paths; the longest one that fits a volume counts."""
        self._allowed = sorted((PurePosixPath(one) for one in allowed), key=lambda one: len(one.parts), reverse=True)

    def ready(self, volume: HostPathVolume) -> None:
        """Make sure that the path is what the volume says that it is. RuntimeFault MOUNT in the kubelet's words."""
        root, inside = self.place(volume)
        try:
            missing = not Path(volume.path).exists()
            if missing and volume.kind in ("", "DirectoryOrCreate"):
                # Without a type the kubelet checks nothing, and the runtime makes a directory of what is missing.
                os.close(open_inside(str(root), inside, _DIRECTORY_MODE))
            elif missing and volume.kind == "FileOrCreate":
                _make_file(root, PurePosixPath(inside))
        except (OSError, SubPathError) as error:
            raise _fault(volume, f"{volume.path}: {error}") from error
        if volume.kind:
            _check(volume)

    def place(self, volume: HostPathVolume) -> tuple[Path, str]:
        """Return the allowed directory that the path belongs to, and the path relative to that. RuntimeFault MOUNT."""
        path = PurePosixPath(volume.path)
        for root in self._allowed:
            if path.is_relative_to(root) and ".." not in path.parts:
                return Path(root).resolve(), str(path.relative_to(root))
        text = f"hostPath {volume.path} is not below a path that pods.hostPath.allowedPaths of the configuration names"
        raise _fault(volume, text)


def _check(volume: HostPathVolume) -> None:
    wanted = _WANTED.get(volume.kind)
    if wanted is None:
        raise _fault(volume, f"{volume.kind} is an invalid volume type")
    failed = "hostPath type check failed"
    try:
        mode = Path(volume.path).stat().st_mode
    except FileNotFoundError:
        unknown = f'unable to determine its type: path "{volume.path}" does not exist'
        raise _fault(volume, f"{failed}, {volume.path} is not a {wanted[1]}, {unknown}") from None
    found = next((name for is_kind, name in _FOUND if is_kind(mode)), "")
    if not found:
        unknown = "only recognise file, directory, socket, block device and character device"
        raise _fault(volume, f"{failed}, {volume.path} is not a {wanted[1]}, unable to determine its type: {unknown}")
    if found != wanted[0]:
        raise _fault(volume, f"{failed}: {volume.path} is not a {wanted[1]}, it's a {found}")


def _make_file(root: Path, inside: PurePosixPath) -> None:
    """Make an empty file; its directory has to be there, as for the kubelet."""
    if not (root / inside).parent.is_dir():
        raise FileNotFoundError(2, "no such file or directory", str(root / inside))
    parent = open_inside(str(root), str(inside.parent))
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(inside.name, flags, _FILE_MODE, dir_fd=parent))
    finally:
        os.close(parent)


def _fault(volume: HostPathVolume, text: str) -> RuntimeFault:
    return RuntimeFault(FaultKind.MOUNT, f'MountVolume.SetUp failed for volume "{volume.name}" : {text}')
