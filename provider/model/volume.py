"""Volumes of an instance, and how a container sees them. Sizes in bytes."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class VolumeMount(Struct, frozen=True, omit_defaults=True):
    """A volume seen in a container. `sub_path` is relative, without `..`; a file or a directory inside the volume.

    `expand`: resolve `$(NAME)` in `sub_path` from the container's variables (subPathExpr).
    """

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False
    expand: bool = False


class FileEntry(Struct, frozen=True, omit_defaults=True):
    """One file of a FilesVolume: path relative to the volume's root, content, permission bits, owning user (root)."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: int | None = None


class EmptyDirVolume(Struct, frozen=True, omit_defaults=True, tag="emptyDir"):
    """An empty directory that lives as long as the instance; `memory` makes it a tmpfs, `size_limit` in bytes."""

    name: str
    memory: bool = False
    size_limit: int | None = None


class FilesVolume(Struct, frozen=True, omit_defaults=True, tag="files"):
    """Files with given content (configMap, secret, projected, downwardAPI, tokens), replaced atomically by update."""

    name: str
    files: tuple[FileEntry, ...] = ()


class HostPathVolume(Struct, frozen=True, omit_defaults=True, tag="hostPath"):
    """A file or directory of the engine's host, where the cloud's operator lets instances have it.

    `kind`: `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket`, `CharDevice`, `BlockDevice`; empty:
    it is not checked, and a directory is made if nothing is there.
    """

    name: str
    path: str
    kind: str = ""


Volume: TypeAlias = EmptyDirVolume | FilesVolume | HostPathVolume
