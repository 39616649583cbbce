"""An instance as it is told to others: its description, and the row of the journal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.container_steps import Step
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.cloud.instances.state import InstanceState, new_state
from provider.model.instance import Instance, InstancePhase

if TYPE_CHECKING:
    from provider.model.request import InstanceRequest


def phase(state: InstanceState) -> InstancePhase:
    """Kubelet's getPhase, in ECI's words; terminal only once nothing runs any more."""
    if state.released or (state.ending and not state.busy):
        apps_ok = all(one.step is Step.DONE and one.exit_code == 0 for one in state.apps)
        return InstancePhase.SUCCEEDED if apps_ok and not state.failed else InstancePhase.FAILED
    if state.placed_at is None:
        return InstancePhase.SCHEDULING
    if not all(one.ever_started for one in state.apps):
        return InstancePhase.PENDING
    return InstancePhase.RUNNING


def describe(state: InstanceState, revision: int) -> Instance:
    """Describe the instance as it is now."""
    request = state.request
    return Instance(
        uid=request.uid,
        id=state.id,
        zone=request.zone,
        name=request.name,
        namespace=request.namespace,
        phase=phase(state),
        reason=state.reason,
        message=state.message,
        vswitch=state.vswitch,
        address=state.address,
        cpu=request.cpu,
        memory=request.memory,
        market=request.market,
        created_at=state.created_at,
        placed_at=state.placed_at,
        sandbox_ready_at=state.sandbox_at,
        initialized_at=state.initialized_at,
        finished_at=state.finished_at,
        deletion_requested_at=state.deletion_at,
        grace=state.grace,
        active_deadline=request.active_deadline,
        released=state.released,
        containers=tuple(one.status() for one in state.containers.values()),
        revision=revision,
    )


def snapshot(state: InstanceState) -> MachineSnapshot:
    """Return what outlives the process; the journal keeps it beside the request."""
    return MachineSnapshot(
        id=state.id,
        created_at=state.created_at,
        containers={name: one.snapshot() for name, one in state.containers.items()},
        vswitch=state.vswitch,
        address=state.address,
        placed_at=state.placed_at,
        sandbox_at=state.sandbox_at,
        initialized_at=state.initialized_at,
        finished_at=state.finished_at,
        deletion_at=state.deletion_at,
        grace=state.grace,
        stop_by=state.stop_by,
        reason=state.reason,
        message=state.message,
        failed=state.failed,
        lost=state.lost,
        renew=state.renew,
        released=state.released,
    )


def restored(request: InstanceRequest, saved: MachineSnapshot, now: float, spread: float) -> InstanceState:
    """Return the state as it was written; acts that were under way are asked for again."""
    state = new_state(request, saved.id, saved.created_at)
    for name, one in saved.containers.items():
        state.containers[name].restore(one, now, spread)
    state.vswitch = saved.vswitch
    state.address = saved.address
    state.placed_at = saved.placed_at
    state.sandbox_at = saved.sandbox_at
    state.initialized_at = saved.initialized_at
    state.finished_at = saved.finished_at
    state.deletion_at = saved.deletion_at
    state.grace = saved.grace
    state.stop_by = saved.stop_by
    state.reason = saved.reason
    state.message = saved.message
    state.failed = saved.failed
    state.lost = saved.lost
    state.renew = saved.renew
    state.released = saved.released
    return state
