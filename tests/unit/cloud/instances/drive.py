"""The instance machine driven by hand, with a runtime of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.events import (
    Event,
    Faulted,
    ImageReady,
    Observed,
    Placed,
    Released,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    CreateSandbox,
    EnsureImage,
    Instruction,
    Place,
    ReleaseSandbox,
    StartContainer,
    StopContainer,
    Tell,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.model.attempt import SeenContainer
from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerKind, ContainerSpec, InstanceRequest, RestartPolicy

if TYPE_CHECKING:
    from provider.model.instance import ContainerStatus


class Drive:
    """Answers every instruction with success, until told otherwise; starts are kept for the test to look at."""

    def __init__(
        self, *containers: ContainerSpec, policy: RestartPolicy, deadline: float | None = None, begin: bool = True
    ) -> None:
        request = InstanceRequest(
            uid=PodUid("u"),
            zone=ZoneId("z"),
            name="pod",
            namespace="ns",
            containers=containers,
            restart_policy=policy,
            active_deadline=deadline,
        )
        self.machine = InstanceMachine(request, InstanceId("eci-1"), 0)
        self.now = 0.0
        self.seen: list[Instruction] = []
        self.image_fault = ""
        self.start_fault: Faulted | None = None
        self.sandbox_fault: Faulted | None = None
        if begin:
            self.send(Tick())

    def send(self, event: Event) -> None:
        events = [event]
        while events:
            for instruction in self.machine.handle(events.pop(0), self.now):
                self.seen.append(instruction)
                events.extend(self.answer(instruction))

    def answer(self, instruction: Instruction) -> list[Event]:
        match instruction:
            case Place():
                return [Placed(VSwitchId("v"), "10.0.0.1")]
            case CreateSandbox() if self.sandbox_fault is not None:
                return [self.sandbox_fault]
            case CreateSandbox():
                return [SandboxReady()]
            case EnsureImage(name) if self.image_fault:
                return [Faulted(Stage.IMAGE, self.image_fault, "no such image", name)]
            case EnsureImage(name):
                return [ImageReady(name, "sha256:1", "repo@sha256:1")]
            case StartContainer() if self.start_fault is not None:
                return [self.start_fault]
            case StartContainer(name, attempt):
                return [self.attempt(name, attempt)]
            case ReleaseSandbox():
                return [Released()]
        return []

    def attempt(self, name: str, attempt: int) -> Observed:
        item = SeenContainer(name=name, attempt=attempt, container_id="c", running=True, started_at=self.now)
        return Observed((item,), complete=False)

    def end(self, name: str, code: int = 0, *, oom: bool = False) -> None:
        attempt = max(i.attempt for i in self.seen if isinstance(i, StartContainer) and i.container == name)
        item = SeenContainer(
            name=name,
            attempt=attempt,
            container_id="c",
            exited=True,
            finished_at=self.now,
            exit_code=code,
            oom_killed=oom,
        )
        self.send(Observed((item,), complete=False))

    def wake(self) -> float:
        """Go to the next timer and return the seconds that passed."""
        due = self.machine.wake_at()
        assert due is not None
        passed, self.now = due - self.now, due
        self.send(Tick())
        return passed

    def starts(self) -> list[str]:
        return [i.container for i in self.seen if isinstance(i, StartContainer)]

    def stops(self) -> list[StopContainer]:
        return [i for i in self.seen if isinstance(i, StopContainer)]

    def told(self) -> list[tuple[str, str]]:
        return [(i.reason, i.message) for i in self.seen if isinstance(i, Tell)]

    def count(self, kind: type) -> int:
        return sum(isinstance(i, kind) for i in self.seen)

    def status(self, name: str) -> ContainerStatus:
        return next(c for c in self.machine.instance().containers if c.name == name)


def app(name: str = "a", **fields: object) -> ContainerSpec:
    return ContainerSpec(name=name, image="i", **fields)  # type: ignore[arg-type]


def init(name: str) -> ContainerSpec:
    return app(name, kind=ContainerKind.INIT)


def sidecar(name: str) -> ContainerSpec:
    return app(name, kind=ContainerKind.SIDECAR)
