"""What dies is told and started again; what is only away is not a bug."""

from __future__ import annotations

from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from provider.clock import LoopClock
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.kube.client import KubeError
from provider.model.errors import CloudCode, CloudError
from provider.rpc.options import AddressError, ListenError
from provider.supervision import keep_running, weather_of

pytestmark = pytest.mark.looptime


async def test_work_that_fails_starts_again_with_longer_delays() -> None:
    clock = LoopClock()
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock.now())
        if len(begun) < 4:
            raise ValueError("broken")

    with capture_logs() as logs:
        await keep_running("it", work, clock)
    gaps = [round(after - before, 3) for before, after in pairwise(begun)]
    assert gaps == [1, 2, 4]
    assert [line["event"] for line in logs] == ["worker.crashed"] * 3


async def test_a_long_calm_forgets_the_back_off() -> None:
    clock = LoopClock()
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock.now())
        if len(begun) == 3:
            await clock.sleep(1000)
        if len(begun) < 5:
            raise KubeError(0, "ClientConnectorError", "refused")

    with capture_logs() as logs:
        await keep_running("it", work, clock)
    gaps = [round(after - before, 3) for before, after in pairwise(begun)]
    assert gaps == [1, 2, 1001, 2]
    assert {line["event"] for line in logs} == {"worker.waits"}


def test_only_what_is_away_is_weather() -> None:
    away = KubeError(0, "TimeoutError", "")
    engine = CloudError(CloudCode.UNAVAILABLE, "no engine")
    assert weather_of(ExceptionGroup("two", [away, engine])) == f"{away}; {engine}"
    assert weather_of(ExceptionGroup("two", [away, KeyError("x")])) is None
    assert weather_of(OSError("address in use")) == "address in use"


async def test_what_is_away_is_said_once_and_asked_for_again_soon() -> None:
    clock = LoopClock()
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock.now())
        if len(begun) < 8:
            raise RuntimeFault(FaultKind.UNAVAILABLE, "no engine")

    with capture_logs() as logs:
        await keep_running("it", work, clock)
    assert [round(after - before, 3) for before, after in pairwise(begun)] == [1, 2, 4, 8, 10, 10, 10]
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["worker.waits"]


async def test_a_failure_that_is_fatal_now_is_raised() -> None:
    fatal = True

    async def work() -> None:
        raise RuntimeFault(FaultKind.CONFIG, "the block is somebody else's")

    with pytest.raises(RuntimeFault, match="somebody else's"):
        await keep_running("it", work, LoopClock(), fatal=lambda: fatal)


def test_a_port_in_use_is_weather_and_a_wrong_address_is_not() -> None:
    assert weather_of(ListenError("cannot listen on 127.0.0.1:8999")) == "cannot listen on 127.0.0.1:8999"
    assert weather_of(AddressError("'x' is no address")) is None
