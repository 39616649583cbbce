"""Gives the stock node's containerd the engine's images: there is no registry that both could ask."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from docker.errors import DockerException, ImageNotFound

from provider.cluster.build import ARGO, pinned_version
from provider.cluster.build_command import capture
from provider.cluster.image_catalog import with_tag
from provider.cluster.steps import SetupError
from provider.cluster.stock_layout import PAUSE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from docker import DockerClient

    from provider.cluster.stock_layout import StockLayout

__all__ = ["default_images", "import_images", "reference"]

_SECONDS = 600.0
_ADVICE = "see what containerd says (run/stock-containerd.log in the state directory), then run this again"


def default_images() -> list[str]:
    """Return the images that a new node is given: the sandbox's, a shell, and what Argo's workflow pods are made of."""
    argo = pinned_version(ARGO)
    return [PAUSE_IMAGE, "busybox:latest", "busybox:1.36", f"quay.io/argoproj/argoexec:{argo}", "argoproj/argosay:v2"]


def import_images(
    engine: DockerClient, ctr: Path, layout: StockLayout, names: Iterable[str], report: Callable[[str], None]
) -> None:
    """Give the images to containerd under the names given; one that it has already is left alone.

    SetupError when the engine has no image of a name, or containerd refuses it.
    """
    kept = layout.root / "images.json"
    given: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    present = {identity: name for name, identity in given.items()}
    for name in dict.fromkeys(map(with_tag, names)):
        try:
            identity = str(engine.images.get(name).id)
        except ImageNotFound as error:
            raise SetupError(
                f"the engine has no image {name}", str(error), "make or pull it, then run this again"
            ) from error
        if given.get(name) == identity:
            continue
        if other := present.get(identity):
            _ctr(ctr, layout, "tag", "--force", reference(other), reference(name))
        else:
            report(f"importing {name}")
            _import(engine, ctr, layout, name)
        given[name], present[identity] = identity, name
        kept.write_text(json.dumps(given))


def reference(name: str) -> str:
    """Return the whole name, as containerd keeps it: registry, and `library/` for an image of Docker Hub's own. Pure.

    A first part with a dot or a colon, or `localhost`, is a registry (distribution/reference).
    """
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _import(engine: DockerClient, ctr: Path, layout: StockLayout, name: str) -> None:
    argv = [str(ctr), "--address", str(layout.socket), "--namespace", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        if process.stdin is None:
            raise RuntimeError("a process without its standard input")
        why = ""
        try:
            for chunk in engine.api.get_image(name):
                process.stdin.write(chunk)
        except BrokenPipeError:
            why = "it stopped reading"
        except DockerException as error:
            why = str(error)
        out, _ = process.communicate(timeout=_SECONDS)
    if process.returncode != 0 or why:
        raise SetupError(f"containerd did not take the image {name}", f"{why} {out.decode().strip()}".strip(), _ADVICE)


def _ctr(ctr: Path, layout: StockLayout, *arguments: str) -> None:
    argv = [str(ctr), "--address", str(layout.socket), "--namespace", "k8s.io", "images", *arguments]
    capture(argv, what=f"ctr images {' '.join(arguments)}", timeout=_SECONDS, next_step=_ADVICE)
