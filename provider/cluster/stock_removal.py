"""Takes away what the stock node's programs leave: containers, mounts, cgroups, addresses, links, the bridge.

kubelet takes its pods down itself when they are deleted and it still runs; what is left then (it was killed, a pod does
not end) goes by force. Outside `<state>/stock` the programs leave: containers' cgroups below the node's own, sockets of
containerd's shims in /run/containerd/s and runc's states beside them, results of CNI calls in /var/lib/cni, links in
/var/log/containers, a socket for device plugins in /var/lib/kubelet, the CNI plugins' rules. All of it is found by the
node's own names; what belongs to others is not touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies, remove_tree
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cluster.processes import wait_until
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.clock import Clock
    from provider.cluster.stock_layout import StockLayout

__all__ = ["answers", "kill_containers", "release_addresses", "remove_links", "shims", "unmount_all"]

_PROC = Path("/proc")
_LINKS = Path("/var/log/containers")
_RESULTS = Path("/var/lib/cni/results")
_RUNC = Path("/run/containerd/runc/k8s.io")
_DEVICES = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
_SHIM = "containerd-shim-runc-v2"
_END_SECONDS = 15.0
_PLUGIN_SECONDS = 15.0


def shims(layout: StockLayout) -> list[int]:
    """Return the pids of containerd's shims, one for each pod of this very node."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it has ended meanwhile
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == _SHIM and ("-address", str(layout.socket)) in pairwise(words):
                found.append(int(entry.name))
    return found


async def kill_containers(layout: StockLayout, clock: Clock) -> None:
    """End every process of the node's pods, remove the shims' sockets and the cgroups.

    containerd has to be stopped. SetupError when a process does not end.
    """
    sockets = [_socket(each) for each in layout.tasks.glob("*/address")]
    states = [_RUNC / each.name for each in layout.tasks.glob("*")]

    def ended() -> bool:
        for pid in [*_processes(layout), *shims(layout)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not shims(layout) and remove_tree(host_hierarchies(), layout.cgroup)

    if not await wait_until(clock, ended, _END_SECONDS):
        left = [*_processes(layout), *shims(layout)]
        raise SetupError(
            "containers of the stock node do not end",
            f"the processes {left} outlive SIGKILL",
            "see why by ps, run down again",
        )
    for each in sockets:
        each.unlink(missing_ok=True)
    for each in states:
        shutil.rmtree(each, ignore_errors=True)  # most went with their containers
    _remove_empty(_RUNC, _RUNC.parent)


def unmount_all(layout: StockLayout) -> None:
    """Unmount what is mounted below the node's directory: layers, volumes, network namespaces. OSError."""
    for point in mounts_below(layout.root):
        with suppress(FileNotFoundError):
            unmount(point)


def remove_links() -> None:
    """Remove the links to logs that are there no more, and kubelet's socket for device plugins when nobody answers."""
    for link in _LINKS.glob("*.log") if _LINKS.is_dir() else ():
        if link.is_symlink() and not link.exists():
            link.unlink()
    if _DEVICES.exists() and not answers(_DEVICES):
        _DEVICES.unlink()
    _remove_empty(_LINKS, _DEVICES.parent, _DEVICES.parent.parent)


def release_addresses(layout: StockLayout, plugins: Path | None) -> None:
    """Do what the CNI plugins were not asked to do any more: forget each network of a pod, with its published ports.

    The plugins' own cache of results tells which there are; without `plugins` (none was ever built) there are none.
    """
    for file in _RESULTS.glob(f"{layout.bridge}-*") if _RESULTS.is_dir() else ():
        kept = json.loads(file.read_text())
        ports = (kept.get("capabilityArgs") or {}).get("portMappings")
        if ports and plugins is not None:
            _delete_ports(plugins, layout, kept, ports)
        (_RESULTS / f"cni-loopback-{kept['containerId']}-lo").unlink(missing_ok=True)
        file.unlink()
    _remove_empty(_RESULTS, _RESULTS.parent)


def _delete_ports(plugins: Path, layout: StockLayout, kept: dict[str, object], ports: object) -> None:
    config = {
        "cniVersion": "1.0.0",
        "name": layout.bridge,
        "type": "portmap",
        "snat": True,
        "runtimeConfig": {"portMappings": ports},
    }
    environment = {
        **os.environ,
        "CNI_COMMAND": "DEL",
        "CNI_CONTAINERID": str(kept["containerId"]),
        "CNI_IFNAME": str(kept["ifName"]),
        "CNI_PATH": str(plugins),
    }
    done = subprocess.run(
        [plugins / "portmap"], input=json.dumps(config), env=environment,
        capture_output=True, text=True, timeout=_PLUGIN_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SetupError(
            "published ports of the stock node's pods stay", done.stdout.strip(), "see iptables-save, run down again"
        )


def _processes(layout: StockLayout) -> Iterator[int]:
    """Yield the pids in all cgroups of the node."""
    seen: set[int] = set()
    for root in host_hierarchies().all():
        for directory, _, _ in os.walk(root / layout.cgroup):
            with suppress(OSError):  # the cgroup has gone meanwhile
                seen |= {int(line) for line in (Path(directory) / "cgroup.procs").read_text().split()}
    yield from seen


def answers(path: Path) -> bool:
    """Say whether something listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _remove_empty(*directories: Path) -> None:
    for each in directories:
        with suppress(OSError):  # not there, or somebody else's things are in it
            each.rmdir()


def _socket(address: Path) -> Path:
    return Path(address.read_text().strip().removeprefix("unix://"))
