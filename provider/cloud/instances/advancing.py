"""What an instance needs next: the second half of the machine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.container_steps import Step
from provider.cloud.instances.events import Stage
from provider.cloud.instances.instructions import (
    CreateSandbox,
    EnsureImage,
    Instruction,
    Place,
    ReleaseSandbox,
    RemoveAttempt,
    StartContainer,
    Tell,
)
from provider.cloud.instances.state import IMAGE_PULL, InstanceState
from provider.cloud.instances.stopping import begin_stop, signal, signal_hooked
from provider.cloud.instances.wording import DEADLINE, PULL_BACKOFF, pull_backoff, tell_error
from provider.model.request import ContainerKind, RestartPolicy

if TYPE_CHECKING:
    from provider.cloud.instances.containers import ContainerProgress

_STARTS = frozenset({Step.PULLING, Step.PULLED, Step.STARTING, Step.GREETING})


def advance(state: InstanceState, now: float, out: list[Instruction]) -> None:
    """Say what to do now; whatever was due at `now` is done after this."""
    state.handled_at = now
    if now >= state.retry_at:
        state.retry_at = 0.0
    if not state.ending and state.deadline is not None and now >= state.deadline:
        state.failed, state.reason, state.message = True, DEADLINE.reason, DEADLINE.message
        state.retry_at = 0.0
        out.append(DEADLINE)
    if state.ending:
        _wind_down(state, now, out)
        return
    signal_hooked(tuple(state.containers.values()), now, out)
    if state.lost and not _stopped(state, now + state.request.grace, now, out):
        return
    if state.acting is None and now >= state.retry_at:
        if state.lost:
            _begin_again(state, now)
        if state.placed_at is None:
            state.acting = Stage.PLACE
            out.append(Place())
        elif state.sandbox_at is None:
            state.acting = Stage.SANDBOX
            out.append(CreateSandbox(renew=state.renew))
        else:
            _bring_up(state, now, out)


def _begin_again(state: InstanceState, now: float) -> None:
    """Let everything run again in a new sandbox, except what had succeeded and must not (computePodActions)."""
    state.lost, state.renew = False, True
    state.sandbox_at = state.initialized_at = None
    for one in state.containers.values():
        done = one.spec.kind is ContainerKind.APP and one.step is Step.DONE
        if not (done and one.policy is RestartPolicy.ON_FAILURE and one.exit_code == 0):
            one.run_again(state.waiting, now)


def _bring_up(state: InstanceState, now: float, out: list[Instruction]) -> None:
    for one in state.containers.values():
        if one.spec.kind is ContainerKind.APP:
            continue
        _push(one, now, out)
        if one.spec.kind is ContainerKind.SIDECAR:
            if one.started or state.initialized_at is not None:
                continue
            return
        if one.step is not Step.DONE:
            return
        if one.exit_code:
            state.failed = True
            _wind_down(state, now, out)
            return
    if state.initialized_at is None:
        state.initialized_at = now
    for one in state.apps:
        _push(one, now, out)
        if one.spec.post_start is not None and one.step in _STARTS:
            return  # the kubelet starts containers one by one, and a hook is part of its container's start


def _push(one: ContainerProgress, now: float, out: list[Instruction]) -> None:
    if one.step is Step.IDLE:
        if now >= one.retry_at:
            one.step = Step.PULLING
            out.append(EnsureImage(one.name))
        elif one.state.reason == IMAGE_PULL and now >= one.shown_at:
            one.show_pull_backoff()
            out.append(Tell("BackOff", pull_backoff(one.spec.image), one.name))
            out.append(tell_error(one.name, PULL_BACKOFF))
    elif one.step is Step.PULLED:
        one.step = Step.STARTING
        one.count_restart(now)
        if one.attempt > 1:
            out.append(RemoveAttempt(one.name, one.attempt - 2))
        out.append(StartContainer(one.name, one.attempt, one.image_id))
    elif one.step is Step.RUNNING:
        out.extend(one.probes_due(now))


def _wind_down(state: InstanceState, now: float, out: list[Instruction]) -> None:
    state.stop_by = state.stop_by if state.stop_by is not None else now + state.request.grace
    for one in state.containers.values():
        if one.stopping:
            out.extend(one.probes_due(now))
    if _stopped(state, state.stop_by, now, out) and state.acting is None and now >= state.retry_at:
        state.acting = Stage.RELEASE
        out.append(ReleaseSandbox())


def _stopped(state: InstanceState, stop_by: float, now: float, out: list[Instruction]) -> bool:
    """Stop what is next to be stopped by a time at the latest; True once nothing runs any more."""
    busy = [one for one in state.containers.values() if one.busy]
    for one in busy:
        if one.runs:
            begin_stop(one, stop_by, now, out)
    first = [one for one in busy if one.spec.kind is not ContainerKind.SIDECAR]
    for one in first or busy[-1:]:
        if one.runs:
            signal(one, stop_by, now, out)
    return not busy
