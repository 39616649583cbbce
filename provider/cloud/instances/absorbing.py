"""How an event changes an instance: the first half of the machine. Pure.

Events that come late, of an act that is no longer waited for, change nothing.
"""

from __future__ import annotations

from provider.cloud.instances.container_steps import Farewell, Step
from provider.cloud.instances.endings import START_ERROR, START_ERROR_CODE
from provider.cloud.instances.events import (
    Abandoned,
    DeleteRequested,
    Event,
    Evicted,
    Faulted,
    HookEnded,
    HookKind,
    ImageReady,
    Observed,
    Placed,
    Probed,
    Released,
    SandboxLost,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.eviction import EVICTED
from provider.cloud.instances.eviction import GRACE as EVICTION_GRACE
from provider.cloud.instances.instructions import Instruction, RunHook, Tell
from provider.cloud.instances.state import CONFIG_ERROR, ENGINE_AWAY, IMAGE_PULL, UNAVAILABLE, InstanceState
from provider.cloud.instances.stopping import begin_stop
from provider.cloud.instances.wording import (
    CREATED,
    SANDBOX_CHANGED,
    STARTED,
    probe_kill,
    tell_crash_backoff,
    tell_error,
    tell_hook_failed,
    tell_probed,
)
from provider.model.instance import ContainerPhase, ContainerState
from provider.model.request import ContainerKind, RestartPolicy


def absorb(state: InstanceState, event: Event, now: float, out: list[Instruction]) -> None:
    """Take one event; what has to be told or done because of it goes to `out`."""
    match event:
        case Observed():
            _observed(state, event, now, out)
        case ImageReady(name, image_id, digest):
            one = state.containers[name]
            if one.step is Step.PULLING:
                one.step, one.image_id, one.digest = Step.PULLED, image_id, digest
        case Faulted():
            _faulted(state, event, now, out)
        case Probed():
            _probed(state, event, now, out)
        case Abandoned(name) if name:
            if state.containers[name].step is Step.STARTING:
                state.containers[name].step = Step.IDLE
        case HookEnded():
            _hook_ended(state, event, now, out)
        case DeleteRequested() | Evicted():
            _told_to_end(state, event, now, out)
        case Placed() | SandboxReady() | SandboxLost() | Abandoned() | Released():
            _staged(state, event, now, out)
        case Tick():
            pass


def _staged(
    state: InstanceState,
    event: Placed | SandboxReady | SandboxLost | Abandoned | Released,
    now: float,
    out: list[Instruction],
) -> None:
    """Take what happened to the instance as a whole."""
    match event:
        case Placed(vswitch, address):
            state.acting, state.reason, state.message = None, "", ""
            state.vswitch, state.address, state.placed_at, state.retry_at = vswitch, address, now, 0.0
        case SandboxReady():
            state.acting, state.sandbox_at, state.retry_at, state.renew = None, now, 0.0, False
            _found(state, now, out)
            if not state.failed:
                state.reason = state.message = ""
        case SandboxLost():
            _sandbox_lost(state, out)
        case Abandoned():
            state.acting = None
        case Released():
            state.acting = None
            # An attempt that turned up meanwhile is stopped first; the release is then asked for again.
            if not state.busy:
                state.released, state.finished_at = True, now
                _close(state)


def _told_to_end(state: InstanceState, event: DeleteRequested | Evicted, now: float, out: list[Instruction]) -> None:
    """End the instance, because somebody wants that or because it takes too much."""
    if state.found and state.address is not None:  # what runs already is stopped like all else
        state.sandbox_at = now
        _found(state, now, out)
    match event:
        case DeleteRequested(grace):
            state.deletion_at = now if state.deletion_at is None else state.deletion_at
            state.grace = grace if state.grace is None else min(grace, state.grace)
            state.stop_by = now + grace if state.stop_by is None else min(now + grace, state.stop_by)
            state.retry_at = 0.0
        case Evicted(message) if not state.ending:
            state.failed, state.reason, state.message = True, EVICTED, message
            state.stop_by, state.retry_at = now + EVICTION_GRACE, 0.0
            out.append(Tell(EVICTED, message, warning=True))


def _sandbox_lost(state: InstanceState, out: list[Instruction]) -> None:
    if not state.wants_sandbox:
        return
    state.lost = True
    begun = any(one.ever_started or one.runs for one in state.containers.values())
    if begun and state.request.restart_policy is RestartPolicy.NEVER:
        state.failed = True
    else:
        out.append(SANDBOX_CHANGED)


def _close(state: InstanceState) -> None:
    """Show what never came as failed, once the pod was initialized (status_manager.go TerminatePod)."""
    for one in state.containers.values():
        if state.initialized_at is not None if one.spec.kind is ContainerKind.APP else one.ever_started:
            one.close()


def _faulted(state: InstanceState, event: Faulted, now: float, out: list[Instruction]) -> None:
    one = state.containers.get(event.container)
    if one is None:
        _stage_faulted(state, event, now, out)
        return
    if one.step is not (Step.PULLING if event.stage is Stage.IMAGE else Step.STARTING):
        return
    if event.reason == UNAVAILABLE:
        one.hold(event.message, now + event.retry_after)
        return
    if event.stage is Stage.START and event.reason == START_ERROR:
        ended = ContainerState(
            phase=ContainerPhase.TERMINATED,
            reason=START_ERROR,
            message=event.message,
            finished_at=now,
            exit_code=START_ERROR_CODE,
        )
        one.finish(ended, restart=not state.ending)
    else:
        one.fault(event.reason, event.message, now, pull=event.stage is Stage.IMAGE and event.reason == IMAGE_PULL)
    out.append(
        tell_error(
            one.name, event.reason if event.stage is Stage.IMAGE and event.reason != CONFIG_ERROR else event.message
        )
    )
    if one.crash_looping:
        out.append(tell_crash_backoff(one.name, state.pod))


def _stage_faulted(state: InstanceState, event: Faulted, now: float, out: list[Instruction]) -> None:
    """Take a fault of the instance as a whole; it is told once for each reason, not at each try."""
    state.acting, state.retry_at = None, now + event.retry_after
    away = event.reason == UNAVAILABLE
    told = (state.reason, state.message)
    if not state.failed:
        state.reason = ENGINE_AWAY if away else event.reason if event.stage is Stage.PLACE else ""
        state.message = event.message if state.reason else ""
    if event.stage is Stage.PLACE or away:
        if told != (state.reason, state.message):
            out.append(Tell(_PLACE_EVENTS.get(state.reason, state.reason), event.message, warning=True))
    elif event.stage is Stage.SANDBOX:
        mount = event.reason == "FailedMount"
        text = event.message if mount else f"Failed to create pod sandbox: {event.message}"
        out.append(Tell(event.reason if mount else "FailedCreatePodSandBox", text, warning=True))
    else:
        out.append(Tell("FailedKillPod", f"error killing pod: {event.message}", warning=True))


def _found(state: InstanceState, now: float, out: list[Instruction]) -> None:
    """Go on with what was there before the sandbox was known."""
    found, state.found = state.found, ()
    if found:
        _attempts(state, Observed(found, complete=False), now, out)
        if any(one.ever_started for one in state.apps):
            state.initialized_at = now


def _observed(state: InstanceState, event: Observed, now: float, out: list[Instruction]) -> None:
    if state.sandbox_at is None and not state.renew:
        state.found = event.attempts
    else:
        _attempts(state, event, now, out)


def _attempts(state: InstanceState, event: Observed, now: float, out: list[Instruction]) -> None:
    seen = {item.name: item for item in sorted(event.attempts, key=lambda item: item.attempt)}
    greet: list[Instruction] = []
    for one in state.containers.values():
        item = seen.get(one.name)
        if item is not None and item.attempt < one.attempt:
            item = None
        was, restart = one.step, not state.ending
        if item is None or not (item.running or item.exited):
            if event.complete and one.runs:
                one.vanish(now, restart=restart)
            elif event.complete and one.step is Step.DOUBTFUL:
                one.step = Step.IDLE
        elif item.running:
            if not one.is_stale(item):
                one.run(item, now)
                if one.step is Step.GREETING and was is not Step.GREETING:
                    greet.append(RunHook(one.name, one.attempt, HookKind.POST_START))
        elif one.step is not Step.DONE:
            one.attempt = item.attempt
            one.end(item, now, restart=restart)
        if was in {Step.STARTING, Step.DOUBTFUL} and one.step is not was and item is not None:
            out.append(Tell("Created", CREATED, one.name))
            started = not item.error or item.started_at is not None
            out.append(Tell("Started", STARTED, one.name) if started else tell_error(one.name, item.error))
        if one.step is not was and one.crash_looping:
            out.append(tell_crash_backoff(one.name, state.pod))
    out.extend(greet)


def _probed(state: InstanceState, event: Probed, now: float, out: list[Instruction]) -> None:
    one = state.containers[event.container]
    kill = one.probed(event, now)
    told = tell_probed(event)
    if told is not None:
        out.append(told)
    if kill and one.stop_by is None:
        is_init = one.spec.kind is not ContainerKind.APP
        restart = one.policy is not RestartPolicy.NEVER
        one.killed = restart
        text = probe_kill(one.name, event.kind.lower(), init=is_init, restart=restart)
        by = now + one.probe_grace(event.kind, state.request.grace)
        begin_stop(one, by, now, out, text)


def _hook_ended(state: InstanceState, event: HookEnded, now: float, out: list[Instruction]) -> None:
    """Take the end of a hook; of an attempt that has ended meanwhile it only says that it failed."""
    one = state.containers[event.container]
    current = event.attempt == one.attempt
    if event.kind is HookKind.PRE_STOP:
        if event.error:
            out.append(tell_hook_failed(one.name, event.kind))
        if current and one.farewell is Farewell.HOOK:
            one.farewell = Farewell.READY
    elif current and one.step is Step.GREETING:
        if not event.error:
            one.greeted()
        elif one.stop_by is None:
            one.hook_error = event.error
            out.append(tell_hook_failed(one.name, event.kind))
            begin_stop(one, now + state.request.grace, now, out, "FailedPostStartHook")


_PLACE_EVENTS = {"OperationDenied.NoStock": "NoStock", "InvalidVSwitchId.IpNotEnough": "FailedScheduling"}
"""ECI's event for a code; another reason (EngineWait) is its own event."""
