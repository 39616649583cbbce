"""The machine under any order of what may happen: it never breaks, starts each attempt once, and ends when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from provider.cloud.instances.containers import LEAST_GRACE
from provider.cloud.instances.events import (
    DeleteRequested,
    Faulted,
    HookEnded,
    ImageReady,
    Observed,
    Outcome,
    Placed,
    Probed,
    Released,
    SandboxLost,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    CreateSandbox,
    EnsureImage,
    Place,
    ReleaseSandbox,
    RunHook,
    RunProbe,
    StartContainer,
    StopContainer,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.attempt import SeenContainer
from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.probe import ExecAction, Probe
from provider.model.request import ContainerKind, ContainerSpec, InstanceRequest, RestartPolicy, RestartRule

if TYPE_CHECKING:
    from provider.cloud.instances.events import Event
    from provider.cloud.instances.instructions import Instruction

HOOK = ExecAction(("true",))
PROBE = st.none() | st.builds(
    Probe,
    st.just(HOOK),
    initial_delay=st.sampled_from([0, 3]),
    success_threshold=st.sampled_from([1, 2]),
    failure_threshold=st.sampled_from([1, 3]),
    grace=st.sampled_from([None, 0, 5]),
)
KINDS = st.lists(st.sampled_from([ContainerKind.INIT, ContainerKind.SIDECAR]), max_size=2).map(
    lambda init: [*init, ContainerKind.APP]
)


@st.composite
def requests(draw: st.DrawFn) -> InstanceRequest:
    kinds = [*draw(KINDS), *[ContainerKind.APP] * draw(st.integers(0, 1))]
    containers = []
    for index, kind in enumerate(kinds):
        hooks = kind is not ContainerKind.INIT
        containers.append(
            ContainerSpec(
                name=f"c{index}",
                image="i",
                kind=kind,
                readiness=draw(PROBE) if hooks else None,
                liveness=draw(PROBE) if hooks else None,
                startup=draw(PROBE) if hooks else None,
                post_start=draw(st.sampled_from([None, HOOK])) if hooks else None,
                pre_stop=draw(st.sampled_from([None, HOOK])) if hooks else None,
                restart_policy=draw(st.sampled_from([None, *RestartPolicy])) if kind is ContainerKind.APP else None,
                restart_rules=draw(st.sampled_from([(), (RestartRule((1,)),)])),
            )
        )
    return InstanceRequest(
        uid=PodUid("u"),
        zone=ZoneId("z"),
        name="p",
        namespace="n",
        containers=tuple(containers),
        restart_policy=draw(st.sampled_from(list(RestartPolicy))),
        active_deadline=draw(st.sampled_from([None, 40])),
        grace=draw(st.sampled_from([0, 1, 30])),
    )


class Life:
    """A machine and all that it has asked for and that is not answered yet."""

    def __init__(self, request: InstanceRequest) -> None:
        self.machine = InstanceMachine(request, InstanceId("eci-1"), 0)
        self.now = 0.0
        self.open: list[Instruction] = []
        self.running: dict[str, SeenContainer] = {}
        self.started: set[tuple[str, int]] = set()
        self.send(Tick())

    def send(self, event: Event) -> None:
        for instruction in self.machine.handle(event, self.now):
            match instruction:
                case StartContainer(name, attempt):
                    assert (name, attempt) not in self.started, "an attempt was started twice"
                    assert name not in self.running, "an attempt was started beside another"
                case StopContainer(name, attempt, grace):
                    assert grace >= LEAST_GRACE
                    assert name not in self.running or self.running[name].attempt >= attempt
            self.open.append(instruction)
        saved = msgspec.json.decode(msgspec.json.encode(self.machine.snapshot()), type=MachineSnapshot)
        again = InstanceMachine.restore(self.machine.request, saved, self.now)
        assert again.instance().containers == self.machine.instance().containers, "the journal forgets something"

    def answer(self, instruction: Instruction, well: bool, outcome: Outcome) -> None:
        match instruction:
            case Place():
                self.send(Placed(VSwitchId("v"), "10.0.0.1") if well else Faulted(Stage.PLACE, "NoStock", "none"))
            case CreateSandbox():
                self.send(SandboxReady() if well else Faulted(Stage.SANDBOX, "FailedCreatePodSandBox", "no"))
            case EnsureImage(name):
                self.send(ImageReady(name, "i", "d") if well else Faulted(Stage.IMAGE, "ErrImagePull", "no", name))
            case StartContainer(name, attempt):
                self.start(name, attempt, well)
            case RunProbe(name, attempt, kind):
                self.send(Probed(name, attempt, kind, outcome))
            case RunHook(name, attempt, kind):
                self.send(HookEnded(name, attempt, kind, "" if well else "no"))
            case StopContainer(name):
                self.end(name, 143)
            case ReleaseSandbox():
                self.send(Released() if well else Faulted(Stage.RELEASE, "FailedCreatePodSandBox", "no"))

    def start(self, name: str, attempt: int, well: bool) -> None:
        if not well:
            self.send(Faulted(Stage.START, "CreateContainerError", "no", name))
            return
        seen = SeenContainer(name=name, attempt=attempt, container_id="c", running=True, started_at=self.now)
        self.running[name] = seen
        self.started.add((name, attempt))
        self.send(Observed((seen,), complete=False))

    def end(self, name: str, code: int) -> None:
        seen = self.running.pop(name, None)
        if seen is not None:
            gone = msgspec.structs.replace(seen, running=False, exited=True, exit_code=code, finished_at=self.now)
            self.send(Observed((gone,), complete=False))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "end", "wait", "lose", "delete", "look"]),
        st.integers(0, 7),
        st.booleans() | st.just(True),
        st.sampled_from(list(Outcome)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(requests(), STEPS)
def test_any_order(request: InstanceRequest, steps: list[tuple[str, int, bool, Outcome]]) -> None:
    life = Life(request)
    for what, number, well, outcome in steps:
        match what:
            case "answer" if life.open:
                life.answer(life.open.pop(number % len(life.open)), well, outcome)
            case "end" if life.running:
                life.end(sorted(life.running)[number % len(life.running)], number % 3)
            case "wait":
                due = life.machine.wake_at()
                life.now = life.now + number if due is None or number > 3 else due
                life.send(Tick())
            case "lose" if life.machine.wants_sandbox and number == 0:
                life.send(SandboxLost())
            case "delete" if number == 1:
                life.send(DeleteRequested(number))
            case "look":
                life.send(Observed(tuple(life.running.values()), complete=False))
    wind_down(life)


def wind_down(life: Life) -> None:
    """Delete it, and let everything go well from here on: it has to be released in the end."""
    life.send(DeleteRequested(0))
    for _ in range(100):
        if life.machine.released:
            break
        while life.open:
            life.answer(life.open.pop(0), well=True, outcome=Outcome.SUCCESS)
        due = life.machine.wake_at()
        life.now = life.now + 1 if due is None else due
        life.send(Tick())
    assert life.machine.released
    assert life.running == {}
