"""Looks at what this machine has and lacks, and says how to get it. It changes nothing."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import DockerException

from provider.cluster.engine import OLDEST_ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Finding", "check_engine", "check_ports", "check_subnets", "examine"]

_SUPPORTED = "supported: rootful Docker on Linux, 20.10 or later, cgroup v1 or v2, driver cgroupfs or systemd"
_BRIDGE = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` is empty when it is in order."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def examine(subnets: Iterable[str], ports: Iterable[int]) -> list[Finding]:
    """Look at the engine, the given CIDRs (must be free), the given TCP ports (must be free) and the bridge setting."""
    findings = []
    used: list[str] = []
    try:
        client = docker.from_env(timeout=10)
        try:
            findings.append(check_engine(client.info()))
            for network in client.networks.list():
                used += [each["Subnet"] for each in network.attrs["IPAM"]["Config"] or () if "Subnet" in each]
        finally:
            client.close()
    except (DockerException, OSError) as error:
        findings.append(Finding("engine", ok=False, found=f"no engine answers: {error}", advice="run: zonelet up"))
    used += _routes(Path("/proc/net/route").read_text())
    return [*findings, check_subnets(subnets, used), check_ports(ports), _check_bridge()]


def check_engine(info: Mapping[str, Any]) -> Finding:
    """Judge the answer of the engine's /info."""
    version, system = str(info.get("ServerVersion", "")), str(info.get("OSType", ""))
    cgroups, driver = str(info.get("CgroupVersion", "1")), str(info.get("CgroupDriver", "none"))
    found = f"{version}, {system}, cgroup v{cgroups}, {driver}"
    numbers = re.match(r"(\d+)\.(\d+)", version)
    faults = []
    if system != "linux":
        faults.append("it does not run Linux containers")
    if numbers is None or tuple(int(each) for each in numbers.groups()) < OLDEST_ENGINE:
        faults.append("it is older than 20.10")
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        faults.append("it is rootless")
    if driver not in {"cgroupfs", "systemd"} or cgroups not in {"1", "2"}:
        faults.append("it has no cgroups")
    advice = f"{' and '.join(faults)}; {_SUPPORTED}" if faults else ""
    return Finding("engine", ok=not faults, found=found, advice=advice)


def check_subnets(wanted: Iterable[str], used: Iterable[str]) -> Finding:
    """See whether a wanted CIDR overlaps one in use (Docker networks, routes)."""
    taken = [ipaddress.ip_network(each) for each in dict.fromkeys(used) if ":" not in each]
    clashes = [
        f"{each} overlaps {other}"
        for each in wanted
        for other in taken
        if other.prefixlen > 0 and ipaddress.ip_network(each).overlaps(other)
    ]
    advice = "remove the network that has it, or choose other CIDRs" if clashes else ""
    return Finding("subnets", ok=not clashes, found="; ".join(clashes) or "free", advice=advice)


def check_ports(wanted: Iterable[int]) -> Finding:
    """See whether the TCP ports can be listened on."""
    busy = []
    for port in wanted:
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            busy.append(f"{port}: {error.strerror}")
    return Finding(
        "ports", ok=not busy, found="; ".join(busy) or "free", advice="end who listens there" if busy else ""
    )


def _check_bridge() -> Finding:
    if not _BRIDGE.exists():
        return Finding("bridge-nf-call-iptables", ok=True, found="br_netfilter is not loaded")
    value = _BRIDGE.read_text().strip()
    return Finding("bridge-nf-call-iptables", ok=True, found=value)


def _routes(table: str) -> list[str]:
    """Return the destinations of /proc/net/route: addresses and masks are little-endian hexadecimal."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, mask = (ipaddress.ip_address(bytes.fromhex(fields[index])[::-1]) for index in (1, 7))
        found.append(f"{address}/{mask}")
    return found
