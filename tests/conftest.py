"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import asyncio

settings.register_profile("zonelet", deadline=None)  # how long an example takes says more of the machine than of it
settings.load_profile("zonelet")


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_ended_runs(request: pytest.FixtureRequest) -> None:
    """Begin without what a killed run left on the engine; tests without an engine do not look."""
    if any(item.get_closest_marker("integration") or item.get_closest_marker("e2e") for item in request.session.items):
        from tests.support.leftovers import sweep

        sweep()


@pytest.fixture(scope="session", autouse=True)
def _no_loop_without_an_owner(event_loop_policy: asyncio.AbstractEventLoopPolicy) -> None:
    """Keep looptime from making a loop that nobody closes: it asks the policy for one before the first test."""
    event_loop_policy.set_event_loop(None)
