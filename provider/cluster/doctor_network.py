"""Looks at address blocks, ports, the host's packet filter and the registries."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.addresses.free_blocks import AddressClashError, Occupied, choose_blocks
from provider.cluster.doctor_finding import Finding, State

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_bridge", "check_firewall", "check_ports", "check_registry", "check_subnets", "free_space"]

_BRIDGE = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_REGISTRIES = ("https://registry-1.docker.io/v2/", "https://quay.io/v2/")
_REGISTRY_SECONDS = 4.0
_COMMAND_SECONDS = 10


def check_subnets(wanted: Iterable[str], used: Iterable[Occupied]) -> Finding:
    """See whether a wanted CIDR overlaps one in use."""
    taken = list(used)
    asked = list(wanted)
    clashes = [
        f"{each} overlaps {other.network} of {other.owner}"
        for each in asked
        for other in taken
        if ipaddress.ip_network(each).overlaps(other.network)
    ]
    means = "the CIDRs that were asked for, here or in the configuration"
    if clashes:
        advice = "remove what has it, or choose other CIDRs"
        return Finding("subnets", State.MISSING, "; ".join(clashes), means, advice)
    return Finding("subnets", State.OK, "free" if asked else "none asked for", means)


def free_space(count: int, used: Iterable[Occupied], *, up: bool) -> Finding:
    """See whether the private ranges hold a free block for each zone and one for the cluster's network."""
    means = "a /22 for each zone and one for the cluster's network, clear of routes and Docker networks"
    if up:
        return Finding("free blocks", State.OK, "chosen already", means)
    try:
        blocks = choose_blocks(count, (), used)
    except AddressClashError as error:
        advice = "name free CIDRs in a configuration (zones[].vSwitches[].cidr, any mask from /16 to /29)"
        return Finding("free blocks", State.MISSING, "; ".join(error.mistakes), means, advice)
    return Finding("free blocks", State.OK, f"{', '.join(blocks)} would be taken", means)


def check_ports(wanted: Iterable[int]) -> Finding:
    """See whether the TCP ports can be listened on."""
    asked = list(wanted)
    busy = []
    for port in asked:
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            busy.append(f"{port}: {error.strerror}")
    means = "none is needed: the local cluster takes free ones, kubelet ports are in the zones' own namespaces"
    if busy:
        return Finding("ports", State.MISSING, "; ".join(busy), means, "end who listens there (ss -ltnp)")
    return Finding("ports", State.OK, "free" if asked else "none asked for", means)


def check_bridge() -> Finding:
    """Tell whether packets between containers of one bridge pass through iptables."""
    value = _BRIDGE.read_text().strip() if _BRIDGE.exists() else ""
    means = "with 1, packets inside a zone pass the host's iptables too; zones work both ways"
    return Finding("bridge-nf-call-iptables", State.OK, value or "br_netfilter is not loaded", means)


def check_firewall() -> Finding:
    """See whether the host's packet filter lets containers reach the host: pods reach the API server there."""
    means = "pods and zones reach the local API server at the host's address on the cluster's network"
    command = shutil.which("iptables")
    if command is None:
        return Finding("host firewall", State.NOTE, "there is no iptables to ask", means, "apt-get install iptables")
    answer = subprocess.run(
        [command, "-S", "INPUT"], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    if answer.returncode != 0:
        return Finding("host firewall", State.NOTE, answer.stderr.strip() or "iptables failed", means, "run it as root")
    rules = answer.stdout.splitlines()
    if "-P INPUT DROP" in rules or any(rule.endswith(("-j DROP", "-j REJECT")) for rule in rules):
        advice = "allow input from the cluster's network, for example: iptables -I INPUT -i br-+ -j ACCEPT"
        return Finding("host firewall", State.NOTE, "INPUT drops or rejects packets", means, advice)
    return Finding("host firewall", State.OK, "INPUT accepts", means)


def check_registry(urls: Iterable[str] = _REGISTRIES) -> Finding:
    """See whether a registry answers: anything but silence will do, most answer 401 to strangers."""
    reached: list[str] = []
    silent: list[str] = []
    for url in urls:
        (reached if _answers(url) else silent).append(url.split("/")[2])
    means = "images that are not there are pulled; the local cluster's own are made here"
    if not reached:
        advice = "without one only local images run; runtime.imagePull: preferLocal lets them satisfy policy Always"
        return Finding("image registries", State.NOTE, f"no answer from {', '.join(silent)}", means, advice)
    found = f"{', '.join(reached)} answers" + (f", not {', '.join(silent)}" if silent else "")
    return Finding("image registries", State.OK, found, means)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_REGISTRY_SECONDS):  # noqa: S310 - our own https addresses
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
