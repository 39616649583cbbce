"""Where the server is, and what happens when credentials change."""

from __future__ import annotations

import json
import stat
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from provider.kube import connection as connection_module
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import IN_CLUSTER, KubeConfigError, connect
from provider.kube.private_file import write_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CA = (Path(__file__).parent / "ca.pem").read_text()


def write(path: Path, server: str, user: dict[str, Any], **cluster: Any) -> str:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": "there", "context": {"cluster": "c"}},
        ],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.fixture
async def tokens() -> AsyncIterator[tuple[str, set[str], list[str]]]:
    """A server that knows some tokens and keeps those it saw."""
    known: set[str] = set()
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        seen.append(token)
        if token not in known:
            return web.json_response({"reason": "Unauthorized", "message": "Unauthorized"}, status=401)
        return web.json_response({"ok": token})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with TestServer(app) as running:
        yield str(running.make_url("")).rstrip("/"), known, seen


async def test_a_kubeconfig_tells_server_ca_and_context_and_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    path = write(
        tmp_path / "config",
        "https://10.0.0.1:6443",
        {"token": "t"},
        **{"certificate-authority-data": b64encode(CA.encode()).decode(), "tls-server-name": "kubernetes"},
    )
    api = await HttpKubeApi.from_kubeconfig(path)
    try:
        found = api.connection
        assert (found.source, found.context, found.server) == (path, "here", "https://10.0.0.1:6443")
        assert found.ca.decode() == CA
        assert found.tls_server_name == "kubernetes"
        assert list((tmp_path / "temporary").iterdir()) == []
        again = yaml.safe_load(found.kubeconfig("n", {"token": "x"}, Path("/ca.pem")))
        assert again["clusters"][0]["cluster"] == {
            "server": "https://10.0.0.1:6443",
            "certificate-authority": "/ca.pem",
            "tls-server-name": "kubernetes",
        }
    finally:
        await api.close()


async def test_the_order_is_file_then_variable_then_pod_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, variable = (write(tmp_path / name, f"http://{name}", {}) for name in ("named", "variable"))
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", "http://home", {})
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text(CA)
    monkeypatch.setattr(connection_module, "SERVICE_ACCOUNT", tmp_path)
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    home = {"HOME": str(tmp_path)}

    async def server(kubeconfig: str | None, environ: dict[str, str]) -> str:
        found, transport = await connect(kubeconfig, None, environ)
        await transport.close()
        return found.server

    assert await server(named, {"KUBECONFIG": variable, **pod, **home}) == "http://named"
    assert await server(None, {"KUBECONFIG": variable, **pod, **home}) == "http://variable"
    assert await server(None, {**pod, **home}) == "https://10.96.0.1:443"
    assert await server(None, home) == "http://home"


async def test_a_pod_without_a_ca_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t")
    monkeypatch.setattr(connection_module, "SERVICE_ACCOUNT", tmp_path)
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(KubeConfigError, match="automountServiceAccountToken"):
        await connect(None, None, pod)
    (tmp_path / "ca.crt").write_text(CA)
    found, transport = await connect(None, None, pod)
    await transport.close()
    assert (found.source, found.context, found.ca.decode()) == (IN_CLUSTER, IN_CLUSTER, CA)


@pytest.mark.parametrize("text", ["", "[]", "clusters: 3", "current-context: gone\ncontexts: []", "a: {"])
async def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeConfigError, match=str(path)):
        await HttpKubeApi.from_kubeconfig(str(path))


async def test_no_file_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match="pass --kubeconfig"):
        await connect(None, None, {"HOME": str(tmp_path)})


async def test_a_refused_token_is_read_again_once(tmp_path: Path, tokens: tuple[str, set[str], list[str]]) -> None:
    server, known, seen = tokens
    path = write(tmp_path / "config", server, {"token": "old"})
    api = await HttpKubeApi.from_kubeconfig(path)
    try:
        write(tmp_path / "config", server, {"token": "new"})
        known.add("new")
        assert await api.get("/x") == {"ok": "new"}
        known.clear()
        with pytest.raises(KubeError, match="401"):
            await api.get("/x")
        assert seen == ["old", "new", "new", "new"]
        (tmp_path / "config").unlink()  # nothing newer to be had: the refusal itself is told
        with pytest.raises(KubeError, match="401 Unauthorized"):
            await api.get("/x")
    finally:
        await api.close()


async def test_the_context_that_was_asked_for_survives_a_reload(
    tmp_path: Path, tokens: tuple[str, set[str], list[str]]
) -> None:
    server, known, seen = tokens
    path = write(tmp_path / "config", server, {"token": "t"})
    known.add("")
    api = await HttpKubeApi.from_kubeconfig(path, "there")
    try:
        await api.reload()
        assert api.connection.context == "there"
        await api.get("/x")
        assert seen == [""]  # that context has no user
    finally:
        await api.close()


async def test_an_exec_plugin_is_run_again_when_its_token_ends(
    tmp_path: Path, tokens: tuple[str, set[str], list[str]]
) -> None:
    server, known, seen = tokens
    known |= {"1", "2", "3"}
    plugin = tmp_path / "plugin"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "@", "expirationTimestamp": "2001-01-01T00:00:00Z"},
    }
    plugin.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/runs\nn=$(wc -l < {tmp_path}/runs)\necho '{json.dumps(credential)}' | sed \"s/@/$n/\"\n"
    )
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []}}
    api = await HttpKubeApi.from_kubeconfig(write(tmp_path / "config", server, user))
    try:
        await api.get("/x")
        await api.get("/x")
        assert seen == ["2", "3"]  # the first token had ended before it was used
    finally:
        await api.close()


def test_a_private_file_is_replaced_and_nobody_else_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["key"]
