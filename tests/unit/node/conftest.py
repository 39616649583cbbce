"""A node, its API server and its cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.node_world import NodeWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    one = NodeWorld()
    yield one
    await one.kill()
