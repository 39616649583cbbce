"""The stock node's ways: from its pods to the API server's service address, to the outside, to zones' pods and back.

There is no kube-proxy: one DNAT rule stands for the service `kubernetes`. Rules are those of `iptables`, as the
engine's own are; each is written down before it is added, and removed by the same words.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from provider.cluster.build_command import BuildError, capture
from provider.cluster.stock_programs import installed_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["add_routes", "add_rules", "has_chain", "network_rules", "remove_bridge", "remove_rules"]

_SECONDS = 30.0
_ADVICE = "see iptables-save and ip route for what is in the way, then run this again"


def network_rules(pod_cidr: str, bridge: str, service: str, server: str, forward: str) -> list[list[str]]:
    """Return the rules, each `[table, chain, *words]`. Pure.

    `service` is the address of the service `kubernetes`, `server` (address:port) what answers there; `forward` the
    chain in which forwarding is allowed: FORWARD drops what is not, once an engine has set itself up.
    The last rule serves pods that have the host's network.
    """
    to_server = ["-d", f"{service}/32", "-p", "tcp", "--dport", "443", "-j", "DNAT", "--to-destination", server]
    return [
        ["filter", forward, "-i", bridge, "-j", "ACCEPT"],
        ["filter", forward, "-o", bridge, "-j", "ACCEPT"],
        ["nat", "PREROUTING", "-s", pod_cidr, *to_server],
        ["nat", "POSTROUTING", "-s", pod_cidr, "!", "-o", bridge, "-j", "MASQUERADE"],
        ["nat", "OUTPUT", *to_server],
    ]


def has_chain(chain: str) -> bool:
    """Say whether the table `filter` has the chain."""
    return _iptables("-t", "filter", "-n", "-L", chain).returncode == 0


def add_rules(rules: Iterable[Sequence[str]]) -> None:
    """Add the rules that are not there, each at the head of its chain. BuildError when the kernel refuses one."""
    for table, chain, *words in rules:
        if _iptables("-t", table, "-C", chain, *words).returncode != 0:
            done = _iptables("-t", table, "-I", chain, "1", *words)
            if done.returncode != 0:
                raise BuildError(f"iptables refuses a rule in {table}/{chain}", done.stderr.strip(), _ADVICE)


def remove_rules(rules: Iterable[Sequence[str]]) -> None:
    """Remove the rules; those that are not there any more are done with."""
    for table, chain, *words in rules:
        while _iptables("-t", table, "-D", chain, *words).returncode == 0:
            pass


def add_routes(routes: Mapping[str, str]) -> None:
    """Lead each block (CIDR) to the router of its zone, a node's address. They go with the network they lead into."""
    for block, router in routes.items():
        what = f"a route to {block}"
        capture(
            [str(installed_program("ip")), "route", "replace", block, "via", router],
            what=what, timeout=_SECONDS, next_step=_ADVICE,
        )  # fmt: skip


def remove_bridge(name: str) -> None:
    """Remove the bridge; the pods' ends of its cables have gone with their namespaces. Unknown: done."""
    ip = str(installed_program("ip"))
    shown = subprocess.run(
        [ip, "link", "show", "dev", name], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if shown.returncode == 0:
        capture([ip, "link", "delete", "dev", name], what=f"removing {name}", timeout=_SECONDS, next_step=_ADVICE)


def _iptables(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(installed_program("iptables")), "-w", "10", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
