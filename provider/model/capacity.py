"""Zones, vSwitches and what can still be sold in them. CPU in milli-cores, memory in bytes."""

from __future__ import annotations

from msgspec import Struct

from provider.model.ids import VSwitchId, ZoneId
from provider.model.stock import Stock, StockStatus


class VSwitch(Struct, frozen=True):
    """A block of addresses of one zone; mask /16 to /29, the first and the last three addresses are reserved."""

    id: VSwitchId
    cidr: str


class Zone(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A zone as configured: physical pool and vSwitches. `instances` is an optional cap of their count.

    `spot_reserve` is the share of the pool that spot and best-effort instances must leave free.
    """

    id: ZoneId
    cpu: int
    memory: int
    ephemeral_storage: int = 0
    instances: int | None = None
    vswitches: tuple[VSwitch, ...] = ()
    spot_reserve: float = 0.0


def configured_stock(zone: Zone) -> Stock:
    """Return the pool of the zone's generic family as the configuration says it."""
    return Stock(
        cpu=zone.cpu,
        memory=zone.memory,
        ephemeral_storage=zone.ephemeral_storage,
        instances=zone.instances,
        spot_reserve=zone.spot_reserve,
    )


class VSwitchStatus(Struct, frozen=True):
    """Addresses of a vSwitch: usable in all, and in use."""

    id: VSwitchId
    cidr: str
    usable: int
    used: int


class ZoneStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """DescribeAvailableResource of one zone: its pool, what is sold, who waits, and the router's place.

    `node_address` is the zone's own address on the cluster network (the node's InternalIP); None until the runtime has
    made the zone, or where the runtime has no network (simulated: the configured one).
    """

    zone: Zone
    cpu_used: int = 0
    memory_used: int = 0
    instances: int = 0
    waiting: int = 0
    vswitches: tuple[VSwitchStatus, ...] = ()
    node_address: str | None = None
    stock: tuple[StockStatus, ...] = ()
    """one per family; empty where a cloud of an earlier version does not tell it."""


class EngineInfo(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the machine behind a zone says of itself; goes to node.status.nodeInfo."""

    runtime: str
    """`docker://20.10.24`, `simulated://0.1.0`."""
    os_image: str = ""
    kernel: str = ""
    architecture: str = "amd64"
    operating_system: str = "linux"
    machine_id: str = ""
    boot_id: str = ""
    cpus: int = 0
    memory: int = 0
    apparmor: bool = False
    """whether the engine confines containers by AppArmor profiles"""


class BackendHealth(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Whether instances can be made now; `reason` and `message` as a node condition would say it."""

    healthy: bool
    reason: str = ""
    message: str = ""
    engine: EngineInfo | None = None


class Redirect(Struct, frozen=True):
    """A TCP service address whose traffic the zones' routers send to one of the targets (address, port).

    The one that a cluster without kube-proxy needs is `kubernetes` (10.96.0.1:443 to the API server).
    """

    address: str
    port: int
    targets: tuple[tuple[str, int], ...]
