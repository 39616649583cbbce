"""Makes the images of the local cluster in a Docker engine, without a registry and without running a container.

`ensure_images` compares the labels of what the engine has with the hashes of what deploy/local/images.yaml describes
and makes only what differs: one call to the engine when nothing does. An image that somebody pulled, or built, under
one of these names stays what it is; only images with this project's label are replaced or removed.
"""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors

from provider.cluster.build_cache import exclusive
from provider.cluster.build_command import BuildError
from provider.cluster.image_archive import HASH_LABEL, FinishedImage, archive
from provider.cluster.image_catalog import Catalog, Image, entrypoints, load_catalog
from provider.cluster.image_layers import BuiltLayer, write_layer
from provider.cluster.image_packages import DebianPackages, Package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from docker import DockerClient

    from provider.cluster.build import Binaries

__all__ = ["ImageReport", "ensure_images", "ensure_own_images", "entrypoints", "missing_images", "remove_images"]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LOAD_SECONDS = 900
_ADVICE = "see what the engine says (docker info, free disk space), then run it again"


@dataclass(frozen=True)
class ImageReport:
    """What was done: names made now, names that were up to date, names that belong to somebody else's image."""

    made: Sequence[str]
    current: Sequence[str]
    foreign: Sequence[str]


def ensure_images(
    client: DockerClient,
    binaries: Binaries,
    cache: Path,
    report: Callable[[str], None],
    sets: Iterable[str] = ("own", "core"),
) -> ImageReport:
    """Make what is missing of these sets: `own` are the project's, `core` is what the demo and the tests need beside
    them, `extra` are further stand-ins, `base` is what the provider's image stands on (provider_image.py).
    """  # noqa: D205 - one list
    upstreams = {"argo": binaries.argo_module.parent, "kubernetes": binaries.kube.parent.parent}
    return _ensure(client, upstreams, cache, report, sets)


def ensure_own_images(
    client: DockerClient, cache: Path, report: Callable[[str], None], sets: Iterable[str] = ("own",)
) -> ImageReport:
    """Make what is missing of `own` or `base`, for which no upstream has to be built."""
    return _ensure(client, {}, cache, report, sets)


def _ensure(
    client: DockerClient,
    upstreams: Mapping[str, Path],
    cache: Path,
    report: Callable[[str], None],
    sets: Iterable[str],
) -> ImageReport:
    catalog = load_catalog()
    wanted = {catalog.image_hash(image, upstreams): image for image in catalog.selected(sets)}
    stale, result = _compare(wanted, _present(client))
    if not stale:
        return result
    with exclusive(cache, "images", report):
        stale, result = _compare(wanted, _present(client))
        if stale:
            _make(client, catalog, stale, upstreams, cache, report)
            client.images.prune(filters={"dangling": True, "label": HASH_LABEL})
    return result


def missing_images(client: DockerClient, sets: Iterable[str] = ("own", "core")) -> list[str]:
    """Return the names of these sets that the engine has no image for, whoever made it."""
    present = _present(client)
    return [tag for image in load_catalog().selected(sets) for tag in image.tags if tag not in present]


def remove_images(client: DockerClient, report: Callable[[str], None]) -> int:
    """Remove the images that this project made; one that a container still uses stays, and is reported."""
    removed = 0
    for tag, image_hash in _present(client).items():
        if not image_hash:
            continue
        try:
            client.images.remove(tag)
            removed += 1
        except docker.errors.APIError as error:
            report(f"{tag} stays: {error.explanation}")
    client.images.prune(filters={"dangling": True, "label": HASH_LABEL})
    return removed


def _present(client: DockerClient) -> dict[str, str]:
    """Return the engine's tags with the hash in their image's label; an empty string for an image not made here."""
    listed: list[dict[str, Any]] = client.api.images()
    return {
        tag: (image.get("Labels") or {}).get(HASH_LABEL, "") for image in listed for tag in image.get("RepoTags") or []
    }


def _compare(wanted: Mapping[str, Image], present: Mapping[str, str]) -> tuple[dict[str, Image], ImageReport]:
    """Return the images to make, and what is said about each name."""
    made: list[str] = []
    current: list[str] = []
    foreign: list[str] = []
    stale: dict[str, Image] = {}
    for image_hash, image in wanted.items():
        foreign_tags = {tag for tag in image.tags if present.get(tag) == ""}
        own_tags = [tag for tag in image.tags if tag not in foreign_tags]
        foreign += sorted(foreign_tags)
        if all(present.get(tag) == image_hash for tag in own_tags):
            current += own_tags
        else:
            made += own_tags
            stale[image_hash] = _named(image, own_tags)
    return stale, ImageReport(made=made, current=current, foreign=foreign)


def _named(image: Image, names: list[str]) -> Image:
    return Image(
        names=names,
        layers=image.layers,
        set=image.set,
        entrypoint=image.entrypoint,
        cmd=image.cmd,
        env=image.env,
        user=image.user,
        workdir=image.workdir,
    )


def _make(
    client: DockerClient,
    catalog: Catalog,
    stale: Mapping[str, Image],
    upstreams: Mapping[str, Path],
    cache: Path,
    report: Callable[[str], None],
) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="images-", dir=cache) as scratch:
            layers = _write_layers(catalog, stale.values(), upstreams, cache, Path(scratch), report)
            finished = [
                FinishedImage(image, image_hash, [layers[name] for name in image.layers])
                for image_hash, image in stale.items()
            ]
            report(f"loading {len(finished)} images into the engine")
            _load(client, finished)
    except (docker.errors.DockerException, OSError) as error:
        raise BuildError("making the images failed", str(error), _ADVICE) from error


def _write_layers(
    catalog: Catalog,
    images: Iterable[Image],
    upstreams: Mapping[str, Path],
    cache: Path,
    scratch: Path,
    report: Callable[[str], None],
) -> dict[str, BuiltLayer]:
    packages = DebianPackages(cache, report)
    names = list(dict.fromkeys(name for image in images for name in image.layers))
    written: dict[str, BuiltLayer] = {}
    for number, name in enumerate(names, 1):
        report(f"image layer {number} of {len(names)}: {name}")
        archives = packages.download(_packages(packages, catalog, name))
        written[name] = write_layer(catalog.layers[name], archives, upstreams, scratch / f"{name}.tar")
    return written


def _load(client: DockerClient, finished: Sequence[FinishedImage]) -> None:
    """Give the images to the engine, which may take its time to write them."""
    machine = platform.machine()
    stream = archive(finished, _ARCHITECTURES.get(machine, machine))
    usual, client.api.timeout = client.api.timeout, _LOAD_SECONDS
    try:
        for answer in client.api.load_image(stream, quiet=True):  # type: ignore[no-untyped-call]
            if "error" in answer:
                raise BuildError("the engine refused the images", str(answer["error"]), _ADVICE)
    finally:
        client.api.timeout = usual


def _packages(packages: DebianPackages, catalog: Catalog, name: str) -> list[Package]:
    """Return what the layer adds to the one below it."""
    layer = catalog.layers[name]
    if not layer.packages:
        return []
    chosen = packages.resolve(layer.packages, layer.without)
    if not layer.closure:
        return [package for package in chosen if package.name in layer.packages]
    below = set(_packages(packages, catalog, layer.over)) if layer.over else set()
    return [package for package in chosen if package not in below]
