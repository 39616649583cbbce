"""What an instance machine knows: one mutable record, changed by absorbing.py and advancing.py only. Pure."""

from __future__ import annotations

from msgspec import Struct

from provider.cloud.instances.container_steps import Step
from provider.cloud.instances.containers import ContainerProgress
from provider.cloud.instances.events import Stage
from provider.cloud.instances.wording import pod_text
from provider.model.attempt import SeenContainer
from provider.model.ids import InstanceId, VSwitchId
from provider.model.request import ContainerKind, InstanceRequest

UNAVAILABLE = "Unavailable"
"""The runtime's word for an engine that is away (FaultKind.UNAVAILABLE)."""
ENGINE_AWAY = "EngineUnavailable"
"""The instance's reason meanwhile."""
CONFIG_ERROR = "CreateContainerConfigError"
IMAGE_PULL = "ErrImagePull"


class InstanceState(Struct, kw_only=True):
    """One instance. Times in seconds since the epoch; None: not yet."""

    request: InstanceRequest
    id: InstanceId
    created_at: float
    waiting: str
    """what a container shows before its turn: PodInitializing or ContainerCreating."""
    pod: str
    containers: dict[str, ContainerProgress]
    vswitch: VSwitchId | None = None
    address: str | None = None
    placed_at: float | None = None
    sandbox_at: float | None = None
    initialized_at: float | None = None
    finished_at: float | None = None
    deletion_at: float | None = None
    grace: float | None = None
    stop_by: float | None = None
    """when the last SIGKILL is due, once the instance ends."""
    reason: str = ""
    message: str = ""
    failed: bool = False
    lost: bool = False
    """the sandbox has died; its containers are being stopped."""
    found: tuple[SeenContainer, ...] = ()
    """attempts that were seen although no sandbox was made yet: the row is older than what the runtime has."""
    renew: bool = False
    """the sandbox to make replaces one that has died."""
    acting: Stage | None = None
    """the act of the instance as a whole that is under way."""
    retry_at: float = 0.0
    handled_at: float = 0.0
    released: bool = False

    @property
    def apps(self) -> list[ContainerProgress]:
        """The app containers."""
        return [one for one in self.containers.values() if one.spec.kind is ContainerKind.APP]

    @property
    def busy(self) -> bool:
        """Whether anything runs or may be about to run."""
        return any(one.busy for one in self.containers.values())

    @property
    def deadline(self) -> float | None:
        """When activeDeadlineSeconds is over."""
        if self.placed_at is None or self.request.active_deadline is None:
            return None
        return self.placed_at + self.request.active_deadline

    @property
    def ending(self) -> bool:
        """Whether it winds down: it was deleted, has failed, or all its app containers are done."""
        return self.deletion_at is not None or self.failed or all(one.step is Step.DONE for one in self.apps)

    @property
    def wants_sandbox(self) -> bool:
        """Whether the pause container should be running now."""
        return self.sandbox_at is not None and not self.lost and not self.ending


def new_state(request: InstanceRequest, instance_id: InstanceId, created_at: float) -> InstanceState:
    """Return the state of an instance that was just accepted."""
    has_init = any(spec.kind is not ContainerKind.APP for spec in request.containers)
    waiting, pod = "PodInitializing" if has_init else "ContainerCreating", pod_text(request)
    return InstanceState(
        request=request,
        id=instance_id,
        created_at=created_at,
        waiting=waiting,
        pod=pod,
        containers={
            spec.name: ContainerProgress(spec, request.restart_policy, waiting, pod) for spec in request.containers
        },
    )
