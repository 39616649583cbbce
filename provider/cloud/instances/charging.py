"""When an instance is charged, at which price, and how it ended: from its description to its usage record. Pure.

Charged from the first image pull, which begins when the sandbox is there, to Succeeded or Failed (facts: section 5).
Waiting for stock, an address or the engine before that is free, and so is an instance that never came so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from provider.model.bill import Outcome, UsageRecord, whole_seconds
from provider.model.instance import TERMINAL, ContainerPhase, InstancePhase
from provider.model.request import ContainerKind, RestartPolicy
from provider.model.size import InstanceSize

if TYPE_CHECKING:
    from provider.model.instance import Instance
    from provider.model.profile import Profile
    from provider.model.request import InstanceRequest

DAEMON = "daemon"
"""The tag of an instance that serves others until its owner ends it."""
_SIGNALLED = frozenset({0, 137, 143})
"""exit codes of a container that somebody told to end: SIGKILL, SIGTERM."""


def opened(request: InstanceRequest, instance: Instance, profile: Profile) -> UsageRecord | None:
    """Return the record of an instance that begins to cost, None for one that does not yet."""
    if instance.sandbox_ready_at is None:
        return None
    size = _sold(request)
    price = profile.price_per_hour(size, request.extra_disk)
    return UsageRecord(
        uid=request.uid,
        id=instance.id,
        zone=request.zone,
        namespace=request.namespace,
        name=request.name,
        cpu=size.cpu,
        memory=size.memory,
        extra_disk=request.extra_disk,
        family=size.type or size.family,
        market=request.market,
        price=price,
        list_price=price,
        currency=profile.currency if price is not None else "",
        tags=request.tags,
        started_at=instance.sandbox_ready_at,
    )


def closed(record: UsageRecord, request: InstanceRequest, instance: Instance, now: float) -> UsageRecord:
    """Return the record of an instance that has ended."""
    end = max(record.started_at, _end(instance, now))
    seconds = whole_seconds(record.started_at, end)
    return replace(record, ended_at=end, seconds=seconds, outcome=_outcome(request, instance))


def until(record: UsageRecord, now: float) -> UsageRecord:
    """Return a record with what it costs at a moment; an ended one as it is."""
    if record.ended_at is not None:
        return record
    return replace(record, seconds=whole_seconds(record.started_at, now))


def has_ended(instance: Instance) -> bool:
    """Return whether nothing is charged any more."""
    return instance.phase in TERMINAL


def _sold(request: InstanceRequest) -> InstanceSize:
    size = InstanceSize(request.cpu, request.memory)
    return next((one for one in request.sizes if (one.cpu, one.memory) == (size.cpu, size.memory)), size)


def _end(instance: Instance, now: float) -> float:
    """Return when the last container ended, which may be known late: the engine was away, or this process.

    Of an instance that was told to end while a container waited (for its image, for a restart), it is now.
    """
    states = [one.state for one in instance.containers]
    ends = [one.finished_at for one in states if one.finished_at is not None]
    told = instance.deletion_requested_at is not None or instance.reason
    waits = any(one.phase is ContainerPhase.WAITING for one in states)
    return min(now, max(ends)) if ends and not (told and waits) else now


def _outcome(request: InstanceRequest, instance: Instance) -> Outcome:
    if instance.phase is InstancePhase.SUCCEEDED:
        return Outcome.SUCCEEDED
    deleted = instance.deletion_requested_at is not None
    if deleted and request.restart_policy is RestartPolicy.ALWAYS:
        return Outcome.ENDED
    if DAEMON in dict(request.tags):
        codes = [one.state.exit_code for one in instance.containers if one.kind is ContainerKind.APP]
        if deleted or (not instance.reason and _SIGNALLED.issuperset(codes)):
            return Outcome.ENDED
    return Outcome.STOPPED if deleted else Outcome.FAILED
