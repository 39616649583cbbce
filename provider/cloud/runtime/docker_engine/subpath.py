"""A path inside a volume, opened so that nothing a container did there can lead out of it. Blocking.

Rule: k8s.io/kubernetes/pkg/volume/util/subpath. Every part is opened below the one before, without following links;
a link is read and its text walked the same way; what is missing becomes a directory with the volume's own permissions.
A container that moves directories about at the same time changes names, not the open file, and that is what is mounted.
"""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath

_MOST_LINKS = 40
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS = 0o3777


class SubPathError(Exception):
    """The path leaves the volume, or something that is no directory is in its way."""


def open_inside(volume: str, sub_path: str, mode: int | None = None) -> int:
    """Return an O_PATH descriptor of `sub_path` in the directory `volume`, made if missing. SubPathError, OSError.

    `mode` is that of directories that are made; None: the volume's own.
    """
    path = PurePosixPath(sub_path)
    if path.is_absolute() or ".." in path.parts:
        raise SubPathError("a subPath is relative and has no '..'")
    base = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened = [base]
    try:
        _walk(opened, list(path.parts), os.fstat(base).st_mode & _PERMISSIONS if mode is None else mode)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in opened[:-1]:
        os.close(descriptor)
    return opened[-1]


def _walk(opened: list[int], parts: list[str], mode: int) -> None:
    """Open the parts one below the other; `opened` is the way back for `..` in links, the volume first."""
    links = 0
    while parts:
        part = parts.pop(0)
        if part == "..":
            if len(opened) == 1:
                raise SubPathError("a symbolic link leads out of the volume")
            os.close(opened.pop())
            continue
        found = _open(opened[-1], part, mode)
        status = os.fstat(found).st_mode
        if not stat.S_ISLNK(status):
            opened.append(found)
            if parts and not stat.S_ISDIR(status):
                raise SubPathError("a part of the path is not a directory")
            continue
        try:
            text = os.readlink("", dir_fd=found)
        finally:
            os.close(found)
        links += 1
        if links > _MOST_LINKS:
            raise SubPathError("too many symbolic links")
        target = PurePosixPath(text)
        if target.is_absolute():
            raise SubPathError("a symbolic link leads out of the volume")
        parts[:0] = target.parts


def _open(parent: int, name: str, mode: int) -> int:
    try:
        return os.open(name, _WALK, dir_fd=parent)
    except FileNotFoundError:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return os.open(name, _WALK, dir_fd=parent)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchmod(made, mode)  # the umask cut what mkdir was given
    finally:
        os.close(made)
    return os.open(name, _WALK, dir_fd=parent)
