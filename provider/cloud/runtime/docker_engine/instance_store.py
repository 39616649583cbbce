"""The directory of an instance on the engine's host: what was asked for, /etc files, volumes. Blocking; root.

    instances/<uid>/instance.json       the SandboxSpec without the content of files, which may be secret
                    etc/                hosts, resolv.conf, hostname
                    volumes/<volume>    an EmptyDirVolume: a directory, or a tmpfs of its own
                    files/<volume>      a FilesVolume, on one tmpfs for all of them: secrets reach no disk
                    termination/        one file an attempt
                    subpaths/           targets of bind mounts, only while a container is being started

Names come from requests, so each is checked before it becomes part of a path. Every act may be repeated.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from provider.cloud.runtime.base import FaultKind, RuntimeFault, SandboxSpec
from provider.cloud.runtime.docker_engine.etc_files import hosts_file, resolv_conf
from provider.cloud.runtime.docker_engine.files_volume import write_files
from provider.cloud.runtime.docker_engine.host_mounts import mount_tmpfs, mounts_below, unmount
from provider.cloud.runtime.docker_engine.host_paths import HostPaths
from provider.model.ids import PodUid
from provider.model.volume import FilesVolume, HostPathVolume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.clock import Clock
    from provider.model.volume import EmptyDirVolume, FileEntry

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_SPEC = "instance.json"
_OPEN = 0o777
_SET_GROUP = 0o2000
_RESOLV_CONF = Path("/etc/resolv.conf")
_RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")


class VolumeSource(NamedTuple):
    """Where a volume's content is: at `inside` (empty: the whole) of a directory that nothing may lead out of."""

    directory: Path
    inside: str
    read_only: bool


class InstanceStore:
    """The instances' directories below `<state directory>/instances`."""

    def __init__(self, state_dir: Path, clock: Clock, host_paths: HostPaths | None = None) -> None:
        self._clock = clock
        self._host_paths = HostPaths() if host_paths is None else host_paths
        self._root = state_dir.absolute() / "instances"
        self._specs: dict[PodUid, SandboxSpec] = {}

    def directory(self, uid: PodUid) -> Path:
        """Return an instance's directory, which may not be there. ValueError for a UID that is no name."""
        return self._root / checked(uid)

    def uids(self) -> list[PodUid]:
        """Return every instance that has a directory; what cannot be one's (a file, lost+found) is passed over."""
        return [PodUid(path.name) for path in self._entries() if _may_be_instance(path)]

    def strangers(self) -> list[Path]:
        """Return what lies among the instances' directories and can be none."""
        return [path for path in self._entries() if not _may_be_instance(path)]

    def spec(self, uid: PodUid) -> SandboxSpec | None:
        """Return what the instance was made from, None if that is not known."""
        if uid not in self._specs:
            try:
                data = (self.directory(uid) / _SPEC).read_bytes()
                self._specs[uid] = msgspec.json.decode(data, type=SandboxSpec)
            except (FileNotFoundError, msgspec.DecodeError):  # a machine that went down may leave an empty file
                return None
        return self._specs[uid]

    def prepare(self, spec: SandboxSpec) -> None:
        """Make the directory with all that containers will see of it. RuntimeFault MOUNT."""
        root = self.directory(spec.uid)
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._keep(root, spec)
            self._write_etc(root, spec)
            (root / "termination").mkdir(exist_ok=True)
            self._make_volumes(root, spec)
        except (OSError, ValueError) as error:
            raise RuntimeFault(
                FaultKind.MOUNT, f"MountVolume.SetUp failed for instance {spec.uid} : {error}"
            ) from error

    def volume(self, uid: PodUid, name: str) -> VolumeSource | None:
        """Return where a volume is; None for one that is not there. RuntimeFault MOUNT for what is not allowed."""
        root = self.directory(uid)
        spec = self.spec(uid)
        for one in () if spec is None else spec.volumes:
            if isinstance(one, HostPathVolume) and one.name == name:
                return VolumeSource(*self._host_paths.place(one), read_only=False)
        for folder, read_only in (("volumes", False), ("files", True)):
            path = root / folder / checked(name)
            if path.is_dir():
                return VolumeSource(path, "", read_only=read_only)
        return None

    def write(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """Replace the files of a FilesVolume; nothing happens once the volumes are gone. RuntimeFault MOUNT."""
        path = self.directory(uid) / "files" / checked(volume)
        if not path.is_dir():
            return
        spec = self.spec(uid)
        try:
            write_files(path, files, None if spec is None else spec.fs_group, now=self._clock.now())
        except (OSError, ValueError) as error:
            text = f'MountVolume.SetUp failed for volume "{volume}" : {error}'
            raise RuntimeFault(FaultKind.MOUNT, text) from error

    def release(self, uid: PodUid) -> None:
        """Take away volumes and mounts; the specification and the termination messages stay."""
        root = self.directory(uid)
        self._unmount(root)
        for name in ("volumes", "files", "etc"):
            _remove(root / name)

    def remove(self, uid: PodUid) -> None:
        """Take away everything."""
        self._specs.pop(uid, None)
        root = self.directory(uid)
        self._unmount(root)
        _remove(root)

    def _entries(self) -> list[Path]:
        return list(self._root.iterdir()) if self._root.is_dir() else []

    @staticmethod
    def _unmount(root: Path) -> None:
        """Take away the mounts, then the places of bind mounts: one by one, for a path of the host may be shown there.

        One that is still mounted cannot be removed (EBUSY, ENOTEMPTY), so that no host's files go with an instance.
        """
        for point in mounts_below(root) if root.exists() else ():
            unmount(point)
        places = root / "subpaths"
        for place in list(places.iterdir()) if places.is_dir() else ():
            place.rmdir() if place.is_dir() else place.unlink()
        if places.is_dir():
            places.rmdir()

    def _keep(self, root: Path, spec: SandboxSpec) -> None:
        bare = tuple(FilesVolume(one.name) if isinstance(one, FilesVolume) else one for one in spec.volumes)
        kept = msgspec.structs.replace(spec, volumes=bare)
        self._specs[spec.uid] = kept
        temporary = root / f"{_SPEC}.tmp"
        temporary.write_bytes(msgspec.json.encode(kept))
        temporary.rename(root / _SPEC)

    @staticmethod
    def _write_etc(root: Path, spec: SandboxSpec) -> None:
        etc = root / "etc"
        etc.mkdir(exist_ok=True)
        resolver, cut = resolv_conf(spec.dns, host_resolv_conf())
        for text in cut:  # the Kubernetes side tells of what a pod asks for; this may be the host's own part
            log.warning("dns.cut", uid=spec.uid, text=text)
        texts = {
            "hosts": hosts_file(spec.address, spec.hostname, spec.domain, spec.host_aliases),
            "resolv.conf": resolver,
            "hostname": f"{spec.kernel_hostname or spec.hostname}\n",
        }
        for name, text in texts.items():
            path = etc / name
            path.write_text(text)  # in place: a container that runs already has this very file mounted
            path.chmod(0o644)

    def _make_volumes(self, root: Path, spec: SandboxSpec) -> None:
        for volume in spec.volumes:
            if isinstance(volume, HostPathVolume):
                self._host_paths.ready(volume)
                continue
            folder = root / ("files" if isinstance(volume, FilesVolume) else "volumes")
            path = folder / checked(volume.name)
            if isinstance(volume, FilesVolume):
                folder.mkdir(exist_ok=True)
                mount_tmpfs(folder, 0o755)
                path.mkdir(exist_ok=True)
                write_files(path, volume.files, spec.fs_group, now=self._clock.now())
            else:
                path.mkdir(parents=True, exist_ok=True)
                if volume.memory:
                    mount_tmpfs(path, _OPEN, _tmpfs_size(volume, spec.memory))
            mode = _OPEN
            if spec.fs_group is not None:
                os.chown(path, -1, spec.fs_group)
                mode |= _SET_GROUP
            path.chmod(mode)


def checked(name: str) -> str:
    """Return a name that may be part of a path. ValueError for any other."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be part of a path: letters, digits, '.', '_' and '-' only")
    return name


def _may_be_instance(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def host_resolv_conf() -> str:
    """Return the host's resolv.conf; with systemd-resolved its real one, for pods do not reach 127.0.0.53."""
    text = _RESOLV_CONF.read_text() if _RESOLV_CONF.exists() else ""
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver ")]
    if servers and all(server.startswith("127.") for server in servers) and _RESOLVED_CONF.exists():
        return _RESOLVED_CONF.read_text()
    return text


def _tmpfs_size(volume: EmptyDirVolume, instance_memory: int) -> int | None:
    """Return the smaller of the volume's and the instance's limit (kubelet: calculateEmptyDirMemorySize)."""
    limits = [size for size in (volume.size_limit, instance_memory) if size]
    return min(limits, default=None)


def _remove(path: Path) -> None:
    """Remove a tree, which may not be there, and which a container may have filled with anything."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if path.exists():  # something inside vanished while it was removed
            shutil.rmtree(path)
