"""What the values of a configuration must mean: addresses, names, quantities, ports. Pure; one line for each mistake.

A path is as a reader of the file would write it: `zones[1].vSwitches[0].cidr`. An empty name, CIDR or address stands
for one that `load.py` could not read and has a line already.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provider.model.quantity import QuantityError, milli, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.config.schema import ProviderConfig, StockConfig, ZoneConfig

# k8s.io/apimachinery/pkg/util/validation: DNS-1123 label and subdomain, qualified name, label value.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN_LENGTH = 253
_WIDEST, _NARROWEST = 16, 29
_PORTS = range(1, 65_536)


def mistakes_of(config: ProviderConfig) -> list[str]:
    """Return every mistake in a configuration whose fields have the right types."""
    return [
        *_installation(config),
        *_zones(config),
        *_switches(config),
        *_node(config),
        *_runtime(config),
        *_pods(config),
    ]


def _installation(config: ProviderConfig) -> Iterator[str]:
    for path, name in (("name", config.name), ("region", config.region)):
        if not _LABEL.fullmatch(name):
            yield f"{path}: {name!r} is no DNS label (lower case letters, digits, `-`; at most 63)"
    if not _is_subdomain(config.cluster.domain):
        yield f"cluster.domain: {config.cluster.domain!r} is no DNS name"
    for index, address in enumerate(config.cluster.dns):
        try:
            ipaddress.ip_address(address or "127.0.0.1")
        except ValueError:
            yield f"cluster.dns[{index}]: {address!r} is no IP address"
    if config.cluster.api_server and not _is_host_port(config.cluster.api_server):
        yield f"cluster.apiServer: {config.cluster.api_server!r} is no host:port"
    listen = config.grpc_listen
    if listen and not listen.startswith("unix:") and not _is_host_port(listen):
        yield f"grpcListen: {listen!r} is neither host:port nor unix:<path>"
    elif listen and not listen.startswith("unix:") and config.grpc_tls is None and not _is_loopback(listen):
        yield (
            f"grpcListen: {listen!r} can be reached from other machines, and whoever can call the elastic API is root "
            "here: give grpcTls, or use 127.0.0.1 or unix:<path>"
        )


def _zones(config: ProviderConfig) -> Iterator[str]:
    if not config.zones:
        yield "zones: at least one zone is needed"
    names: dict[str, int] = {}
    nodes: dict[str, int] = {}
    for index, zone in enumerate(config.zones):
        path = f"zones[{index}]"
        if zone.name and not _LABEL.fullmatch(zone.name):
            yield f"{path}.name: {zone.name!r} is no DNS label (lower case letters, digits, `-`; at most 63)"
        if zone.name and names.setdefault(zone.name, index) != index:
            yield f"{path}.name: {zone.name!r} is the name of zones[{names[zone.name]}] already"
        node = zone.node_name or f"virtual-kubelet-{zone.name}"
        if zone.node_name and not _is_subdomain(zone.node_name):
            yield f"{path}.nodeName: {zone.node_name!r} is no DNS name (lower case letters, digits, `-`, `.`)"
        named = zone.node_name or names.get(zone.name) == index  # a repeated or unread name has its line already
        if named and nodes.setdefault(node, index) != index:
            yield f"{path}.nodeName: {node!r} is the node of zones[{nodes[node]}] already"
        yield from _stock(zone.stock, f"{path}.stock")
        yield from _labels(zone, path)


def _stock(stock: StockConfig, path: str) -> Iterator[str]:
    for name, text in (("cpu", stock.cpu), ("memory", stock.memory), ("ephemeralStorage", stock.ephemeral_storage)):
        try:
            if (milli(text) if name == "cpu" else whole(text)) < 0:
                yield f"{path}.{name}: {text} is negative"
        except QuantityError:
            yield f"{path}.{name}: {text!r} is no quantity (`200`, `500m`, `800Gi`)"
    if stock.instances is not None and stock.instances < 0:
        yield f"{path}.instances: {stock.instances} is negative"
    if not 0 <= stock.spot_reserve <= 1:
        yield f"{path}.spotReserve: {stock.spot_reserve} is not a share, 0 to 1"


def _labels(zone: ZoneConfig, path: str) -> Iterator[str]:
    for key, value in zone.labels.items():
        if not _is_label_key(key):
            yield f"{path}.labels[{key!r}]: no label key"
        if value and not _QUALIFIED.fullmatch(value):
            yield f"{path}.labels[{key!r}]: {value!r} is no label value"


def _switches(config: ProviderConfig) -> Iterator[str]:
    """Yield the mistakes of all vSwitches; ids and addresses are unique over every zone."""
    ids: dict[str, str] = {}
    blocks: list[tuple[str, ipaddress.IPv4Network]] = []
    for index, zone in enumerate(config.zones):
        for number, switch in enumerate(zone.v_switches):
            path = f"zones[{index}].vSwitches[{number}]"
            name = switch.id or f"vsw-{zone.name}-{number}"
            if switch.id and not _LABEL.fullmatch(switch.id):
                yield f"{path}.id: {switch.id!r} is no DNS label (lower case letters, digits, `-`; at most 63)"
            readable = zone.name or switch.id
            if readable and name in ids:
                yield f"{path}.id: {name!r} is the id of {ids[name]} already"
            if readable:
                ids.setdefault(name, path)
            if not switch.cidr:
                continue
            try:
                block = _block(switch.cidr)
            except ValueError as error:
                yield f"{path}.cidr: {error}"
                continue
            for other_path, other in blocks:
                if block.overlaps(other):
                    yield f"{path}.cidr: {block} overlaps {other} of {other_path}"
            blocks.append((path, block))


def _block(cidr: str) -> ipaddress.IPv4Network:
    """Return the CIDR as a network; ValueError tells what is wrong with it."""
    try:
        interface = ipaddress.IPv4Interface(cidr)
    except ValueError:
        raise ValueError(f"{cidr!r} is no IPv4 CIDR (`10.1.0.0/22`)") from None
    if "/" not in cidr:
        raise ValueError(f"{cidr!r} names no mask (/{_WIDEST} to /{_NARROWEST})")
    network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(f"{cidr!r} has host bits set; the block is {network}")
    if not _WIDEST <= network.prefixlen <= _NARROWEST:
        raise ValueError(f"{cidr!r}: the mask must be /{_WIDEST} to /{_NARROWEST}")
    return network


def _node(config: ProviderConfig) -> Iterator[str]:
    node = config.node
    if node.kubelet_port not in _PORTS:
        yield f"node.kubeletPort: {node.kubelet_port} is no port (1 to 65535)"
    if not _is_label_key(node.taint_key):
        yield f"node.taintKey: {node.taint_key!r} is no taint key"
    if node.taint_value and not _QUALIFIED.fullmatch(node.taint_value):
        yield f"node.taintValue: {node.taint_value!r} is no taint value"
    for name, seconds in (
        ("leaseSeconds", node.lease_seconds),
        ("statusIntervalSeconds", node.status_interval_seconds),
    ):
        if seconds <= 0:
            yield f"node.{name}: {seconds} is not above 0"
    if node.max_pods is not None and node.max_pods <= 0:
        yield f"node.maxPods: {node.max_pods} is not above 0"


def _runtime(config: ProviderConfig) -> Iterator[str]:
    docker, simulated = config.runtime.docker, config.runtime.simulated
    if docker.starts_in_flight < 1:
        yield f"runtime.docker.startsInFlight: {docker.starts_in_flight} is below 1"
    if not 0 < docker.memory_share <= 1:
        yield f"runtime.docker.memoryShare: {docker.memory_share} is not in (0, 1]"
    if not 0 <= docker.cpu_reserve < float("inf"):
        yield f"runtime.docker.cpuReserve: {docker.cpu_reserve} is no number of cores"
    for name, seconds in (("startSeconds", simulated.start_seconds), ("durationSeconds", simulated.duration_seconds)):
        if seconds is not None and not 0 <= seconds < float("inf"):
            yield f"runtime.simulated.{name}: {seconds} is no time in seconds"


def _pods(config: ProviderConfig) -> Iterator[str]:
    for index, text in enumerate(config.pods.host_path.allowed_paths):
        path = PurePosixPath(text)
        if not path.is_absolute() or ".." in path.parts:
            yield f"pods.hostPath.allowedPaths[{index}]: {text!r} is no absolute path without `..`"


def _is_subdomain(name: str) -> bool:
    return len(name) <= _SUBDOMAIN_LENGTH and _SUBDOMAIN.fullmatch(name) is not None


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return _QUALIFIED.fullmatch(name) is not None and (not slash or _is_subdomain(prefix))


def _is_loopback(host_port: str) -> bool:
    host = host_port.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def _is_host_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and int(port) in _PORTS
