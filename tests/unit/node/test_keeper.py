"""One certificate: which is used, when the next is asked for, and how a wait is given up."""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (a fixed seed)
from typing import TYPE_CHECKING

import pytest
import structlog

from provider.clock import LoopClock
from provider.node.certificate import CertificateFile, Wanted
from provider.node.keeper import RETRY_MAX_SECONDS, CertificateKeeper
from provider.node.signing import SigningPendingError
from tests.unit.node.fake_cluster import DAY, FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.node.certificate import Certificate

pytestmark = pytest.mark.looptime

NODE = "node-a"


def wanted(*addresses: str) -> Wanted:
    return Wanted(node=NODE, kind="serving", names=(NODE,), addresses=addresses)


class Kept:
    """A keeper, what came into force, and what people were told."""

    def __init__(self, directory: Path, approve: Callable[[object], bool | None] = lambda _: True) -> None:
        self.cluster = FakeCluster(LoopClock(), approve)
        self.used: list[Certificate] = []
        self.advice: list[str] = []
        self.fault: OSError | None = None
        self.file = CertificateFile(directory, NODE, self.cluster.ca_pem)
        self.keeper = self.again()
        self._task: asyncio.Task[None] | None = None

    def again(self) -> CertificateKeeper:
        async def told(text: str) -> None:
            self.advice.append(text)

        async def use(certificate: Certificate) -> None:
            if self.fault is not None:
                fault, self.fault = self.fault, None
                raise fault
            self.used.append(certificate)

        self.keeper = CertificateKeeper(
            self.cluster, self.file, clock=self.cluster.clock, random=Random(1), told=told, use=use
        )
        return self.keeper

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.keeper.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            assert self._task.cancelled()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    one = Kept(tmp_path)
    yield one
    await one.stop()


async def test_nothing_is_asked_before_something_is_wanted(kept: Kept) -> None:
    with pytest.raises(RuntimeError, match="call want"):
        await kept.keeper.ensure(1)
    kept.start()
    await kept.cluster.clock.sleep(DAY)
    assert kept.cluster.calls == []
    kept.keeper.want(wanted("10.0.0.1"))
    await kept.cluster.clock.sleep(5)
    assert [each.addresses for each in kept.used] == [("10.0.0.1",)]


async def test_the_stored_one_is_used_while_it_says_enough(kept: Kept) -> None:
    kept.keeper.want(wanted("10.0.0.1"))
    await kept.keeper.ensure(10)
    kept.again().want(wanted("10.0.0.1"))
    await kept.keeper.ensure(10)
    assert len(kept.cluster.requests()) == 1
    assert (kept.used[0].addresses, kept.used[0].not_after) == (kept.used[1].addresses, kept.used[1].not_after)
    kept.again().want(wanted("10.0.0.2"))
    await kept.keeper.ensure(10)
    assert len(kept.cluster.requests()) == 2
    assert kept.used[-1].addresses == ("10.0.0.2",)


async def test_a_stored_one_that_has_ended_is_not_used(kept: Kept) -> None:
    kept.keeper.want(wanted("10.0.0.1"))
    await kept.keeper.ensure(10)
    await kept.cluster.clock.sleep(DAY + 1)
    kept.again().want(wanted("10.0.0.1"))
    kept.start()
    await kept.cluster.clock.sleep(5)
    assert kept.used[1].not_after > kept.used[0].not_after


async def test_the_same_wish_again_disturbs_nothing(kept: Kept) -> None:
    kept.cluster.approve = lambda _: None
    kept.keeper.want(wanted("10.0.0.1"))
    kept.start()
    await kept.cluster.clock.sleep(5)
    calls = len(kept.cluster.calls)
    for _ in range(20):
        kept.keeper.want(wanted("10.0.0.1"))
        await kept.cluster.clock.sleep(0)
    assert len(kept.cluster.calls) == calls


async def test_another_wish_ends_the_wait_for_the_first(kept: Kept) -> None:
    kept.cluster.approve = lambda _: None
    kept.keeper.want(wanted())
    kept.start()
    await kept.cluster.clock.sleep(5)
    kept.cluster.approve = lambda _: True
    kept.keeper.want(wanted("10.0.0.1"))
    await kept.cluster.clock.sleep(1)
    assert [each.addresses for each in kept.used] == [("10.0.0.1",)]
    assert kept.advice == []


async def test_another_wish_ends_the_pause_after_a_failure(kept: Kept) -> None:
    kept.cluster.approve = lambda _: False
    kept.keeper.want(wanted())
    kept.start()
    await kept.cluster.clock.sleep(3_000)  # by now the pauses are minutes long
    kept.cluster.approve = lambda _: True
    kept.keeper.want(wanted("10.0.0.1"))
    await kept.cluster.clock.sleep(1)
    assert [each.addresses for each in kept.used] == [("10.0.0.1",)]


async def test_pauses_grow_to_minutes_and_begin_anew_after_a_success(kept: Kept) -> None:
    kept.cluster.approve = lambda _: False
    kept.keeper.want(wanted("10.0.0.1"))
    with structlog.testing.capture_logs() as logs:
        kept.start()
        await kept.cluster.clock.sleep(3_000)
        pauses = [each["retry_seconds"] for each in logs if each["event"] == "certificate.failed"]
        assert pauses[0] <= 3
        assert max(pauses) <= RETRY_MAX_SECONDS * 1.2
        assert all(pause >= RETRY_MAX_SECONDS * 0.8 for pause in pauses[8:])
        kept.cluster.approve = lambda _: True
        await kept.cluster.clock.sleep(400)
        assert len(kept.used) == 1
        kept.cluster.approve = lambda _: False
        logs.clear()
        await kept.cluster.clock.sleep(DAY)
        assert next(each["retry_seconds"] for each in logs if each["event"] == "certificate.failed") <= 3


async def test_people_are_told_once_what_to_do_while_nobody_approves(kept: Kept) -> None:
    kept.cluster.approve = lambda _: None
    kept.keeper.want(wanted("10.0.0.1"))
    with pytest.raises(SigningPendingError, match="kubectl certificate approve"):
        await kept.keeper.ensure(60)
    assert len(kept.advice) == 1
    assert kept.used == []


async def test_one_that_cannot_be_put_into_force_is_tried_again(kept: Kept) -> None:
    kept.fault = OSError("No space left on device")
    kept.keeper.want(wanted("10.0.0.1"))
    with structlog.testing.capture_logs() as logs:
        kept.start()
        await kept.cluster.clock.sleep(10)
    assert [each["error"] for each in logs if each["event"] == "certificate.failed"] == ["No space left on device"]
    assert len(kept.used) == 1
    assert len(kept.cluster.requests()) == 1  # the certificate had been stored by then
