"""What a stock node could leave on the machine, as plain text: two of these can be compared."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies
from provider.cluster.stock_programs import installed_program

if TYPE_CHECKING:
    from provider.cluster.stock_layout import StockLayout

_SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")


def host_state(layout: StockLayout) -> dict[str, list[str]]:
    """Return, by kind, what there is of this node, and what it changes of the machine's own."""
    rules = subprocess.run(
        [str(installed_program("iptables")), "-t", "nat", "-S"], capture_output=True, text=True, check=True
    ).stdout
    own = (layout.bridge, "CNI-", "10.96.0.1")
    return {
        "processes": _processes(str(layout.root)),
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(layout.root) in line],
        "cgroups": [str(root) for root in host_hierarchies().all() if (root / layout.cgroup).exists()],
        "interfaces": [each.name for each in Path("/sys/class/net").iterdir() if each.name == layout.bridge],
        "rules": [line for line in rules.splitlines() if any(word in line for word in own)],
        "forwarding": [
            line
            for line in subprocess.run(
                [str(installed_program("iptables")), "-S"], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            if layout.bridge in line
        ],
        "sysctls": [f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in _SYSCTLS],
        "results": sorted(str(each) for each in Path("/var/lib/cni").rglob("*")),
        "links": sorted(str(each) for each in Path("/var/log/containers").glob("*")),
        "states": sorted(str(each) for each in Path("/run/containerd/runc/k8s.io").glob("*")),
        "kubelet": sorted(str(each) for each in Path("/var/lib/kubelet").rglob("*")),
    }


def _processes(words: str) -> list[str]:
    """Return the command lines that name a path of the node's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if re.search(re.escape(words) + r"(/|\s|$)", text):
            found.append(text)
    return found
