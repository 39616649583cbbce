"""From when to when an instance is charged, and what its end was."""

from __future__ import annotations

from typing import Any

import pytest

from provider.cloud.instances.charging import closed, has_ended, opened, until
from provider.model.bill import Outcome
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.profile import PLAIN, FamilyPrice, Prices, Profile
from provider.model.request import ContainerSpec, InstanceRequest, RestartPolicy
from provider.model.size import GIB, InstanceSize

PROFILE = Profile(
    name="p", currency="CNY", prices=Prices(cpu=1_000, memory=10, disk=1, families=(FamilyPrice("economy", 500, 10),))
)


def request(**fields: Any) -> InstanceRequest:
    given = {"cpu": 2_000, "memory": 4 * GIB, "restart_policy": RestartPolicy.NEVER, **fields}
    container = ContainerSpec(name="main", image="i")
    return InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(container,), **given)


def instance(phase: InstancePhase, *states: ContainerState, **fields: Any) -> Instance:
    containers = tuple(ContainerStatus(name=f"c{index}", state=state) for index, state in enumerate(states))
    return Instance(
        uid=PodUid("u"), id=InstanceId("eci-1"), zone=ZoneId("z"), name="p", namespace="n", phase=phase,
        sandbox_ready_at=100.0, containers=containers, **fields,
    )  # fmt: skip


def ended(at: float, code: int = 0) -> ContainerState:
    return ContainerState(phase=ContainerPhase.TERMINATED, finished_at=at, exit_code=code)


WAITS = ContainerState(reason="ImagePullBackOff")


def test_waiting_for_stock_or_the_engine_is_free() -> None:
    waiting = Instance(
        uid=PodUid("u"), id=InstanceId("eci-1"), zone=ZoneId("z"), name="p", namespace="n", placed_at=50.0
    )
    assert opened(request(), waiting, PROFILE) is None


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({}, 2_040),
        ({"extra_disk": 20 * GIB}, 2_060),
        ({"sizes": (InstanceSize(2_000, 4 * GIB, "economy"),)}, 1_040),
        ({"sizes": (InstanceSize(1_000, 4 * GIB, "economy"), InstanceSize(2_000, 4 * GIB))}, 2_040),
    ],
)
def test_the_price_is_that_of_the_size_that_was_sold(fields: dict[str, Any], price: int) -> None:
    record = opened(request(**fields), instance(InstancePhase.PENDING), PROFILE)
    assert record is not None
    assert (record.price, record.list_price, record.currency) == (price, price, "CNY")
    assert (record.started_at, record.ended_at, record.outcome) == (100.0, None, Outcome.RUNNING)


def test_a_cloud_without_prices_counts_seconds_all_the_same() -> None:
    record = opened(request(), instance(InstancePhase.PENDING), PLAIN)
    assert record is not None
    now = until(record, 107.2)
    assert (now.price, now.currency, now.seconds, now.charge) == (None, "", 8, 0)


@pytest.mark.parametrize(
    ("seen", "seconds", "outcome"),
    [
        # the end is the last container's, however late it is known
        (instance(InstancePhase.SUCCEEDED, ended(103.0), ended(105.0)), 5, Outcome.SUCCEEDED),
        (instance(InstancePhase.FAILED, ended(105.001, 1)), 6, Outcome.FAILED),
        (instance(InstancePhase.FAILED, ended(104.0, 1), WAITS), 4, Outcome.FAILED),
        # told to end while a container waited: it was charged until now
        (instance(InstancePhase.FAILED, ended(104.0), WAITS, deletion_requested_at=1_000.0), 900, Outcome.STOPPED),
        (instance(InstancePhase.FAILED, WAITS, reason="DeadlineExceeded"), 900, Outcome.FAILED),
        (instance(InstancePhase.FAILED, ended(110.0, 143), deletion_requested_at=108.0), 10, Outcome.STOPPED),
        # deleted, but it had done its work
        (instance(InstancePhase.SUCCEEDED, ended(110.0), deletion_requested_at=108.0), 10, Outcome.SUCCEEDED),
        # clocks that disagree
        (instance(InstancePhase.FAILED, ended(90.0, 1)), 0, Outcome.FAILED),
        (instance(InstancePhase.FAILED, ended(5_000.0, 1)), 900, Outcome.FAILED),
    ],
)
def test_an_end(seen: Instance, seconds: int, outcome: Outcome) -> None:
    record = opened(request(), seen, PROFILE)
    assert record is not None
    assert has_ended(seen)
    done = closed(record, request(), seen, 1_000.0)
    assert (done.seconds, done.outcome, done.charge) == (seconds, outcome, 2_040 * seconds)
    assert until(done, 9_999.0) == done


@pytest.mark.parametrize(
    ("made", "seen", "outcome"),
    [
        ({"restart_policy": RestartPolicy.ALWAYS}, {"deletion_requested_at": 1.0}, Outcome.ENDED),
        ({"restart_policy": RestartPolicy.ALWAYS}, {"reason": "Evicted"}, Outcome.FAILED),
        ({"tags": (("daemon", "true"),)}, {}, Outcome.ENDED),
        ({"tags": (("daemon", "true"),)}, {"deletion_requested_at": 1.0}, Outcome.ENDED),
        ({"tags": (("daemon", "true"),)}, {"reason": "DeadlineExceeded"}, Outcome.FAILED),
        ({}, {}, Outcome.FAILED),
    ],
)
def test_a_service_that_its_owner_ends_is_no_waste(
    made: dict[str, Any], seen: dict[str, Any], outcome: Outcome
) -> None:
    found = instance(InstancePhase.FAILED, ended(105.0, 143), **seen)
    record = opened(request(**made), found, PROFILE)
    assert record is not None
    assert closed(record, request(**made), found, 1_000.0).outcome is outcome


def test_a_daemon_that_breaks_by_itself_is_waste() -> None:
    made, found = request(tags=(("daemon", "true"),)), instance(InstancePhase.FAILED, ended(105.0, 1))
    record = opened(made, found, PROFILE)
    assert record is not None
    assert closed(record, made, found, 1_000.0).outcome is Outcome.FAILED
