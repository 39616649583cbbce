"""Layers as tar files, written directly: packages, texts, programs, links. No container runs to make one.

Everything is repeatable: sorted, owned as in the package (else by root), time stamps at zero. Paths are those of a
merged /usr (/bin, /sbin, /lib are links in the base layer), as Debian has it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import io
import marshal
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provider.cluster.build_command import BuildError
from provider.cluster.image_packages import open_archive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import IO, Self

    from provider.cluster.image_catalog import Layer

_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
_DROPPED = (
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian/*",
    "usr/share/bug/*",
    "usr/share/bash-completion/*",
    "usr/share/zoneinfo/right/*",
    "usr/share/zoneinfo/posix/*",
    "usr/lib/systemd/*",
    "etc/init.d/*",
)
_COPYRIGHT = "usr/share/doc/*/copyright"
_LISTING_SECONDS = 30
_EXECUTABLE = 0o755
_READABLE = 0o644


@dataclass(frozen=True)
class BuiltLayer:
    """A finished tar file and its digest, the identity of the layer in an image."""

    path: Path
    diff_id: str


class LayerWriter:
    """Writes one layer; parents of a path are made on the way, nothing is written twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by __exit__
        self._written: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()

    def add(self, entry: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Add an entry under its merged path; the first one of a path wins."""
        entry.name = merged(entry.name)
        if entry.name in self._written or entry.name in {"", "."}:
            return
        self._add_parents(entry.name)
        entry.mtime = 0
        entry.pax_headers = {}
        entry.uname = entry.gname = ""
        self._written.add(entry.name)
        self._tar.addfile(entry, content)

    def add_file(self, path: str, content: bytes, mode: int = _READABLE) -> None:
        """Add a file of root's."""
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), mode
        self.add(entry, io.BytesIO(content))

    def add_program(self, path: str, source: Path, mode: int = _EXECUTABLE) -> None:
        """Add a file from the disk."""
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = source.stat().st_size, mode
        with source.open("rb") as content:
            self.add(entry, content)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self.add(entry)

    def add_directory(self, path: str, mode: int) -> None:
        """Add a directory of root's."""
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.add(entry)

    def _add_parents(self, name: str) -> None:
        """Name the parents too: the engine gives those it has to invent the mode 0777."""
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            if str(parent) not in self._written:
                self.add_directory(str(parent), 0o755)


def write_layer(layer: Layer, archives: Sequence[Path], upstreams: Mapping[str, Path], path: Path) -> BuiltLayer:
    """Write `layer`, whose packages are `archives`, to `path`."""
    with LayerWriter(path) as writer:
        _write_own(writer, layer, upstreams)
        _write_packages(writer, layer, archives)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return BuiltLayer(path, f"sha256:{digest}")


def _write_own(writer: LayerWriter, layer: Layer, upstreams: Mapping[str, Path]) -> None:
    """Write what images.yaml says itself; it comes first and so wins over the packages."""
    for name, mode in layer.directories.items():
        writer.add_directory(name, int(mode, 8))
    for name, text in layer.text.items():
        writer.add_file(name, text.encode())
    for name, text in layer.scripts.items():
        writer.add_file(name, text.encode(), _EXECUTABLE)
    for name, source in (layer.programs | layer.files).items():
        upstream, _, rest = source.partition("/")
        writer.add_program(name, upstreams[upstream] / rest, _EXECUTABLE if name in layer.programs else _READABLE)
    for name, target in layer.links.items():
        writer.add_link(name, target)


def _write_packages(writer: LayerWriter, layer: Layer, archives: Sequence[Path]) -> None:
    """Write the packages' files, and what their maintainer scripts would have made of them."""
    certificates: list[bytes] = []
    for archive in archives:
        for entry, content in package_entries(archive, layer.only):
            name = entry.name
            writer.add(entry, io.BytesIO(content))
            if layer.applets and name == layer.applets:
                for applet in _applet_names(content, writer.path):
                    writer.add_link(f"usr/bin/{applet}", PurePosixPath(name).name)
            if layer.certificates and name.endswith(".crt"):
                certificates.append(content)
            if layer.compiled and name.endswith(".py"):
                _add_compiled(writer, name, content)
    if certificates:
        writer.add_file("etc/ssl/certs/ca-certificates.crt", b"".join(certificates))


def package_entries(archive: Path, only: Sequence[str]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the files of a package that a layer keeps, with merged paths."""
    kept: list[tuple[tarfile.TarInfo, bytes]] = []
    with open_archive(archive) as process:
        if process.stdout is None:
            raise AssertionError("dpkg-deb was started without a pipe")
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for entry in tar:
                entry.name = merged(entry.name)
                if entry.islnk():
                    entry.linkname = merged(entry.linkname)
                if is_kept(entry.name, only, directory=entry.isdir()):
                    source = tar.extractfile(entry) if entry.isreg() else None
                    kept.append((entry, source.read() if source else b""))
    if process.returncode != 0:
        raise BuildError(
            f"{archive.name} cannot be read",
            f"dpkg-deb ended with exit code {process.returncode}",
            f"remove {archive} and run it again",
        )
    return kept


def merged(path: str) -> str:
    """Return the path in a merged /usr, without a leading slash: ./bin/sh is usr/bin/sh. The links stay as they are."""
    parts = PurePosixPath(path).parts
    parts = parts[1:] if parts and parts[0] == "/" else parts
    return "/".join(("usr", *parts) if len(parts) > 1 and parts[0] in _MERGED else parts)


def is_kept(name: str, only: Sequence[str], *, directory: bool) -> bool:
    """Say whether a file of a package belongs into an image."""
    if only:
        return not directory and any(fnmatch.fnmatchcase(name, pattern) for pattern in only) and not _is_dropped(name)
    if directory and name in _MERGED:
        return False
    return not _is_dropped(name) and (not name.startswith("usr/share/doc/") or fnmatch.fnmatchcase(name, _COPYRIGHT))


def _is_dropped(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _DROPPED)


def _add_compiled(writer: LayerWriter, name: str, source: bytes) -> None:
    """Add the byte code that the package's maintainer script would make, if this Python is of the same version."""
    version = f"python{importlib.util.cache_from_source('x.py').rpartition('-')[2].removesuffix('.pyc')}"
    if f"usr/lib/{version[:7]}.{version[7:]}/" not in name:
        return
    try:
        code = compile(source, f"/{name}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return  # lib2to3 and others carry files that are wrong on purpose
    unchecked = (1).to_bytes(4, "little")
    header = importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source)
    writer.add_file(importlib.util.cache_from_source(name), header + marshal.dumps(code))


def _applet_names(busybox: bytes, scratch: Path) -> list[str]:
    """Return what this busybox can be called, by asking it."""
    program = scratch.with_suffix(".busybox")
    program.write_bytes(busybox)
    program.chmod(0o755)
    try:
        listing = subprocess.run(
            [str(program), "--list"], capture_output=True, text=True, timeout=_LISTING_SECONDS, check=True
        )
    finally:
        program.unlink()
    return [name for name in sorted(listing.stdout.split()) if name != "busybox"]
