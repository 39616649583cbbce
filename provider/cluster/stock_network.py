"""The stock node's ways: from its pods to the API server's service address, to the outside, to zones' pods and back.

There is no kube-proxy: one DNAT rule stands for the service `kubernetes`. Rules are those of `iptables`, as the
engine's own are; each is written down before it is added, and removed by the same words.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from provider.cluster.build_command import BuildError, capture
from provider.cluster.stock_programs import installed_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "add_routes",
    "add_rules",
    "has_chain",
    "network_rules",
    "remove_bridge",
    "remove_port_chains",
    "remove_rules",
]

_SECONDS = 30.0
_PORTS = "CNI-HOSTPORT"
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


def remove_port_chains() -> None:
    """Remove the chains that the CNI plugin portmap shares among all runtimes, unless a published port is in them.

    The plugin makes them when it needs them, and never removes them.
    """
    listed = _iptables("-t", "nat", "-S")
    if listed.returncode != 0 or any(line.startswith(f"-A {_PORTS}-DNAT ") for line in listed.stdout.splitlines()):
        return
    lines = [line for line in listed.stdout.splitlines() if _PORTS in line]
    for line in lines:
        act, chain, *words = shlex.split(line)
        if act == "-A" and not chain.startswith(_PORTS):
            _iptables("-t", "nat", "-D", chain, *words)
    chains = [line.split()[1] for line in lines if line.startswith("-N ")]
    for act in ("-F", "-X"):
        for chain in chains:
            _iptables("-t", "nat", act, chain)


def _iptables(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(installed_program("iptables")), "-w", "10", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
