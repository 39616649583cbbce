"""What one attempt of a container sees of its instance's directory. Blocking; root.

A subPath is opened safely, bind-mounted to a place of its own while the container is being started, and taken away
there once the engine has mounted it into the container: the engine takes names, and a name could change meanwhile.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.container_config import Bind
from provider.cloud.runtime.docker_engine.host_mounts import bind, unmount
from provider.cloud.runtime.docker_engine.instance_store import checked
from provider.cloud.runtime.docker_engine.subpath import SubPathError, open_inside

if TYPE_CHECKING:
    from provider.cloud.runtime.base import RunSpec
    from provider.cloud.runtime.docker_engine.instance_store import InstanceStore, VolumeSource
    from provider.model.ids import PodUid
    from provider.model.volume import VolumeMount

MOST_MESSAGE_BYTES = 4096
"""kubelet: MaxContainerTerminationMessageLength."""
_ETC = ("hosts", "resolv.conf", "hostname")


class Prepared(NamedTuple):
    """What the engine is asked to mount, and which of it is only there for the moment."""

    binds: list[Bind]
    mounted: list[Path]


class AttemptMounts:
    """Bind mounts of attempts, and the file that a container may leave its last words in."""

    def __init__(self, store: InstanceStore) -> None:
        self._store = store

    def prepare(self, spec: RunSpec) -> Prepared:
        """Return the binds of an attempt, good until `finish`.

        RuntimeFault CONFIG, MOUNT, CREATE if the instance has no sandbox; nothing is left then.
        """
        root = self._store.directory(spec.uid)
        if not root.is_dir():
            raise RuntimeFault(FaultKind.CREATE, f"instance {spec.uid} has no sandbox")
        prepared = Prepared([], [])
        try:
            self._bind(root, spec, prepared)
        except BaseException as error:
            self.finish(prepared)
            if isinstance(error, OSError):
                text = f"mounts of container {spec.container.name}: {error}"
                raise RuntimeFault(FaultKind.MOUNT, text) from error
            raise
        return prepared

    @staticmethod
    def finish(prepared: Prepared) -> None:
        """Take away what was mounted only for the engine to find it."""
        while prepared.mounted:
            unmount(prepared.mounted.pop())

    def message(self, uid: PodUid, container: str, attempt: int) -> bytes:
        """Return the end of what the attempt wrote as its termination message, 4096 bytes; empty if there is none."""
        try:
            with self._message_file(uid, container, attempt).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - MOST_MESSAGE_BYTES))
                return file.read(MOST_MESSAGE_BYTES)
        except FileNotFoundError:
            return b""

    def remove(self, uid: PodUid, container: str, attempt: int) -> None:
        """Remove what is kept of one attempt."""
        self._message_file(uid, container, attempt).unlink(missing_ok=True)

    def _message_file(self, uid: PodUid, container: str, attempt: int) -> Path:
        return self._store.directory(uid) / "termination" / f"{checked(container)}-{attempt}"

    def _bind(self, root: Path, spec: RunSpec, prepared: Prepared) -> None:
        container = spec.container
        binds: dict[str, Bind] = {}
        for index, mount in enumerate(container.mounts):
            found = self._store.volume(spec.uid, mount.volume)
            if found is None:
                text = f'cannot find volume "{mount.volume}" to mount into container "{container.name}"'
                raise RuntimeFault(FaultKind.CONFIG, text)
            source = found.directory
            inside = str(PurePosixPath(found.inside) / mount.sub_path) if found.inside else mount.sub_path
            if inside:
                target = root / "subpaths" / f"{checked(container.name)}-{spec.attempt}-{index}"
                _show(found, inside, mount, container.name, target)
                prepared.mounted.append(target)
                source = target
            path = _absolute(mount.path)
            binds[path] = Bind(str(source), path, read_only=mount.read_only or found.read_only)
        for name in _ETC:  # a mount of the request's own comes before ours, as with the kubelet
            path = f"/etc/{name}"
            binds.setdefault(path, Bind(str(root / "etc" / name), path, read_only=container.security.read_only_root))
        if container.termination_path:
            path = _absolute(container.termination_path)
            if path not in binds:
                file = self._message_file(spec.uid, container.name, spec.attempt)
                file.touch()
                file.chmod(0o666)  # whoever the container runs as
                binds[path] = Bind(str(file), path)
        prepared.binds.extend(binds.values())


def _show(source: VolumeSource, inside: str, mount: VolumeMount, container: str, target: Path) -> None:
    """Bind-mount a part of a volume to `target`. The host's own paths are not told to the user."""
    try:
        opened = open_inside(str(source.directory), inside)
    except SubPathError as error:
        text = f'failed to prepare subPath for volumeMount "{mount.volume}" of container "{container}": {error}'
        raise RuntimeFault(FaultKind.CONFIG, text) from error
    try:
        target.parent.mkdir(exist_ok=True)
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        # What the host has mounted below a path of its own is part of that path.
        bind(f"/proc/self/fd/{opened}", target, recursive=bool(source.inside))
    finally:
        os.close(opened)


def _absolute(path: str) -> str:
    """Return a mount path as the engine wants it; a relative one is meant from the root (kubelet)."""
    return str(PurePosixPath("/") / path)
