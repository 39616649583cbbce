"""How one running attempt is stopped: told, preStop hook, signal (kuberuntime_container.go killContainer). Pure.

The hook runs within the grace and takes its time from it; what is left, two seconds at least, lies between the stop
signal and SIGKILL. With no grace there is no hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.container_steps import Farewell
from provider.cloud.instances.containers import LEAST_GRACE, ContainerProgress
from provider.cloud.instances.events import HookKind
from provider.cloud.instances.instructions import Instruction, RunHook, StopContainer
from provider.cloud.instances.wording import tell_killing

if TYPE_CHECKING:
    from collections.abc import Sequence


def begin_stop(one: ContainerProgress, by: float, now: float, out: list[Instruction], text: str = "") -> None:
    """Begin to stop an attempt that runs, so that it is gone by a time; one that is being stopped can only hasten."""
    if one.stop_by is not None:
        if one.farewell is not Farewell.SIGNALLED:
            one.stop_by = min(one.stop_by, by)
        return
    out.append(tell_killing(one.name, text))
    one.stop_by = by
    one.farewell = Farewell.READY
    if one.spec.pre_stop is not None and by > now:
        one.farewell = Farewell.HOOK
        out.append(RunHook(one.name, one.attempt, HookKind.PRE_STOP))


def signal(one: ContainerProgress, by: float, now: float, out: list[Instruction]) -> None:
    """Send the stop signal once the hook is over, or has no more time; again when SIGKILL is to come sooner."""
    if one.stop_by is None or (one.farewell is Farewell.HOOK and now < one.stop_by):
        return
    limit = max(by, now + LEAST_GRACE)
    if one.farewell is not Farewell.SIGNALLED or limit < one.stop_by:
        one.farewell, one.stop_by = Farewell.SIGNALLED, limit
        out.append(StopContainer(one.name, one.attempt, limit - now))


def signal_hooked(containers: Sequence[ContainerProgress], now: float, out: list[Instruction]) -> None:
    """Go on with the containers that are stopped for a reason of their own, while the others live."""
    for one in containers:
        if one.runs and one.stop_by is not None and one.farewell is not Farewell.SIGNALLED:
            signal(one, one.stop_by, now, out)
