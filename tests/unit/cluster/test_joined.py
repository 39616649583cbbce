from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from provider.clock import SystemClock
from provider.cluster.installation import Installation
from provider.cluster.joined import absolute, join_cluster
from provider.cluster.steps import SetupError, Steps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Cluster:
    """An API server whose user may do everything; `seen` holds (method, path) of every request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.server = TestServer(web.Application())
        self.server.app.router.add_route("*", "/{path:.*}", self._answer)

    def kubeconfig(self, path: Path) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "theirs", "cluster": {"server": str(self.server.make_url("/"))}}],
            "users": [{"name": "theirs", "user": {}}],
            "contexts": [{"name": "theirs", "context": {"cluster": "theirs", "user": "theirs"}}],
            "current-context": "theirs",
        }
        path.write_text(yaml.safe_dump(document))

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.path))
        answer: dict[str, Any] = {"metadata": {}, "items": []}
        if request.path.endswith("/selfsubjectaccessreviews"):
            answer = {"status": {"allowed": True}}
        return web.json_response(answer)


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    made = Cluster()
    await made.server.start_server()
    made.kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("ZONELET_CACHE_DIR", str(tmp_path / "cache"))
    try:
        yield made
    finally:
        await made.server.close()


def test_the_kubeconfig_is_found_from_another_directory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/u")
    assert absolute("kind.yaml:~/.kube/config:/etc/k") == f"{tmp_path}/kind.yaml:/home/u/.kube/config:/etc/k"
    assert absolute("in-cluster") == "in-cluster"


async def test_a_join_that_fails_before_it_made_anything_touches_nothing(tmp_path: Path, cluster: Cluster) -> None:
    installation = Installation("updown-unit", tmp_path / "state", SystemClock())
    config = tmp_path / "config.yaml"
    config.write_text(f"runtime: {{docker: {{host: 'unix://{tmp_path}/none.sock'}}}}\n")
    with pytest.raises(SetupError, match="no Docker engine answers at"):
        await join_cluster(installation, Steps(), config=config)
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert {each for each in cluster.seen if each[0] != "GET"} == {("POST", reviews)}
    assert not installation.state.exists()
