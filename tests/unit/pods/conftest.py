"""A node's pods, its cloud and its API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pod_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    yield one
    await one.kill()
