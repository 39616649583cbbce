"""Images as a stream that `docker load` takes: each one a JSON configuration over layers, all in one tar.

Nothing here talks to an engine. The stream is made while it is read, so no second copy of the layers is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provider.cluster.image_catalog import Image
    from provider.cluster.image_layers import BuiltLayer

HASH_LABEL = "dev.zonelet.image-hash"
_CHUNK = 1 << 20
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class FinishedImage:
    """An image whose layers are written: what it is, its hash, its layers from the lowest up."""

    image: Image
    image_hash: str
    layers: Sequence[BuiltLayer]


def archive(images: Sequence[FinishedImage], architecture: str) -> Iterator[bytes]:
    """Yield the bytes of a docker-archive with these images; a shared layer is in it once."""
    manifest = []
    for finished in images:
        config = configuration(finished, architecture)
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        yield from _member(name, config)
        layers = [_layer_name(layer) for layer in finished.layers]
        manifest.append({"Config": name, "RepoTags": finished.image.tags, "Layers": layers})
    layers_once = {layer.diff_id: layer for finished in images for layer in finished.layers}
    for layer in layers_once.values():
        yield _header(_layer_name(layer), layer.path.stat().st_size)
        with layer.path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                yield chunk
        yield _padding(layer.path.stat().st_size)
    yield from _member("manifest.json", json.dumps(manifest).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def configuration(finished: FinishedImage, architecture: str) -> bytes:
    """Return the image's configuration; its hash is the image's identity."""
    image = finished.image
    settings: dict[str, object] = {
        "Env": image.environment,
        "Labels": {HASH_LABEL: finished.image_hash},
        "User": image.user,
        "WorkingDir": image.workdir,
    }
    if image.entrypoint:
        settings["Entrypoint"] = image.entrypoint
    if image.cmd:
        settings["Cmd"] = image.cmd
    whole = {
        "architecture": architecture,
        "os": "linux",
        "created": _EPOCH,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in finished.layers]},
        "history": [{"created": _EPOCH, "created_by": f"zonelet: layer {name}"} for name in image.layers],
    }
    return json.dumps(whole, sort_keys=True).encode()


def _layer_name(layer: BuiltLayer) -> str:
    return f"{layer.diff_id.removeprefix('sha256:')}/layer.tar"


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield _padding(len(content))


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(format=tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % io.DEFAULT_BUFFER_SIZE % tarfile.BLOCKSIZE)
