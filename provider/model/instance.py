"""What the cloud tells of an instance, and of its changes. Shapes follow ECI's DescribeContainerGroups.

Units: CPU in milli-cores, memory and disk in bytes, times in seconds since the Unix epoch (float), durations in
seconds.
All structs are frozen; a change is a new value. What is asked for stands in model/request.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerKind, Market


class InstancePhase(StrEnum):
    """ECI's states of a container group (facts: section 6)."""

    SCHEDULING = "Scheduling"
    """accepted, waits for stock, an address, or the engine."""
    PENDING = "Pending"
    """placed: stock and address are taken; images, sandbox, init containers."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"


class ContainerPhase(StrEnum):
    """State of one container, as Kubernetes writes it."""

    WAITING = "Waiting"
    RUNNING = "Running"
    TERMINATED = "Terminated"


class ContainerState(Struct, frozen=True, omit_defaults=True):
    """One state. Waiting: reason, message. Running: started_at. Terminated: everything; exit_code is meaningful."""

    phase: ContainerPhase = ContainerPhase.WAITING
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    container_id: str = ""
    """`docker://<64 hex>`, `simulated://<id>`."""


class ContainerStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the cloud says of one container. `restarts` counts starts after the first; attempt numbers are the same."""

    name: str
    kind: ContainerKind = ContainerKind.APP
    state: ContainerState = ContainerState()
    last: ContainerState | None = None
    """the newest ended attempt before this one."""
    restarts: int = 0
    ready: bool = False
    started: bool = False
    """startup probe passed, or none and running."""
    image: str = ""
    image_id: str = ""


class Instance(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """DescribeContainerGroup: one instance as it is now. `revision` grows with every change, over all instances."""

    uid: PodUid
    id: InstanceId
    zone: ZoneId
    name: str
    namespace: str
    phase: InstancePhase = InstancePhase.SCHEDULING
    reason: str = ""
    """of the instance itself: `DeadlineExceeded`, `Evicted`, `OperationDenied.NoStock` while it waits, `EngineWait`."""
    message: str = ""
    vswitch: VSwitchId | None = None
    address: str | None = None
    cpu: int = 0
    memory: int = 0
    market: Market = Market.PAY_AS_YOU_GO
    created_at: float = 0
    placed_at: float | None = None
    """when stock and address were taken; status.startTime, and where activeDeadline begins."""
    sandbox_ready_at: float | None = None
    initialized_at: float | None = None
    finished_at: float | None = None
    deletion_requested_at: float | None = None
    grace: float | None = None
    """the shrinking grace of a deletion in progress."""
    active_deadline: float | None = None
    """seconds after placement, as asked for last."""
    released: bool = False
    """every container has ended, sandbox, address and stock are given back. Logs stay until `forget`."""
    containers: tuple[ContainerStatus, ...] = ()
    revision: int = 0


class InstanceChanged(Struct, frozen=True, tag="instance"):
    """The instance as it is now; in-between states may be left out (level-triggered)."""

    instance: Instance


class InstanceGone(Struct, frozen=True, tag="gone"):
    """The record, its containers, logs and volumes are gone."""

    uid: PodUid
    revision: int


class Notice(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="notice"):
    """DescribeContainerGroupEvents: something to tell the user; becomes a Kubernetes Event. Not replayed.

    `container` is empty for the instance as a whole. `reason` is the kubelet's or ECI's published word (`Pulled`).
    """

    uid: PodUid
    reason: str
    message: str
    warning: bool = False
    container: str = ""
    at: float = 0


class ZoneChanged(Struct, frozen=True, tag="zone"):
    """Stock or addresses of a zone have changed; ask describe_zones."""

    zone: ZoneId


class Synced(Struct, frozen=True, tag="synced"):
    """Every instance that existed when the watch began has been sent."""

    revision: int


Change: TypeAlias = InstanceChanged | InstanceGone | Notice | ZoneChanged | Synced

TERMINAL: frozenset[InstancePhase] = frozenset(
    {InstancePhase.SUCCEEDED, InstancePhase.FAILED, InstancePhase.EXPIRED},
)
