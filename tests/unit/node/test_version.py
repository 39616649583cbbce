"""A Node's kubeletVersion: the API server's, without what a vendor appended, and ours."""

from __future__ import annotations

from typing import Any

import pytest

from provider.node.shape import VERSION_MARK
from provider.node.version import kubelet_version


class Server:
    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/version"
        return self.answer


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("v1.37.2", "v1.37.2-zonelet-0.1.0"),
        ("v1.33.1-gke.1014001", "v1.33.1-zonelet-0.1.0"),
        ("v1.34.0+k3s1", "v1.34.0-zonelet-0.1.0"),
        ("", "v0.0.0-zonelet-0.1.0"),
    ],
)
async def test_the_servers_version_comes_first(server: str, shown: str) -> None:
    found = await kubelet_version(Server({"gitVersion": server}), "0.1.0")  # type: ignore[arg-type]
    assert found == shown
    assert VERSION_MARK in found
