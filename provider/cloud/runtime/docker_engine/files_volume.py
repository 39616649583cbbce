"""Content of a FilesVolume on disk, replaced in one step as the kubelet's atomic writer does.

Source of the rule: kubernetes pkg/volume/util/atomic_writer.go. The files lie in a new `..<time>` directory; `..data`
is a link to it, renamed over the old one; what the user sees are links `<name> -> ..data/<name>`. A reader thus sees
all old or all new files, never a mixture. Blocking calls: run them in a thread.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.model.instance import FileEntry

_DATA = "..data"
_NEW_DATA = "..data_tmp"
_PREFIX = "..v"


def write_files(root: Path, files: Sequence[FileEntry], group: int | None = None) -> None:
    """Make `root` show exactly these files; `group` is fsGroup, which may then read what the owner may.

    ValueError for a path that is absolute, empty, leaves the volume, or begins with `..`; nothing is written then.
    """
    wanted = {_checked(entry.path): entry for entry in files}
    root.mkdir(parents=True, exist_ok=True)
    if _same(root, wanted):
        return
    old = root / _DATA
    previous = os.readlink(old) if old.is_symlink() else None  # noqa: PTH115 - the link's own text is wanted
    version = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    version.chmod(0o755)
    for path, entry in wanted.items():
        _write(version, path, entry, group)
    temporary = root / _NEW_DATA
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(version.name)
    temporary.rename(old)
    _link_names(root, {path.parts[0] for path in wanted})
    if previous is not None:
        shutil.rmtree(root / previous)
    for stray in root.glob(_PREFIX + "*"):  # what a crash between two steps has left
        if stray != version:
            shutil.rmtree(stray)


def _checked(text: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0].startswith(".."):
        raise ValueError(f"not a path inside a volume: {text!r}")
    return path


def _same(root: Path, wanted: dict[PurePosixPath, FileEntry]) -> bool:
    data = root / _DATA
    if not data.is_dir():
        return False
    present = {PurePosixPath(found.relative_to(data).as_posix()) for found in data.rglob("*") if found.is_file()}
    return present == set(wanted) and all(
        (data / path).read_bytes() == entry.content
        and (data / path).stat().st_mode & 0o700 == entry.mode & 0o700
        and (root / path.parts[0]).is_symlink()
        for path, entry in wanted.items()
    )


def _write(version: Path, path: PurePosixPath, entry: FileEntry, group: int | None) -> None:
    target = version / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(entry.content)
    mode = entry.mode
    if group is not None:
        os.chown(target, -1, group)
        mode |= (mode & 0o600) >> 3  # kubernetes pkg/volume/volume_linux.go: the group gets rw as the owner has it
    target.chmod(mode)


def _link_names(root: Path, names: set[str]) -> None:
    for name in names:
        link = root / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for present in root.iterdir():
        if present.is_symlink() and not present.name.startswith("..") and present.name not in names:
            present.unlink()
