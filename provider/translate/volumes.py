"""Volumes as the kubelet fills them (pkg/volume/{configmap,secret,projected,downwardapi}): content and modes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provider.model.errors import Rejection
from provider.model.quantity import QuantityError, whole
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume, HostPathVolume, Volume
from provider.translate.downward import ADDRESS_PATHS, field_value, resource_value

if TYPE_CHECKING:
    from provider.model.pod import Pod, PodSpec
    from provider.model.pod_volumes import DownwardSource, EmptyDirSource, KeyToPath, Projection, VolumeEntry
    from provider.translate.references import References

DEFAULT_MODE = 0o644


def volume(pod: Pod, entry: VolumeEntry, references: References, path: str) -> Volume:
    """Return one volume. Raises Rejection; not terminal (reason FailedMount) for an object or key that is missing."""
    fill = _Fill(pod, references, entry.name, path)
    if entry.config_map is not None:
        cm = entry.config_map
        files = fill.keys("configmap", cm.name, cm.items, _mode(cm.default_mode), optional=bool(cm.optional))
    elif entry.secret is not None:
        sec = entry.secret
        files = fill.keys("secret", sec.secret_name, sec.items, _mode(sec.default_mode), optional=bool(sec.optional))
    elif entry.downward_api is not None:
        files = fill.downward(entry.downward_api, _mode(entry.downward_api.default_mode))
    elif entry.projected is not None:
        mode = _mode(entry.projected.default_mode)
        files = [file for source in entry.projected.sources or () for file in fill.projection(source, mode)]
    else:
        return _empty_dir(entry.name, entry.empty_dir, path)
    # a later source of a projected volume wins a path
    return FilesVolume(entry.name, tuple({file.path: file for file in files}.values()))


def mounted_volumes(spec: PodSpec) -> list[tuple[int, VolumeEntry]]:
    """Return the volumes that a container mounts, with their index; the kubelet does not look at the others.

    Upstream: pkg/kubelet/volumemanager/populator, pkg/volume/util GetPodVolumeNames.
    """
    containers = (*(spec.init_containers or ()), *spec.containers)
    names = {one.name for container in containers for one in container.volume_mounts or ()}
    return [(index, one) for index, one in enumerate(spec.volumes or ()) if one.name in names]


def shows_metadata(entry: VolumeEntry) -> bool:
    """Return whether a volume shows something of the pod itself."""
    projected = entry.projected.sources if entry.projected is not None else None
    return entry.downward_api is not None or any(one.downward_api is not None for one in projected or ())


def files_user(pod: Pod) -> int | None:
    """Return the one user that all containers of a pod say they run as (pkg/volume/util FsUserFrom), None if none."""
    spec, common = pod.spec, pod.spec.security_context
    users = set()
    for one in (*(spec.init_containers or ()), *spec.containers):
        own = None if one.security_context is None else one.security_context.run_as_user
        users.add(own if own is not None or common is None else common.run_as_user)
    return users.pop() if len(users) == 1 else None


def host_path(entry: VolumeEntry, allowed: tuple[str, ...], path: str) -> HostPathVolume | None:
    """Return a hostPath volume, None for any other. Raises Rejection unless the path is below an allowed one."""
    source = entry.host_path
    if source is None:
        return None
    asked = PurePosixPath(source.path)
    if ".." in asked.parts or not any(asked.is_relative_to(one) for one in allowed):
        where = f"{path}.hostPath"
        text = (
            f"{where}: {source.path} is not below a path that pods of this node may mount; an operator allows paths "
            "by pods.hostPath.allowedPaths in the provider's configuration"
        )
        raise Rejection("UnsupportedPodSpec", text, field=where)
    return HostPathVolume(entry.name, source.path, source.type or "")


def _empty_dir(name: str, source: EmptyDirSource | None, path: str) -> EmptyDirVolume:
    if source is None:
        return EmptyDirVolume(name)
    if source.medium not in ("", "Memory"):
        where = f"{path}.emptyDir.medium"
        raise Rejection("UnsupportedPodSpec", f"{where}: {source.medium} is not supported by this node", field=where)
    try:
        limit = None if source.size_limit is None else whole(source.size_limit)
    except QuantityError as error:
        raise Rejection("UnsupportedPodSpec", f"{path}.emptyDir.sizeLimit: {error}", field=path) from error
    return EmptyDirVolume(name, memory=source.medium == "Memory", size_limit=limit or None)


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


class _Fill:
    """Makes the files of one volume of one pod."""

    def __init__(self, pod: Pod, references: References, name: str, path: str) -> None:
        self._pod = pod
        self._references = references
        self._name = name
        self._path = path

    def keys(
        self, kind: str, name: str, items: list[KeyToPath] | None, mode: int, *, optional: bool
    ) -> list[FileEntry]:
        """Return the keys of a ConfigMap or Secret as files; no items means all keys."""
        objects = self._references.config_maps if kind == "configmap" else self._references.secrets
        if name not in objects:
            if optional:
                return []
            raise self._waits(f'{kind} "{name}" not found')
        data = objects[name]
        if not items:
            return [FileEntry(key, content, mode) for key, content in sorted(data.items())]
        lacks = "configmap references non-existent config" if kind == "configmap" else "references non-existent secret"
        files = []
        for item in items:
            if item.key in data:
                files.append(FileEntry(item.path, data[item.key], mode if item.mode is None else item.mode))
            elif not optional:
                raise self._waits(f"{lacks} key: {item.key}")
        return files

    def downward(self, source: DownwardSource, mode: int) -> list[FileEntry]:
        """Return the files of a downward API source."""
        files = []
        for index, item in enumerate(source.items or ()):
            where = f"{self._path}.downwardAPI.items[{index}]"
            if item.field_ref is not None and item.field_ref.field_path not in ADDRESS_PATHS:
                text = field_value(self._pod, self._references, item.field_ref.field_path, where)
            elif item.resource_field_ref is not None:
                try:
                    text = resource_value(self._pod, self._references, item.resource_field_ref, None, where)
                except Rejection as rejection:
                    if rejection.terminal:
                        raise
                    raise self._waits(rejection.message) from rejection
            else:
                raise Rejection("UnsupportedPodSpec", f"{where} is not supported by this node", field=where)
            files.append(FileEntry(item.path, text.encode(), mode if item.mode is None else item.mode))
        return files

    def projection(self, source: Projection, mode: int) -> list[FileEntry]:
        """Return the files of one source of a projected volume."""
        files: list[FileEntry] = []
        for kind, part in (("configmap", source.config_map), ("secret", source.secret)):
            if part is not None:
                files += self.keys(kind, part.name, part.items, mode, optional=bool(part.optional))
        if source.downward_api is not None:
            files += self.downward(source.downward_api, mode)
        token = source.service_account_token
        if token is not None:
            asked = (token.audience, token.expiration_seconds)
            text = self._references.tokens.get(asked)
            if text is None:
                why = self._references.token_errors.get(asked)
                raise self._waits(f"failed to fetch token: {why}" if why else "failed to fetch token")
            # the kubelet writes 0600 with fsGroup; the group's own bits are set when the volume is owned by it
            security, owner = self._pod.spec.security_context, files_user(self._pod)
            guarded = owner is not None or (security is not None and security.fs_group is not None)
            files.append(FileEntry(token.path, text.encode(), 0o600 if guarded else mode, owner))
        return files

    def _waits(self, text: str) -> Rejection:
        message = f'MountVolume.SetUp failed for volume "{self._name}" : {text}'
        return Rejection("FailedMount", message, terminal=False, waiting="ContainerCreating")
