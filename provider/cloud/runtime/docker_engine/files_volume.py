"""Content of a FilesVolume on disk, replaced in one step as the kubelet's atomic writer does.

Source of the rule: kubernetes pkg/volume/util/atomic_writer.go. The files lie in a new `..<time>` directory; `..data`
is a link to it, renamed over the old one; what the user sees are links `<name> -> ..data/<name>`. A reader thus sees
all old or all new files, never a mixture. Blocking calls: run them in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.model.volume import FileEntry

_DATA = "..data"
_NEW_DATA = "..data_tmp"
_VERSIONS = "..[0-9]*"


def write_files(root: Path, files: Sequence[FileEntry], group: int | None = None, *, now: float = 0) -> None:
    """Make `root` show exactly these files; `group` is fsGroup, which then owns and may read them.

    `now` (seconds since the epoch) names the version's directory: `..2026_11_24_13_50_01.<random>`.
    ValueError for a path that is absolute, empty, leaves the volume, or begins with `..`; nothing is written then.
    """
    wanted = {_checked(entry.path): entry for entry in files}
    root.mkdir(parents=True, exist_ok=True)
    if _same(root, wanted, group):
        return
    old = root / _DATA
    previous = os.readlink(old) if old.is_symlink() else None  # noqa: PTH115 - the link's own text is wanted
    stamp = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    version = Path(tempfile.mkdtemp(prefix=stamp, dir=root))
    for path, entry in wanted.items():
        _write(version, path, entry, group)
    _open_directories(version, group)
    temporary = root / _NEW_DATA
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(version.name)
    temporary.rename(old)
    _link_names(root, {path.parts[0]: entry.owner for path, entry in wanted.items()}, group)
    if previous is not None:
        shutil.rmtree(root / previous)
    for stray in root.glob(_VERSIONS):  # what a crash between two steps has left
        if stray != version:
            shutil.rmtree(stray)


def _checked(text: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0].startswith(".."):
        raise ValueError(f"not a path inside a volume: {text!r}")
    return path


def _same(root: Path, wanted: dict[PurePosixPath, FileEntry], group: int | None) -> bool:
    data = root / _DATA
    if not data.is_dir():
        return False
    present = {PurePosixPath(found.relative_to(data).as_posix()) for found in data.rglob("*") if found.is_file()}
    return present == set(wanted) and all(
        (data / path).read_bytes() == entry.content
        and stat.S_IMODE((data / path).stat().st_mode) == _mode(entry, group)
        and (group is None or (data / path).stat().st_gid == group)
        and (entry.owner is None or (data / path).stat().st_uid == entry.owner)
        and (root / path.parts[0]).is_symlink()
        for path, entry in wanted.items()
    )


def _mode(entry: FileEntry, group: int | None) -> int:
    """Return a file's permissions: the group of a volume that containers cannot write to may read (volume_linux.go)."""
    return entry.mode if group is None else entry.mode | 0o440


def _write(version: Path, path: PurePosixPath, entry: FileEntry, group: int | None) -> None:
    target = version / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(entry.content)
    os.chown(target, *_owner(entry.owner, group))
    target.chmod(_mode(entry, group))


def _owner(user: int | None, group: int | None) -> tuple[int, int]:
    """Return what chown takes; -1 leaves it as it is."""
    return -1 if user is None else user, -1 if group is None else group


def _open_directories(version: Path, group: int | None) -> None:
    """Let everybody into the directories, whatever the umask; with a group, as the kubelet gives them to it."""
    for directory in (version, *(found for found in version.rglob("*") if found.is_dir())):
        if group is not None:
            os.chown(directory, -1, group)
        directory.chmod(0o755 if group is None else 0o2755)


def _link_names(root: Path, names: dict[str, int | None], group: int | None) -> None:
    for name, user in names.items():
        link = root / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
            os.lchown(link, *_owner(user, group))
    for present in root.iterdir():
        if present.is_symlink() and not present.name.startswith("..") and present.name not in names:
            present.unlink()
