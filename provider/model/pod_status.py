"""A pod's status as the API server holds it (k8s.io/api/core/v1 PodStatus, v1.37); a new one is computed from it."""

from __future__ import annotations

from msgspec import field

from provider.model.api_object import ApiObject


class Condition(ApiObject, frozen=True):
    """PodCondition."""

    type: str
    status: str = "Unknown"
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class WaitingEntry(ApiObject, frozen=True):
    """ContainerStateWaiting."""

    reason: str = ""
    message: str = ""


class RunningEntry(ApiObject, frozen=True):
    """ContainerStateRunning; times are RFC 3339 texts."""

    started_at: str | None = None


class TerminatedEntry(ApiObject, frozen=True):
    """ContainerStateTerminated."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = field(name="containerID", default="")


class StateEntry(ApiObject, frozen=True):
    """ContainerState: one of the three is set; none means waiting."""

    waiting: WaitingEntry | None = None
    running: RunningEntry | None = None
    terminated: TerminatedEntry | None = None


class ContainerStatusEntry(ApiObject, frozen=True):
    """ContainerStatus of the API."""

    name: str
    state: StateEntry = StateEntry()
    last_state: StateEntry = StateEntry()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = field(name="imageID", default="")
    container_id: str = field(name="containerID", default="")


class PodStatus(ApiObject, frozen=True):
    """PodStatus of the API."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    start_time: str | None = None
    conditions: list[Condition] | None = None
    qos_class: str = ""
    container_statuses: list[ContainerStatusEntry] | None = None
    init_container_statuses: list[ContainerStatusEntry] | None = None
