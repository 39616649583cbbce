"""The images as data: deploy/local/images.yaml, read and checked.

Pure apart from reading that file: no engine, no network. What an image is made of is hashed here; the hash is its label
in the engine and decides whether it is made again. Package versions are not part of it: a new Debian point release
alone makes no image again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import yaml

from provider.cluster.build import ARGO, local_sources, pinned_version
from provider.cluster.build_cache import content_key
from provider.cluster.build_command import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_FORMAT = "1"  # raise it when the same data makes a different image
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one layer holds; the comment in images.yaml explains each key."""

    packages: list[str] = []
    closure: bool = True
    over: str = ""
    without: list[str] = []
    only: list[str] = []
    text: dict[str, str] = {}
    scripts: dict[str, str] = {}
    programs: dict[str, str] = {}
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    directories: dict[str, str] = {}
    applets: str = ""
    certificates: bool = False
    compiled: bool = False


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stack of layers under one or more names, and how it runs."""

    names: list[str]
    layers: list[str]
    set: Literal["own", "base", "core", "extra"] = "core"
    entrypoint: list[str] = []
    cmd: list[str] = []
    env: list[str] = []
    user: str = ""
    workdir: str = ""

    @property
    def tags(self) -> list[str]:
        """The names with their tags, each once."""
        return list(dict.fromkeys(with_tag(name) for name in self.names))

    @property
    def environment(self) -> list[str]:
        """The environment; PATH is always there, because not every runtime has a default for it."""
        return [_PATH, *self.env]


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of images.yaml."""

    layers: dict[str, Layer]
    images: list[Image]
    unavailable: dict[str, str] = {}

    def selected(self, sets: Iterable[str]) -> list[Image]:
        """Return the images of these sets."""
        wanted = frozenset(sets)
        return [image for image in self.images if image.set in wanted]

    def image_hash(self, image: Image, upstreams: Mapping[str, Path]) -> str:
        """Hash what the image is made of; an upstream's directory has the hash of its own sources in its name."""
        layers = {name: self.layers[name] for name in image.layers}
        below = {layer.over: self.layers[layer.over] for layer in layers.values() if layer.over}
        used = sorted(
            {
                upstreams[path.partition("/")[0]].name
                for layer in layers.values()
                for path in (*layer.programs.values(), *layer.files.values())
            }
        )
        content = msgspec.json.encode([image, layers, below, used], order="deterministic")
        return content_key(_FORMAT, content.decode())


def load_catalog(path: Path | None = None) -> Catalog:
    """Read images.yaml (deploy/local's own by default) and check that its references hold."""
    path = path or local_sources() / "images.yaml"
    text = path.read_text().replace("{argo}", pinned_version(ARGO))
    try:
        catalog = msgspec.convert(yaml.safe_load(text), Catalog)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise BuildError(f"{path} is not a list of images", str(error), "correct the file") from error
    mistakes = _mistakes(catalog)
    if mistakes:
        raise BuildError(f"{path} contradicts itself", "\n".join(mistakes), "correct the file")
    return catalog


def entrypoints(catalog: Catalog | None = None) -> dict[str, dict[str, list[str]]]:
    """Return the `images:` key of Argo's controller configuration: what each image runs if a template does not say.

    Argo looks an image up by its name exactly as the template has it, and asks the registry when it is not listed.
    """
    catalog = catalog or load_catalog()
    return {
        name: {key: value for key, value in (("entrypoint", image.entrypoint), ("cmd", image.cmd)) if value}
        for image in catalog.images
        for name in image.names
    }


def with_tag(name: str) -> str:
    """Return the name as the engine lists it: `busybox` is `busybox:latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _mistakes(catalog: Catalog) -> list[str]:
    found = [
        f"images[{image.names[0]}].layers: there is no layer {name!r}"
        for image in catalog.images
        for name in image.layers
        if name not in catalog.layers
    ]
    found += [
        f"layers.{name}.over: there is no layer {layer.over!r}"
        for name, layer in catalog.layers.items()
        if layer.over and layer.over not in catalog.layers
    ]
    found += [
        f"images[{image.names[0]}].{key}: {command[0]!r} is not an absolute path"
        for image in catalog.images
        for key, command in (("entrypoint", image.entrypoint), ("cmd", image.cmd))
        if command and not command[0].startswith("/")
    ]
    seen: set[str] = set()
    for image in catalog.images:
        found += [f"images: {tag} is listed twice" for tag in image.tags if tag in seen]
        found += [f"unavailable: {name} is made all the same" for name in image.names if name in catalog.unavailable]
        seen.update(image.tags)
    return found
