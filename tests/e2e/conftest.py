"""One installation for all e2e tests, brought up by the code of `zonelet up`; nothing of it may be left at the end.

ZONELET_E2E_KEEP=1 (for work on the tests themselves) uses the installation `e2e` of ZONELET_STATE_DIR, which has to be
up already, and leaves it up. ZONELET_E2E_NAME is another name, where two runs share an engine.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.installation import Installation
from provider.cluster.local_up import Running
from provider.cluster.processes import start_time
from tests.support.argo import Terminal, story
from tests.support.engine import objects_on_engine
from tests.support.installation import Lab, installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from provider.kube.client import HttpKubeApi

NAME = os.environ.get("ZONELET_E2E_NAME") or own_name("e2e")
"""One of its own for each run: two providers of the same name on one engine take each other's pods for orphans."""
KEPT = "e2e"

LAB = pytest.StashKey[Lab]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the whole system; the session's first test waits for it, so no test has 120 s only."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the pods and the provider's last words beside what failed."""
    report = yield
    lab = item.session.stash.get(LAB, None)
    if report.failed and lab is not None and item.get_closest_marker("e2e"):
        report.sections.append(("what the cluster says", asyncio.run(_told(lab))))
    return report


async def _told(lab: Lab) -> str:
    async with lab.api() as api:
        return await story(api, lab)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The installation, up with Argo; taken down at the end."""
    if os.environ.get("ZONELET_E2E_KEEP"):
        kept = Installation.find(KEPT, SystemClock())
        made = Lab(kept, Running(build_all(cache_root(), print), ()))
        request.session.stash[LAB] = made
        yield made
        return
    with installed(NAME) as made:
        request.session.stash[LAB] = made
        pids = [pid for pid in [made.installation.provider.pid(), *made.installation.local.status().values()] if pid]
        yield made
        del request.session.stash[LAB]
    assert objects_on_engine(NAME) == ([], [])
    assert [pid for pid in pids if start_time(pid) is not None] == []
    assert not made.installation.state.exists()


@pytest.fixture(scope="session")
def terminal(lab: Lab) -> Terminal:
    """Upstream's commands."""
    return Terminal(lab)


@pytest.fixture
async def api(lab: Lab) -> AsyncIterator[HttpKubeApi]:
    """The API server, as administrator."""
    async with lab.api() as client:
        yield client
