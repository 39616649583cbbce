"""The programs of the stock node: upstream's kubelet and CNI plugins, built from source; the machine's containerd.

They are built only when a stock node is asked for, each from a Go module of its own in deploy/local, by the mechanism
of build.py. containerd and runc are those that every Docker engine of a Linux distribution stands on.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cluster.build import KUBERNETES, Upstream, build_upstreams, cached_directory
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CNI", "KUBELET", "StockPrograms", "built_plugins", "find_stock_programs", "installed_program"]

_PLUGINS = "github.com/containernetworking/plugins"

KUBELET = Upstream(
    name="kubelet",
    module=KUBERNETES.module,
    programs={"kubelet": "k8s.io/kubernetes/cmd/kubelet"},
    tags=KUBERNETES.tags,
    stamps=KUBERNETES.stamps,
)
CNI = Upstream(
    name="cni",
    module=_PLUGINS,
    programs={
        "bridge": f"{_PLUGINS}/plugins/main/bridge",
        "loopback": f"{_PLUGINS}/plugins/main/loopback",
        "host-local": f"{_PLUGINS}/plugins/ipam/host-local",
        "portmap": f"{_PLUGINS}/plugins/meta/portmap",
    },
    stamps=(f"{_PLUGINS}/pkg/utils/buildversion.BuildVersion={{version}}",),
)
_PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
}
"""Programs of this machine, and the Debian packages that have them."""
_ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class StockPrograms:
    """Where the programs are; `plugins` is the directory that a container runtime wants as its CNI directory."""

    kubelet: Path
    plugins: Path
    containerd: Path
    ctr: Path


def find_stock_programs(cache: Path, report: Callable[[str], None]) -> StockPrograms:
    """Return the programs; build what the cache does not hold. SetupError when the machine lacks one of its own."""
    own = {name: installed_program(name) for name in _PACKAGES}
    built = build_upstreams((KUBELET, CNI), cache, report)
    return StockPrograms(
        kubelet=built["kubelet"] / "bin" / "kubelet",
        plugins=built["cni"] / "bin",
        containerd=own["containerd"],
        ctr=own["ctr"],
    )


def built_plugins(cache: Path) -> Path | None:
    """Return the directory of the CNI plugins; None when they were never built."""
    directory = cached_directory(cache, CNI) / "bin"
    return directory if directory.is_dir() else None


def installed_program(name: str) -> Path:
    """Return where one of the machine's programs is; SetupError names the package that has it."""
    found = shutil.which(name) or shutil.which(name, path=_ADMINISTRATORS)
    if found is None:
        raise SetupError(
            f"the stock node cannot be made: this machine has no {name}",
            "kubelet and CNI plugins are built here, containerd, runc and the network's tools are the machine's own",
            f"apt-get install {_PACKAGES[name]}",
        )
    return Path(found)
