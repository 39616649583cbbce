"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("zonelet", deadline=None)  # how long an example takes says more of the machine than of it
settings.load_profile("zonelet")


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_ended_runs(request: pytest.FixtureRequest) -> None:
    """Begin without what a killed run left on the engine; tests without an engine do not look."""
    if any(item.get_closest_marker("integration") or item.get_closest_marker("e2e") for item in request.session.items):
        from tests.support.leftovers import sweep

        sweep()
