"""The Lease is renewed while the engine is healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.client import HttpKubeApi, KubeError, PatchKind
from provider.model.capacity import BackendHealth
from provider.node.heartbeat import LEASES, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping


class DoneError(Exception):
    """Enough intervals have passed."""


class Clock:
    def __init__(self, intervals: int) -> None:
        self.slept: list[float] = []
        self.intervals = intervals

    def now(self) -> float:
        return 1.5

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.intervals:
            raise DoneError


class LeaseApi(HttpKubeApi):
    """Has no lease until it is created; fails while `down` has answers left."""

    def __init__(self, down: int = 0) -> None:
        super().__init__(None)
        self.calls: list[str] = []
        self.lease: dict[str, Any] | None = None
        self.down = down

    async def patch(
        self, path: str, body: dict[str, Any], kind: PatchKind, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        self.calls.append(f"patch {path}")
        if self.down:
            self.down -= 1
            raise KubeError(0, "TimeoutError", "")
        if self.lease is None:
            raise KubeError(404, "NotFound", path)
        return self.lease

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(f"create {path}")
        self.lease = body
        return body


async def beat(api: LeaseApi, health: list[bool]) -> Clock:
    clock = Clock(len(health))
    states = iter(health)
    heartbeat = Heartbeat(
        api, "n", lambda: "uid", lambda: BackendHealth(healthy=next(states)), lease_seconds=40, clock=clock
    )
    with pytest.raises(DoneError):
        await heartbeat.run()
    return clock


async def test_made_once_then_renewed() -> None:
    api = LeaseApi()
    clock = await beat(api, [True, True])
    assert api.calls == [f"patch {LEASES}/n", f"create {LEASES}", f"patch {LEASES}/n"]
    assert clock.slept == [10, 10]
    assert api.lease is not None
    assert api.lease["spec"]["renewTime"] == "1970-01-01T00:00:01.500000Z"
    assert api.lease["metadata"]["ownerReferences"][0]["uid"] == "uid"


async def test_an_unhealthy_engine_stops_the_renewal() -> None:
    api = LeaseApi()
    await beat(api, [False, False])
    assert api.calls == []


async def test_a_failure_is_tried_again() -> None:
    api = LeaseApi(down=1)
    await beat(api, [True, True])
    assert api.calls == [f"patch {LEASES}/n", f"patch {LEASES}/n", f"create {LEASES}"]
