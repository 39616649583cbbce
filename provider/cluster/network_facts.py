"""What `zonelet doctor` says of the zones' network: can it be made here, do its ways work. Changes nothing."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.gateway import OUT_NETWORK
from provider.cloud.runtime.docker_engine.host_routes import HostNetwork, host_networks
from provider.cloud.runtime.docker_engine.labels import NODE_ADDRESS, Role, with_role, zone_label
from provider.cloud.runtime.docker_engine.network import find_network
from provider.cluster.doctor_finding import Finding, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiodocker import Docker

__all__ = ["check_forwarding", "check_host_path", "check_neighbours", "network_facts"]

_PROC = Path("/proc/sys/net/ipv4")
_DISCARD_PORT = 9
_PROBE_SECONDS = 2.0
_NEIGHBOURS = 1024


async def network_facts(client: Docker, installation: str, vswitches: Sequence[str]) -> list[Finding]:
    """Look at the kernel, the engine's default network, the host's routes to `vswitches` (CIDRs), and the routers.

    RuntimeFault UNAVAILABLE when the engine does not answer.
    """
    found = await find_network(client, OUT_NETWORK) is not None
    rows = await Engine(client, installation).relist(**with_role(Role.GATEWAY))
    return [
        check_forwarding(),
        check_neighbours(),
        _way_out(found=found),
        check_host_path(vswitches, await asyncio.to_thread(host_networks)),
        *await asyncio.gather(*(_check_router(row["State"], row["Labels"]) for row in rows)),
    ]


def check_forwarding(proc: Path = _PROC) -> Finding:
    """See whether the host passes on what zones send out."""
    means = "what pods send to the outside goes through this host, which Docker lets forward"
    value = _read(proc / "ip_forward")
    if value == "0":
        return Finding("ip_forward", State.MISSING, "0", means, "sysctl -w net.ipv4.ip_forward=1")
    return Finding("ip_forward", State.OK, value or "unknown", means)


def check_neighbours(proc: Path = _PROC) -> Finding:
    """See whether the kernel's one table of neighbours has room for the zones."""
    means = "the host and all zones share this table; past it new connections fail at random"
    value = _read(proc / "neigh" / "default" / "gc_thresh3")
    if value.isdigit() and int(value) < _NEIGHBOURS:
        advice = f"sysctl -w net.ipv4.neigh.default.gc_thresh3={4 * _NEIGHBOURS}"
        return Finding("neighbour table", State.NOTE, f"{value} entries", means, advice)
    return Finding("neighbour table", State.OK, f"{value or 'unknown'} entries", means)


def check_host_path(vswitches: Iterable[str], routes: Sequence[HostNetwork]) -> Finding:
    """Say whether this host has a route to pods."""
    means = "none is needed: the provider reaches pods (logs, exec, port-forward, probes) from their zone's router"
    networks = [IPv4Network(route.cidr) for route in routes]
    reached = [
        cidr
        for cidr in vswitches
        if any(network.prefixlen > 1 and IPv4Network(cidr).subnet_of(network) for network in networks)
    ]
    found = f"this host routes to {', '.join(reached)}" if reached else "this host has no route to pods"
    return Finding("host-to-pod path", State.OK, found, means)


def _way_out(*, found: bool) -> Finding:
    means = "zones reach the outside by the engine's default network"
    if found:
        return Finding("way out", State.OK, f"network {OUT_NETWORK}", means)
    advice = "start dockerd without --bridge=none"
    return Finding("way out", State.MISSING, f"the engine has no network {OUT_NETWORK!r}", means, advice)


async def _check_router(state: str, labels: dict[str, str]) -> Finding:
    """See whether a zone's router runs and answers at the node's address: a refusal is an answer."""
    check, means = f"router of {zone_label(labels)}", "it holds the node's address and the zone's gateway"
    if state != "running":
        advice = "start the provider, which makes it anew: zonelet up"
        return Finding(check, State.MISSING, f"it is {state}", means, advice)
    address = labels[NODE_ADDRESS]
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(address, _DISCARD_PORT)
            writer.close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        text = f"{address} does not answer: {str(error) or 'timed out'}"
        advice = "a packet filter of this host is in the way: let it through to the cluster's Docker network"
        return Finding(check, State.MISSING, text, means, advice)
    return Finding(check, State.OK, f"answers at {address}", means)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
