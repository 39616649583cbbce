"""The three clocks keep one contract."""

import looptime
import pytest

from provider.clock import LoopClock, ScaledClock, SystemClock


async def test_the_system_clock_moves_forward_over_a_sleep() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.001)
    assert clock.now() > before


async def test_a_scaled_clock_runs_at_its_rate() -> None:
    clock = ScaledClock(rate=10_000, start=0)
    await clock.sleep(50)  # 5 ms of the wall
    assert clock.now() >= 50


def test_a_scaled_clock_refuses_to_stand_still() -> None:
    with pytest.raises(ValueError, match="above 0"):
        ScaledClock(rate=0)


def test_an_hour_passes_in_no_time_on_the_loop_clock() -> None:
    async def an_hour() -> float:
        clock = LoopClock(start=1000)
        began = clock.now()
        await clock.sleep(3600)
        return clock.now() - began

    loop = looptime.new_event_loop()
    try:
        assert loop.run_until_complete(an_hour()) == pytest.approx(3600)
    finally:
        loop.close()


async def test_a_negative_sleep_only_yields() -> None:
    await LoopClock().sleep(-1)
