"""What `zonelet doctor` says of the network: can zones be made here, do the ways through them work. Changes nothing."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.addresses.free_blocks import AddressClashError, choose_blocks, refuse_clashes
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.gateway import OUT_NETWORK
from provider.cloud.runtime.docker_engine.host_routes import HostNetwork, host_networks
from provider.cloud.runtime.docker_engine.labels import NODE_ADDRESS, Role, with_role, zone_label
from provider.cloud.runtime.docker_engine.network import find_network
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cluster.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiodocker import Docker

    from provider.cloud.addresses.free_blocks import Occupied

__all__ = ["check_blocks", "check_host_path", "check_kernel", "network_facts"]

_CAP_SYS_ADMIN = 21
_DISCARD_PORT = 9
_PROBE_SECONDS = 2.0
_NEIGHBOURS = 1024


async def network_facts(
    client: Docker,
    installation: str,
    vswitches: Sequence[str],
    cluster_cidr: str = "",
    *,
    unchosen: int = 0,
    cluster: Iterable[tuple[str, str]] = (),
) -> list[Finding]:
    """Look at the kernel, the blocks, the engine's default network, the host's routes, and the routers that run.

    `vswitches` are the zones' CIDRs, configured or chosen earlier, `cluster_cidr` is the block of the cluster's network
    ("" where somebody else's is joined), `unchosen` counts blocks that are still to be chosen, `cluster` are (CIDR,
    owner) pairs of the cluster's own ranges. RuntimeFault UNAVAILABLE when the engine does not answer.
    """
    findings = [*check_kernel(), check_sockets(Path("/proc/self/status"), str(client.docker_host))]
    if await find_network(client, OUT_NETWORK) is None:
        advice = "zones go out by it: start dockerd without --bridge=none"
        findings.append(Finding("default network", ok=False, found=f"the engine has no {OUT_NETWORK!r}", advice=advice))
    used = await used_blocks(client, installation, cluster)
    findings.append(check_blocks([*vswitches, *filter(None, [cluster_cidr])], unchosen, used))
    findings.append(check_host_path(vswitches, await asyncio.to_thread(host_networks)))
    rows = await Engine(client, installation).relist(**with_role(Role.GATEWAY))
    return [*findings, *await asyncio.gather(*(_check_router(row["State"], row["Labels"]) for row in rows))]


def check_kernel(proc: Path = Path("/proc/sys/net")) -> list[Finding]:
    """Judge the host's own settings below /proc/sys/net: forwarding, bridged packets in the firewall, neighbours."""
    forward = _read(proc / "ipv4" / "ip_forward")
    bridged = _read(proc / "bridge" / "bridge-nf-call-iptables")
    neighbours = _read(proc / "ipv4" / "neigh" / "default" / "gc_thresh3")
    enough = not neighbours.isdigit() or int(neighbours) >= _NEIGHBOURS
    bridged_text = {
        "1": "1: packets inside a bridge pass the host's firewall; Docker accepts those of its own networks",
        "0": "0: packets inside a bridge do not meet the host's firewall",
    }
    return [
        Finding(
            "ip_forward",
            ok=forward != "0",
            found=forward or "unknown",
            advice="" if forward != "0" else "pods cannot get out: sysctl -w net.ipv4.ip_forward=1",
        ),
        Finding(
            "bridge-nf-call-iptables",
            ok=True,
            found=bridged_text.get(bridged, "br_netfilter is not loaded: as with 0"),
        ),
        Finding(
            "neighbour table",
            ok=enough,
            found=f"{neighbours or 'unknown'} entries for the host and all zones together",
            advice="" if enough else f"sysctl -w net.ipv4.neigh.default.gc_thresh3={4 * _NEIGHBOURS}",
        ),
    ]


def check_sockets(status: Path, engine: str) -> Finding:
    """Judge whether this process may make sockets in a router's namespace: its capabilities, and the engine's place."""
    effective = next((line.split()[1] for line in status.read_text().splitlines() if line.startswith("CapEff:")), "0")
    faults = []
    if not int(effective, 16) >> _CAP_SYS_ADMIN & 1:
        faults.append("CAP_SYS_ADMIN is missing: run as root")
    if not engine.startswith("unix:"):
        faults.append(f"the engine {engine} is another machine's: run the provider there")
    found = "can be made" if not faults else "cannot be made"
    return Finding("sockets in zones", ok=not faults, found=found, advice="; ".join(faults))


def check_blocks(configured: Sequence[str], unchosen: int, used: Sequence[Occupied]) -> Finding:
    """See whether the configured CIDRs are free and how many others can be found."""
    try:
        refuse_clashes(configured, used)
        chosen = choose_blocks(unchosen, configured, used)
    except AddressClashError as error:
        advice = "remove the network that has it, or configure another block"
        return Finding("free subnets", ok=False, found="; ".join(error.mistakes), advice=advice)
    named = [f"{cidr} is free" for cidr in configured]
    return Finding("free subnets", ok=True, found=", ".join([*named, *(f"{cidr} would be chosen" for cidr in chosen)]))


def check_host_path(cidrs: Iterable[str], routes: Sequence[HostNetwork]) -> Finding:
    """Say whether this host has a route to pods. It needs none: the provider reaches them from the zones' routers."""
    networks = [IPv4Network(route.cidr) for route in routes]
    reached = [
        cidr
        for cidr in cidrs
        if any(network.prefixlen > 1 and IPv4Network(cidr).subnet_of(network) for network in networks)
    ]
    if reached:
        return Finding("host-to-pod path", ok=True, found=f"this host routes to {', '.join(reached)}")
    found = "this host has no route to pods, and needs none (logs, exec and port-forward go by the zones' routers)"
    return Finding("host-to-pod path", ok=True, found=found)


async def _check_router(state: str, labels: dict[str, str]) -> Finding:
    """See whether a zone's router runs and answers at the node's address: a refusal is an answer."""
    zone, address = zone_label(labels), str(IPv4Address(labels[NODE_ADDRESS]))
    check = f"router of {zone}"
    if state != "running":
        return Finding(check, ok=False, found=f"it is {state}", advice="start the provider, which makes it anew")
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(address, _DISCARD_PORT)
            writer.close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        advice = "a firewall of this host is in the way: let it through to the cluster's Docker network"
        return Finding(check, ok=False, found=f"{address} does not answer: {str(error) or 'timed out'}", advice=advice)
    return Finding(check, ok=True, found=f"answers at {address}")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
