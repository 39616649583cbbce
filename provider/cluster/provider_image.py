"""Makes the provider's own image by the Dockerfile, where neither a registry nor an index can be reached from a build.

The base is made from Debian packages (set `base` of images.yaml); the wheels, pinned by hash, are fetched by this
machine's pip, for only it may know the way to a package index, and go into the build's context. The label of the image
has the hash of that context: nothing is built when nothing changed. `python -m` does it; `make image` calls that.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import tarfile
import tempfile
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING

import docker.errors

from provider.clock import SystemClock
from provider.cluster.build import cache_root, local_sources
from provider.cluster.build_cache import cached, content_key, exclusive
from provider.cluster.build_command import BuildError, run
from provider.cluster.engine import ensure_engine, open_engine
from provider.cluster.images import ensure_own_images
from provider.cluster.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient

__all__ = ["BASE_IMAGE", "PROVIDER_IMAGE", "build_context", "context_hash", "ensure_provider_image"]

BASE_IMAGE = "zonelet/python:3.11"
PROVIDER_IMAGE = f"zonelet/provider:{version('zonelet')}"
_HASH_LABEL = "dev.zonelet.context-hash"
_PYTHON = "3.11"  # of the base
_LOCKS = ("requirements.lock", "requirements-build.lock")
_FILES = ("Dockerfile", *_LOCKS, "pyproject.toml", "README.md", "LICENSE")
_TREES = ("provider", "deploy")
_DOWNLOAD_SECONDS = 600


def ensure_provider_image(client: DockerClient, cache: Path, report: Callable[[str], None]) -> bool:
    """Build the image unless it is there and made from what is here; return whether it was built. BuildError."""
    ensure_own_images(client, cache, report, ("base",))
    root = local_sources().parent.parent
    _require_sources(root)
    wheels = _wheels(root, cache, report)
    context = build_context(root, wheels)
    base = client.images.get(BASE_IMAGE)
    wanted = context_hash(str(base.id), context)
    if _built_from(client) == wanted:
        return False
    with exclusive(cache, "provider-image", report):
        report(f"building {PROVIDER_IMAGE} on {BASE_IMAGE}")
        _build(client, context, wanted)
        client.images.prune(filters={"dangling": True, "label": _HASH_LABEL})
    return True


def _require_sources(root: Path) -> None:
    missing = [name for name in (*_FILES, *_TREES) if not (root / name).exists()]
    if missing:
        raise BuildError(
            f"{PROVIDER_IMAGE} cannot be built",
            f"{root} has no {', '.join(missing)}",
            "run it in a checkout of zonelet",
        )


def _wheels(root: Path, cache: Path, report: Callable[[str], None]) -> Path:
    """Return the directory with the wheels of both locks, for the base's Python and this machine's architecture."""

    def fetch(directory: Path) -> None:
        report("fetching the wheels")
        for lock in _LOCKS:
            run(
                [
                    *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--require-hashes"),
                    *("--only-binary", ":all:", "--python-version", _PYTHON),
                    *("-r", str(root / lock), "-d", str(directory)),
                ],
                what="fetching the wheels of the provider's image",
                log=cache / "logs" / "provider-image.log",
                timeout=_DOWNLOAD_SECONDS,
                next_step="check that a package index is in reach, then repeat",
            )

    key = content_key(_PYTHON, os.uname().machine, *((root / lock).read_text() for lock in _LOCKS))
    return cached(cache, "wheels", "provider", key, fetch, report)


def build_context(root: Path, wheels: Path) -> dict[str, Path]:
    """Return the files that the build sees: their names there -> where they are, always in the same order."""
    trees = [path for tree in _TREES for path in sorted((root / tree).rglob("*")) if "__pycache__" not in path.parts]
    return {
        **{name: root / name for name in _FILES},
        **{str(path.relative_to(root)): path for path in trees if path.is_file()},
        **{f"wheels/{path.name}": path for path in sorted(wheels.iterdir())},
    }


def context_hash(base: str, context: Mapping[str, Path]) -> str:
    """Hash the base's ID and the context; a wheel's name stands for it, for the locks have its hash."""
    digest = hashlib.sha256(base.encode())
    for name, path in context.items():
        content = b"" if path.suffix == ".whl" or name.startswith("wheels/") else path.read_bytes()
        digest.update(f"\0{name}\0{path.stat().st_mode:o}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _built_from(client: DockerClient) -> str:
    try:
        return str(client.images.get(PROVIDER_IMAGE).labels.get(_HASH_LABEL, ""))
    except docker.errors.ImageNotFound:
        return ""


def _build(client: DockerClient, context: Mapping[str, Path], key: str) -> None:
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, path in context.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, path.stat().st_mode & 0o777
                tar.addfile(entry, io.BytesIO(path.read_bytes()))
        packed.seek(0)
        try:
            client.images.build(
                fileobj=packed,
                custom_context=True,
                tag=PROVIDER_IMAGE,
                buildargs={"BASE": BASE_IMAGE, "PIP": "--no-index"},
                labels={_HASH_LABEL: key},
                network_mode="none",
                rm=True,
                forcerm=True,
            )
        except docker.errors.BuildError as error:
            said = "".join(str(line.get("stream", "")) for line in error.build_log)
            raise BuildError(
                f"{PROVIDER_IMAGE} was not built", f"{error.msg}\n{said[-2000:]}", "see what the Dockerfile's step says"
            ) from error
        except docker.errors.APIError as error:
            raise BuildError(
                f"{PROVIDER_IMAGE} was not built", str(error.explanation), "see what the engine says: docker info"
            ) from error


async def _make(steps: Steps) -> None:
    with steps.step("find a Docker engine, or install and start one") as report:
        await ensure_engine(cache_root() / "engine", SystemClock(), report)
    with steps.step(f"build {PROVIDER_IMAGE}, or find it in the engine") as report, closing(open_engine()) as client:
        ensure_own_images(client, cache_root(), report)  # they cannot be made from inside a container
        built = ensure_provider_image(client, cache_root(), report)
        report("built" if built else "it is there, made from these sources")


def main() -> int:
    """Make the image; return the exit code."""
    steps = Steps()
    try:
        asyncio.run(_make(steps))
    except BuildError as error:
        steps.failure(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
