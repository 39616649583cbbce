"""A trouble is told when it begins, when it becomes another, and when it is over."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from provider.clock import LoopClock
from provider.observability.trouble import Trouble

pytestmark = pytest.mark.looptime


async def test_the_same_failure_is_told_once_and_its_end_with_its_length() -> None:
    clock = LoopClock()
    trouble = Trouble(structlog.get_logger(), clock, "watch.failed", "watch.goes_on", path="/pods")
    with capture_logs() as logs:
        trouble.over()
        for port in (1, 2, 3):
            trouble.began(0, error=f"refused, from port {port}")
            await clock.sleep(10)
        trouble.began(503, error="starting")
        await clock.sleep(5)
        trouble.over()
        trouble.over()
    told = [line for line in logs if line["log_level"] != "debug"]
    assert told == [
        {"event": "watch.failed", "path": "/pods", "error": "refused, from port 1", "log_level": "warning"},
        {"event": "watch.failed", "path": "/pods", "error": "starting", "log_level": "warning"},
        {"event": "watch.goes_on", "path": "/pods", "after_seconds": 35.0, "log_level": "info"},
    ]
    assert len(logs) == 5


async def test_a_trouble_that_comes_back_is_told_again() -> None:
    trouble = Trouble(structlog.get_logger(), LoopClock(), "away", "back")
    with capture_logs() as logs:
        for _ in range(2):
            trouble.began("engine")
            trouble.over()
    assert [line["event"] for line in logs] == ["away", "back", "away", "back"]
