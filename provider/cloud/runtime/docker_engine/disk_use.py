"""The local disk that one instance uses: writable layers, logs, emptyDirs that are no tmpfs, /etc files.

Rule: the kubelet's stats (cadvisor fs.GetDirUsage): blocks on one file system, a file with several names once. Layers
are measured where the engine's overlay driver keeps them; of another driver the engine itself is asked.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.base import FaultKind
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.labels import ContainerLabels, decode, uid_label
from provider.model.usage import DiskUse
from provider.model.volume import EmptyDirVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.cloud.runtime.docker_engine.engine import Engine
    from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
    from provider.model.ids import PodUid

_BLOCK = 512
_RUNNING = frozenset({"running", "paused"})


async def read_disk_use(engine: Engine, installation: str, store: InstanceStore, uid: PodUid) -> DiskUse | None:
    """Return what an instance uses; None for one that is not there. RuntimeFault UNAVAILABLE, REFUSED."""
    spec = await asyncio.to_thread(store.spec, uid)
    if spec is None:
        return None
    containers = []
    for row in await engine.relist(**uid_label(uid)):
        labels = decode(row["Labels"], installation)
        if isinstance(labels, ContainerLabels) and row["State"] in _RUNNING:
            containers.append((labels.container, await _container(engine, str(row["Id"]))))
    disks = [one.name for one in spec.volumes if isinstance(one, EmptyDirVolume) and not one.memory]

    def measure() -> tuple[tuple[tuple[str, int], ...], int]:
        root = store.directory(uid)
        return tuple((name, directory_use(root / "volumes" / name)) for name in disks), directory_use(root / "etc")

    volumes, etc = await asyncio.to_thread(measure)
    total = sum(size for _, size in (*volumes, *containers)) + etc
    return DiskUse(uid, volumes, tuple(sorted(containers)), total)


async def _container(engine: Engine, container: str) -> int:
    """Return what a container has written to its layer and its log; 0 for one that is gone meanwhile."""
    inspected = await engine.inspect(container)
    if inspected is None:
        return 0
    upper = _upper(inspected)
    if upper is None:
        with faults(FaultKind.REFUSED):
            layer = int((await engine.client.containers.container(container).show(size=1)).get("SizeRw") or 0)
    else:
        layer = await asyncio.to_thread(directory_use, upper)
    return layer + await asyncio.to_thread(_log_use, str(inspected.get("LogPath") or ""))


def _upper(inspected: dict[str, Any]) -> Path | None:
    text = ((inspected.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    return Path(text) if text and Path(text).is_dir() else None


def _log_use(path: str) -> int:
    """Return the size of a log with its rotated files."""
    if not path:
        return 0
    return sum(_size(one) for one in Path(path).parent.glob(f"{Path(path).name}*"))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_blocks * _BLOCK
    except FileNotFoundError:
        return 0


def directory_use(root: Path) -> int:
    """Return the bytes of a tree's blocks; what vanishes meanwhile counts for nothing. Blocking."""
    try:
        device = root.lstat().st_dev
    except FileNotFoundError:
        return 0
    seen: set[int] = set()
    total = _size(root)
    for status in _walk(str(root), device):
        if status.st_nlink > 1:
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        total += status.st_blocks * _BLOCK
    return total


def _walk(directory: str, device: int) -> Iterator[os.stat_result]:
    """Yield every file and directory below, of this file system only; links are not followed."""
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if status.st_dev != device:
                        continue
                    yield status
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
