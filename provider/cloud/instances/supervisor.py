"""The supervisor: feeds each instance's machine, one event at a time, and has done what the machine says.

    events in    results of acts · looks at the runtime (hints, relist) · timers · placement · the backend's callers
    events out   journal row, then acts as tasks; description and notices to the watchers

Rules it keeps:
- The row of the journal is written before the effects that it tells of.
- Nothing blocks: what takes time is a task and comes back as an event. An idle instance costs neither task nor timer.
- Only looks (inspect, relist, the answer to a start) write what runs. A look that overlaps with an act of the same
  instance may be half true; it is then incomplete: it can tell what is there, not what is missing.
- An engine that is away fails no pod: acts come back as Unavailable and are tried again, looks wait.
- What breaks in the work for one instance (a bug, a row that cannot be written) ends nothing but that work: it is told
  loudly, and the instance goes on from its row after a pause that grows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from provider.cloud.instances.accounts import Accounts
from provider.cloud.instances.act_queue import ActQueue
from provider.cloud.instances.acts import RETRY, Acts
from provider.cloud.instances.entry import Entry
from provider.cloud.instances.events import (
    Abandoned,
    Event,
    Faulted,
    HookEnded,
    Observed,
    Outcome,
    Placed,
    Probed,
    SandboxLost,
    Stage,
    Tick,
)
from provider.cloud.instances.hooks import run_hook
from provider.cloud.instances.instructions import (
    CreateSandbox,
    EnsureImage,
    Instruction,
    Place,
    ReleaseSandbox,
    RemoveAttempt,
    RunHook,
    RunProbe,
    StartContainer,
    StopContainer,
    Tell,
)
from provider.cloud.instances.looks import Looks
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.probes import run_probe
from provider.cloud.instances.removals import Removals
from provider.cloud.instances.sale import take_size
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.cloud.instances.specs import instance_id
from provider.cloud.instances.state import UNAVAILABLE
from provider.cloud.instances.timers import Timers
from provider.cloud.instances.watch_hub import WatchHub
from provider.cloud.runtime.base import RuntimeFault
from provider.model.errors import CloudError
from provider.model.instance import Notice
from provider.model.profile import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from random import Random  # noqa: TID251 - the type of what the composition root hands out

    from provider.clock import Clock
    from provider.cloud.instances.journal import Journal
    from provider.cloud.instances.placer import Placer
    from provider.cloud.instances.probes import GrpcCheck
    from provider.cloud.runtime.base import ContainerRuntime, Seen
    from provider.model.attempt import SeenContainer
    from provider.model.ids import PodUid
    from provider.model.instance import Instance
    from provider.model.profile import Profile

    Act = Callable[..., Coroutine[Any, Any, None]]
    """work for one instance: takes its entry, and what else it needs."""

log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 300.0
_CALM = 2 * _LONGEST_PAUSE
"""An instance whose work did not break for so long begins again with the first pause."""


class Supervisor:
    """All instances of one installation. `spawn` runs a coroutine as a task of the backend's group."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        journal: Journal,
        *,
        clock: Clock,
        random: Random,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        starts_in_flight: int,
        grpc: GrpcCheck,
        profile: Profile = PLAIN,
    ) -> None:
        self._runtime = runtime
        self._grpc = grpc
        self._journal = journal
        self._accounts = Accounts(journal, profile)
        self._clock = clock
        self._random = random
        self._spawn = spawn
        self.entries: dict[PodUid, Entry] = {}
        self.hub = WatchHub(self._describe, lambda: self.entries)
        self.looks = Looks(runtime, clock, self.entries, self._saw, self._begin)
        self.starts = ActQueue(starts_in_flight, spawn)
        self.removals = Removals(self.starts, spawn, clock, lambda: self.placer.short)
        self._acts = Acts(runtime, clock, self.hub.notice)
        self._timers = Timers(clock, spawn, self._due)
        self._inbox: list[tuple[Entry, Event]] = []
        self._pumping = False
        self._orders = 0
        self._encode = msgspec.json.Encoder().encode
        self._decoder = msgspec.json.Decoder(MachineSnapshot)
        self.placer: Placer

    # ------------------------------------------------------------------ what there is

    def accept(self, machine: InstanceMachine, found: Sequence[SeenContainer] = ()) -> Entry:
        """Write a new instance to the journal and begin with it; CloudError TOKEN_CONFLICT of the journal.

        `found`: attempts that the runtime has already.
        """
        row = self._encode(machine.snapshot())
        self._journal.accept(machine.request, row)
        entry = self._add(machine, row)
        self._describe_anew(entry)
        self.feed(entry, Observed(tuple(found), complete=False) if found else Tick())
        return entry

    def restore(self) -> None:
        """Take over every instance of the journal, the oldest first; nothing is done about them before `resume`.

        One whose state cannot be read begins anew, with what is found of it.
        """
        now = self._clock.now()
        restored = []
        for record in self._journal.records().values():
            uid = record.request.uid
            try:
                saved = self._decoder.decode(record.state)
                machine, row = InstanceMachine.restore(record.request, saved, now, self._random.random()), record.state
            except Exception:  # a row that another version wrote must not keep the others from their lives
                log.exception("instance.state_cannot_be_read", uid=uid)
                machine = InstanceMachine(record.request, instance_id(uid), now)
                saved = machine.snapshot()
                row = self._encode(saved)
            restored.append((saved.created_at, uid, machine, row))
        for _, _, machine, row in sorted(restored, key=lambda one: one[:2]):
            self._describe_anew(self._add(machine, row))
        self._accounts.settle(self.entries, now)

    def resume(self) -> None:
        """Go on with what was restored, after a complete look at everything."""
        for entry in list(self.entries.values()):
            if not entry.machine.released:
                self.feed(entry, Tick())

    def updated(self, entry: Entry) -> None:
        """Go on with an instance whose request was changed."""
        self._describe_anew(entry)
        self.feed(entry, Tick())

    def drop(self, entry: Entry) -> None:
        """Take out an instance whose record is gone."""
        del self.entries[entry.uid]
        self._timers.arm(entry.uid, None)
        self.hub.gone(entry.uid)

    def _add(self, machine: InstanceMachine, row: bytes) -> Entry:
        self._orders += 1
        entry = Entry(machine, self._orders, row)
        self.entries[entry.uid] = entry
        return entry

    def _describe(self, uid: PodUid) -> Instance | None:
        entry = self.entries.get(uid)
        return None if entry is None else entry.instance

    # ------------------------------------------------------------------ events

    def feed_uid(self, uid: PodUid, event: Event) -> None:
        """Feed an event to the instance of that UID, if there still is one."""
        entry = self.entries.get(uid)
        if entry is not None:
            self.feed(entry, event)

    def feed(self, entry: Entry, event: Event) -> None:
        """Feed an event; when this returns, its consequences are written and under way."""
        self._inbox.append((entry, event))
        if self._pumping:
            return
        self._pumping = True
        try:
            for one, what in self._inbox:  # grows while it is read
                if self.entries.get(one.uid) is one:
                    self._handle(one, what)
        finally:
            self._inbox.clear()
            self._pumping = False

    def _handle(self, entry: Entry, event: Event) -> None:
        try:
            if isinstance(event, Placed):
                take_size(entry, event.size, self._journal)
            instructions = entry.machine.handle(event, self._clock.now())
            self._record(entry)
            for instruction in instructions:
                self._execute(entry, instruction)
            if entry.machine.ending:
                for name in self.starts.withdraw(entry.uid):
                    self._inbox.append((entry, Abandoned(name)))
            self._timers.arm(entry.uid, entry.machine.wake_at())
        except Exception as error:  # noqa: BLE001 - one instance's bug, or a full disk, must not end the others
            self._mend(entry, error, repr(event))

    def _begin(self, entry: Entry, act: Act, *arguments: Any) -> None:
        self._spawn(self._work(entry, act, *arguments))

    async def _work(self, entry: Entry, act: Act, *arguments: Any) -> None:
        try:
            await act(entry, *arguments)
        except Exception as error:  # noqa: BLE001 - as in _handle
            self._mend(entry, error)

    def _record(self, entry: Entry) -> None:
        row = self._encode(entry.machine.snapshot())
        if row != entry.row:
            self._accounts.save(entry, row, self._clock.now())
            entry.row = row
            self._describe_anew(entry)

    def _describe_anew(self, entry: Entry) -> None:
        described = entry.machine.instance(entry.instance.revision)
        if described != entry.instance or not described.revision:
            entry.instance = msgspec.structs.replace(described, revision=self.hub.next_revision())
            self.hub.changed(entry.uid)

    def _mend(self, entry: Entry, error: Exception, during: str = "work") -> None:
        """Go back to what the journal has, and on from there after a pause, which grows if there is a bug."""
        now = self._clock.now()
        saved = self._decoder.decode(entry.row)
        entry.machine = InstanceMachine.restore(entry.machine.request, saved, now, self._random.random())
        entry.mended, pause = True, RETRY
        if not isinstance(error, CloudError):
            if now - entry.crashed_at > _CALM:
                entry.crashes = 0
            pause = min(RETRY * 2**entry.crashes, _LONGEST_PAUSE)
            entry.crashes, entry.crashed_at = entry.crashes + 1, now
        if self.entries.get(entry.uid) is entry:
            self._timers.arm(entry.uid, now + pause)
        if isinstance(error, CloudError):
            log.warning("instance.waits", uid=entry.uid, error=error.message, during=during, retry_seconds=pause)
        else:
            log.error("instance.broke", uid=entry.uid, during=during, retry_seconds=pause, exc_info=error)

    def _due(self, uid: PodUid) -> None:
        entry = self.entries.get(uid)
        if entry is None:
            return
        if entry.mended:
            entry.mended = False
            self.looks.look(entry)
        self.feed(entry, Tick())

    def _saw(self, entry: Entry, seen: Seen | None, complete: bool) -> None:  # noqa: FBT001 - the callback of Looks
        attempts = () if seen is None else seen.containers
        try:
            if seen is not None and entry.machine.placement is None and not entry.machine.released:
                self.placer.found(entry.machine.request, seen)
            if not (complete and entry.machine.agrees(attempts)):
                self.feed(entry, Observed(attempts, complete))
            if complete and entry.machine.wants_sandbox and not (seen is not None and seen.sandbox_running):
                log.warning("sandbox died", uid=entry.uid)
                self.feed(entry, SandboxLost())
        except Exception as error:  # noqa: BLE001 - as in _handle
            self._mend(entry, error)

    # ------------------------------------------------------------------ instructions

    def _execute(self, entry: Entry, instruction: Instruction) -> None:
        uid = entry.uid
        match instruction:
            case Place():
                self.placer.ask(entry.machine.request)
            case CreateSandbox():
                self.starts.submit(uid, entry.order, "", partial(self._work, entry, self._create_sandbox, instruction))
            case StartContainer(name):
                self.starts.submit(uid, entry.order, name, partial(self._work, entry, self._start, instruction))
            case EnsureImage():
                self._begin(entry, self._ensure_image, instruction)
            case StopContainer():
                self._begin(entry, self._stop, instruction)
            case RemoveAttempt(name):
                act = partial(self._work, entry, self._remove_attempt, instruction)
                self.removals.submit(uid, name, act)
            case ReleaseSandbox():
                self.removals.submit(uid, "", partial(self._work, entry, self._release))
            case RunProbe():
                self._begin(entry, self._probe, instruction)
            case RunHook():
                self._begin(entry, self._hook, instruction)
            case Tell(reason, message, container, warning):
                at = self._clock.now()
                self.hub.notice(
                    Notice(uid=uid, reason=reason, message=message, warning=warning, container=container, at=at)
                )

    async def _create_sandbox(self, entry: Entry, wanted: CreateSandbox) -> None:
        self.looks.act_begins(entry)
        event = await self._acts.guarded(Stage.SANDBOX, "", self._acts.create_sandbox(entry.machine, wanted))
        self.looks.act_ends(entry)
        self.feed(entry, event)

    async def _start(self, entry: Entry, wanted: StartContainer) -> None:
        self.looks.act_begins(entry)
        event = await self._acts.guarded(Stage.START, wanted.container, self._acts.start(entry.machine, wanted))
        self.looks.act_ends(entry)
        self.feed(entry, event)
        if isinstance(event, Faulted) and event.reason == UNAVAILABLE:
            self.looks.look(entry)  # only a look can tell whether it runs

    async def _ensure_image(self, entry: Entry, wanted: EnsureImage) -> None:
        act = self._acts.ensure_image(entry.machine.request, wanted)
        self.feed(entry, await self._acts.guarded(Stage.IMAGE, wanted.container, act))

    async def _release(self, entry: Entry) -> None:
        while entry.acts:  # a start that was asked for before the instance went back to its row
            await self._clock.sleep(RETRY)
        self.feed(entry, await self._acts.guarded(Stage.RELEASE, "", self._acts.release(entry.machine)))
        if entry.machine.released:  # and the row says so: otherwise the next start would book it again
            self.placer.release(entry.uid)

    async def _probe(self, entry: Entry, wanted: RunProbe) -> None:
        machine = entry.machine
        try:
            placed = machine.placement
            address = "" if placed is None else placed[1]
            found = await run_probe(self._runtime, machine.request, address, wanted, self._grpc)
        except Exception as error:  # a bug of a probe is the probe's failure to run, and is told
            log.exception("probe failed by a bug", uid=entry.uid, container=wanted.container)
            text = f"probe errored and resulted in unknown state: internal error: {error}"
            found = Probed(wanted.container, wanted.attempt, wanted.kind, Outcome.ERRORED, text)
        self.feed(entry, found)

    async def _hook(self, entry: Entry, wanted: RunHook) -> None:
        machine = entry.machine
        placed = machine.placement
        try:
            error = await run_hook(
                self._runtime,
                self._clock,
                machine.request,
                "" if placed is None else placed[1],
                wanted,
                self.hub.notice,
            )
        except Exception as bug:  # as in _probe
            log.exception("hook failed by a bug", uid=entry.uid, container=wanted.container)
            error = f"internal error: {type(bug).__name__}: {bug}"
        self.feed(entry, HookEnded(wanted.container, wanted.attempt, wanted.kind, error))

    async def _stop(self, entry: Entry, wanted: StopContainer) -> None:
        """Stop an attempt, however often that takes; a second one with less grace runs beside it and hastens."""
        deadline = self._clock.now() + wanted.grace
        while entry.machine.is_running(wanted.container, wanted.attempt):
            grace = max(0.0, deadline - self._clock.now())
            try:
                await self._runtime.stop_container(entry.uid, wanted.container, wanted.attempt, grace)
            except RuntimeFault as fault:
                self._not_stopped(entry, wanted, fault.message)
            except Exception as error:  # as in Acts.guarded: a bug of the runtime is tried again
                log.exception("stop failed by a bug of the runtime", uid=entry.uid, container=wanted.container)
                self._not_stopped(entry, wanted, f"internal error: {error}")
            else:
                break
            await self._clock.sleep(RETRY)
        self.looks.look(entry)

    def _not_stopped(self, entry: Entry, wanted: StopContainer, text: str) -> None:
        message = f"error killing pod: {text}"
        self._execute(entry, Tell("FailedKillPod", message, wanted.container, warning=True))

    async def _remove_attempt(self, entry: Entry, wanted: RemoveAttempt) -> None:
        try:
            await self._runtime.remove_container(entry.uid, wanted.container, wanted.attempt)
        except RuntimeFault as fault:  # the end of the instance removes it
            log.warning("old attempt not removed yet", uid=entry.uid, container=wanted.container, error=fault.message)
