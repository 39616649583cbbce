"""What of an instance machine outlives the process: a row of the journal. Pure; JSON by msgspec.

Not in it: acts under way (they are idempotent and asked for again), running probes and their streaks.
"""

from __future__ import annotations

from msgspec import Struct

from provider.model.ids import InstanceId, VSwitchId
from provider.model.instance import ContainerState


class ContainerSnapshot(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One container's history."""

    step: str
    attempt: int
    state: ContainerState
    last: ContainerState | None = None
    ready: bool = False
    started: bool = False
    image_id: str = ""
    digest: str = ""
    retry_at: float = 0
    crash_backoff: float = 0
    crash_updated: float = 0
    crash_event: float | None = None
    counted: int = 0
    fault_backoff: float = 0
    shown_attempt: int = 0
    """the attempt that `state` tells of, if it tells of one."""
    last_attempt: int = 0


class MachineSnapshot(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The instance's history; the request stands beside it in the journal."""

    id: InstanceId
    created_at: float
    containers: dict[str, ContainerSnapshot]
    vswitch: VSwitchId | None = None
    address: str | None = None
    placed_at: float | None = None
    sandbox_at: float | None = None
    initialized_at: float | None = None
    finished_at: float | None = None
    deletion_at: float | None = None
    grace: float | None = None
    stop_by: float | None = None
    reason: str = ""
    message: str = ""
    failed: bool = False
    lost: bool = False
    renew: bool = False
    released: bool = False
