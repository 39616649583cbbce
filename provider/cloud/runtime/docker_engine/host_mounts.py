"""Mounts on the engine's host: tmpfs and bind mounts under the state directory. Blocking; needs CAP_SYS_ADMIN; OSError.

mount(2) is called directly: a process for mount(8) costs more than the rest of a sandbox's files together.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_MOUNTS = Path("/proc/self/mountinfo")
_POINT = 4
_OCTAL = re.compile(r"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(path: Path, mode: int, size: int | None = None) -> None:
    """Mount an empty tmpfs of at most `size` bytes (None: half of the machine's memory); one already there stays."""
    if path.is_mount():
        return
    options = f"mode={mode:o}" + ("" if size is None else f",size={size}")
    _mount("tmpfs", path, "tmpfs", 0, options)


def bind(source: str, target: Path, *, recursive: bool = False) -> None:
    """Show `source` (a file, a directory, an open /proc/self/fd/N) at `target`, which is of the same kind.

    `recursive`: with what is mounted below it. The copies are private, so that `unmount` takes away only these.
    """
    if not recursive:
        _mount(source, target, "", _MS_BIND, "")
        return
    _mount(source, target, "", _MS_BIND | _MS_REC, "")
    _mount("", target, "", _MS_REC | _MS_PRIVATE, "")


def unmount(path: Path) -> None:
    """Take away the topmost mount at `path`, now for new users, and for the last one when it has gone."""
    if _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
        _raise("umount", path)


def mounts_below(root: Path) -> list[Path]:
    """Return every mount point at or below `root`, in the order in which they can be unmounted."""
    prefix = f"{root}/"
    found = []
    for line in _MOUNTS.read_text().splitlines():
        text = line.split(" ", _POINT + 1)[_POINT]
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text
        if point == str(root) or point.startswith(prefix):
            found.append(Path(point))
    return found[::-1]


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    arguments = os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()
    if _libc.mount(*arguments) != 0:
        _raise("mount", target)


def _raise(act: str, path: Path) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{act}: {os.strerror(number)}", str(path))
