from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cluster.argo import render_tolerations
from provider.cluster.down import take_down
from provider.cluster.engine import open_engine
from provider.cluster.leaving import remove_from_cluster
from provider.cluster.local_up import up_local
from provider.cluster.manifests import Manifests
from provider.cluster.provider_access import NAMESPACE, access_objects, grant_access
from provider.cluster.steps import Steps
from provider.model.timestamps import seconds_of
from tests.support.control_plane import client, control_plane, until
from tests.support.installation import installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from pathlib import Path

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.installation import Lab

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ZONE = {"name": "a", "vSwitches": [{"cidr": "10.221.0.0/22"}]}
NODE = "virtual-kubelet-a"


def test_up_waits_for_the_provider_that_it_starts_and_down_needs_no_configuration() -> None:
    name = own_name("updown")
    with installed(name, argo=False, config={"name": name, "zones": [ZONE]}) as lab:
        killed = lab.installation.provider.pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        config = lab.installation.state.parent / "config.yaml"
        running = asyncio.run(up_local(lab.installation, Steps(), config=config, argo=False))
        assert running.nodes == (NODE,)
        started = lab.installation.provider.started()
        assert started is not None
        assert asyncio.run(_reported(lab)) >= int(started)
        assert lab.installation.provider.pid() != killed
        lab.installation.provider_config.write_text("zones: {")
        asyncio.run(take_down(lab.installation, Steps()))
        assert not lab.installation.state.exists()
        with closing(open_engine()) as engine:
            mine = {"label": f"{INSTALLATION}={name}"}
            assert not engine.api.containers(all=True, filters=mine)
            assert not engine.api.networks(filters=mine)


async def _reported(lab: Lab) -> float:
    async with lab.api() as api:
        node = await api.get(f"/api/v1/nodes/{NODE}")
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "True"
    return seconds_of(ready["lastHeartbeatTime"])


async def test_a_cluster_that_was_left_is_as_it_was_before(tmp_path: Path) -> None:
    """Against a real API server and its controller manager, which fills the account's token."""
    with control_plane(own_name("updown-leave"), tmp_path / "state") as cluster:
        async with client(cluster.kubeconfig) as admin:
            theirs: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "theirs"}}
            ours = {**theirs, "metadata": {"name": "ours"}, "spec": {"providerID": "zonelet://region/updown/a"}}
            for node in (theirs, ours):
                await admin.create("/api/v1/nodes", node)
            assert await _join(admin, "updown")
            assert await _there(admin, "updown") == 10
            await remove_from_cluster(admin, "updown")
            await until(lambda: _gone(admin, "updown"))
            assert [each["metadata"]["name"] for each in (await admin.list("/api/v1/nodes"))["items"]] == ["theirs"]


async def test_what_was_applied_by_hand_outlives_an_installation_of_its_name(tmp_path: Path) -> None:
    with control_plane(own_name("updown-hand"), tmp_path / "state") as cluster:
        async with client(cluster.kubeconfig) as admin:
            by_hand = access_objects("zonelet")[:-1]  # all but the token's Secret, as `kubectl apply -k` does
            await Manifests(admin).apply(by_hand)
            assert await _join(admin, "zonelet")
            await remove_from_cluster(admin, "zonelet")
            for each in by_hand:
                assert "deletionTimestamp" not in (await admin.get(await Manifests(admin).path(each)))["metadata"]
            secrets = await admin.list(f"/api/v1/namespaces/{NAMESPACE}/secrets")
            assert not secrets["items"]


async def _join(admin: HttpKubeApi, name: str) -> str:
    token = await grant_access(admin, name, SystemClock())
    await Manifests(admin).apply_own(render_tolerations("key", name))
    return token


async def _there(admin: HttpKubeApi, name: str) -> int:
    manifests = Manifests(admin)
    objects = [*access_objects(name), *render_tolerations("key", name)]
    return len([each for each in objects if await manifests.find(each) is not None])


async def _gone(admin: HttpKubeApi, name: str) -> bool:
    return await _there(admin, name) == 0
