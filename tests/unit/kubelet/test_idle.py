"""Forwards on which nothing happens for hours: a client that answers pings is kept, a silent one is left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.kubelet.liveness import IDLE_SECONDS, PING_SECONDS
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection
from provider.kubelet.streams.spdy_forward import SpdyForwarder

if TYPE_CHECKING:
    from provider.cloud.backend import PortConnection

pytestmark = pytest.mark.looptime


class QuietClient:
    """The other end: it answers pings as long as `lives` is set, and does nothing else."""

    def __init__(self) -> None:
        self.spdy = SpdyConnection(client=True, flow_control=False)
        self.lives = True
        self.pings = 0
        self.aborted = False
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self) -> bytes:
        return await self._pieces.get()

    async def send(self, data: bytes) -> None:
        for frame in self.spdy.receive_data(data):
            if isinstance(frame, f.Ping):
                self.pings += 1
                if self.lives:
                    self._pieces.put_nowait(self.spdy.send(frame))

    async def finish(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


async def _nobody(_: int) -> PortConnection:
    raise AssertionError("nothing was asked for")


async def test_an_idle_client_that_answers_is_kept_for_a_day() -> None:
    client: Any = QuietClient()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(24 * 3600):
            await SpdyForwarder(client, _nobody, str, LoopClock()).run()
    assert LoopClock().now() >= 24 * 3600
    assert client.pings >= 24 * 3600 // PING_SECONDS - 1


async def test_a_client_that_falls_silent_is_left_after_four_hours() -> None:
    client: Any = QuietClient()
    client.lives = False
    began = LoopClock().now()
    await SpdyForwarder(client, _nobody, str, LoopClock()).run()
    assert IDLE_SECONDS <= LoopClock().now() - began <= IDLE_SECONDS + PING_SECONDS
    assert client.aborted
