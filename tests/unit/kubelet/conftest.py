"""Keep the run free of an event loop that nobody closes."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_implicit_event_loop() -> None:
    # pytest-asyncio asks for the current loop before it makes its own; Python 3.11 then makes one that nobody closes,
    # and its ResourceWarning fails the run whenever the garbage collector happens to find it.
    asyncio.set_event_loop(None)
