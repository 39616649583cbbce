"""One control plane for all tests of this directory, with the Node authorizer and NodeRestriction as a real one has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.control_plane import client, control_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from provider.cluster.local import LocalCluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration/node/" in str(item.path):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with control_plane("node-test", tmp_path_factory.mktemp("node") / "state") as made:
        yield made


@pytest.fixture
async def admin(cluster: LocalCluster) -> AsyncIterator[Any]:
    async with client(cluster.kubeconfig) as api:
        yield api
