"""Volumes follow what they show: objects, labels, tokens; by what a node's controller asks of both sides."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.client import KubeError
from provider.model.errors import CloudCode, CloudError
from tests.support.pod_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime
MAPS, SECRETS = "/api/v1/namespaces/n/configmaps", "/api/v1/namespaces/n/secrets"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    yield one
    await one.kill()


async def running(world: World, *volumes: dict[str, Any], name: str = "p", **metadata: Any) -> str:
    uid = await world.pod(name, spec={"volumes": list(volumes)}, metadata=metadata)
    await world.settle(0.5)
    world.cloud.run(uid)
    await world.settle(5)
    return uid


def shown(world: World) -> list[tuple[str, dict[str, bytes]]]:
    return [(volume, {one.path: one.content for one in files}) for _, volume, files in world.cloud.files]


def watches(world: World, part: str) -> int:
    return sum(call.verb == "watch" and part in call.path for call in world.api.calls)


async def config(world: World, name: str = "m", **fields: Any) -> None:
    await world.api.create(MAPS, {"metadata": {"name": name}, "data": {"k": "1"}, **fields})


async def change(world: World, path: str, **fields: Any) -> None:
    await world.api.patch(path, fields, "merge")
    await world.settle()


async def test_a_changed_config_map_reaches_every_pod_that_shows_it_by_one_watch(world: World) -> None:
    await config(world)
    first = await running(world, {"name": "v", "configMap": {"name": "m"}})
    second = await running(world, {"name": "w", "configMap": {"name": "m"}}, name="q")
    assert world.cloud.files == []
    asked = len([call for call in world.api.calls if call.verb == "get"])
    await change(world, f"{MAPS}/m", data={"k": "2", "l": "3"})
    assert sorted((uid, volume) for uid, volume, _ in world.cloud.files) == sorted([(first, "v"), (second, "w")])
    assert shown(world)[0][1] == {"k": b"2", "l": b"3"}
    assert watches(world, "configmaps") == 1
    assert len([call for call in world.api.calls if call.verb == "get"]) == asked


async def test_a_secret_and_a_projected_volume(world: World) -> None:
    await world.api.create(SECRETS, {"metadata": {"name": "s"}, "data": {"k": b64encode(b"1").decode()}})
    sources = {"defaultMode": 0o400, "sources": [{"secret": {"name": "s"}}]}
    await running(world, {"name": "p", "projected": sources}, {"name": "s", "secret": {"secretName": "s"}})
    await change(world, f"{SECRETS}/s", data={"k": b64encode(b"2").decode()})
    assert dict(shown(world)) == {"p": {"k": b"2"}, "s": {"k": b"2"}}
    assert {one.mode for _, volume, files in world.cloud.files if volume == "p" for one in files} == {0o400}


async def test_a_change_before_the_watch_began_is_not_missed(world: World) -> None:
    await config(world)
    uid = await world.pod(spec={"volumes": [{"name": "v", "configMap": {"name": "m"}}]})
    await world.settle(0.5)
    world.cloud.run(uid)
    assert watches(world, "configmaps") == 0
    await change(world, f"{MAPS}/m", data={"k": "2"})
    await world.settle(5)
    assert shown(world) == [("v", {"k": b"2"})]


async def test_a_short_pod_costs_no_watch(world: World) -> None:
    await config(world)
    uid = await world.pod(spec={"volumes": [{"name": "v", "configMap": {"name": "m"}}]})
    await world.settle(0.5)
    world.cloud.run(uid)
    await world.settle(1)
    world.cloud.end(uid)
    await world.settle(60)
    assert watches(world, "configmaps") == 0


async def test_an_optional_object_may_come_later_and_go_again(world: World) -> None:
    await running(world, {"name": "v", "configMap": {"name": "m", "optional": True}})
    assert world.cloud.files == []
    await config(world)
    await world.settle()
    assert shown(world) == [("v", {"k": b"1"})]
    await world.api.delete(f"{MAPS}/m")
    await world.settle()
    assert shown(world)[1:] == [("v", {})]


async def test_an_object_that_goes_leaves_the_old_content_and_an_event(world: World) -> None:
    await config(world)
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    await world.api.delete(f"{MAPS}/m")
    await world.settle()
    assert world.cloud.files == []
    (event,) = [one for one in world.api.events() if one["reason"] == "FailedMount"]
    assert event["note" if "note" in event else "message"] == (
        'MountVolume.SetUp failed for volume "v" : configmap "m" not found'
    )
    await config(world, data={"k": "new"})
    await world.settle()
    assert shown(world) == [("v", {"k": b"new"})]


async def test_an_immutable_object_is_watched_no_longer(world: World) -> None:
    await config(world, immutable=True)
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    assert len(world.controller._volumes._objects) == 0
    await config(world, "n")
    await running(world, {"name": "v", "configMap": {"name": "n"}}, name="q")
    assert len(world.controller._volumes._objects) == 1
    await change(world, f"{MAPS}/n", immutable=True)
    assert len(world.controller._volumes._objects) == 0


async def test_the_last_pod_ends_the_watch(world: World) -> None:
    await config(world)
    uid = await running(world, {"name": "v", "configMap": {"name": "m"}})
    other = await running(world, {"name": "v", "configMap": {"name": "m"}}, name="q")
    world.cloud.end(uid)
    await world.settle()
    assert len(world.controller._volumes._objects) == 1
    world.cloud.end(other)
    await world.settle()
    assert len(world.controller._volumes._objects) == 0
    await change(world, f"{MAPS}/m", data={"k": "2"})
    assert world.cloud.files == []


async def test_labels_reach_the_downward_volume(world: World) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    await running(world, {"name": "d", "downwardAPI": {"items": items}}, labels={"a": "1"})
    await change(world, "/api/v1/namespaces/n/pods/p", metadata={"labels": {"a": "2"}})
    assert shown(world) == [("d", {"labels": b'a="2"'})]


async def test_a_restart_brings_what_changed_meanwhile(world: World) -> None:
    await config(world)
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    await world.kill()
    await change(world, f"{MAPS}/m", data={"k": "2"})
    await world.start()
    await world.settle(70)
    assert shown(world) == [("v", {"k": b"2"})]
    await change(world, f"{MAPS}/m", data={"k": "3"})
    assert shown(world)[1:] == [("v", {"k": b"3"})]


async def test_what_could_not_be_replaced_is_tried_again(world: World) -> None:
    await config(world)
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    update = world.cloud.update_files

    async def away(*_: Any) -> None:
        raise CloudError(CloudCode.UNAVAILABLE, "engine away", 1)

    world.cloud.update_files = away
    await change(world, f"{MAPS}/m", data={"k": "2"})
    world.cloud.update_files = update
    await world.settle(70)
    assert shown(world) == [("v", {"k": b"2"})]


async def test_a_token_is_replaced_with_its_volume_when_an_object_of_it_changes(world: World) -> None:
    await world.api.create("/api/v1/namespaces/n/serviceaccounts", {"metadata": {"name": "default"}})
    await config(world)
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}, {"configMap": {"name": "m"}}]
    await running(world, {"name": "t", "projected": {"sources": sources}})
    await world.settle(1000)
    await change(world, f"{MAPS}/m", data={"k": "2"})
    assert shown(world) == [("t", {"token": b"token-2", "k": b"2"})]
    await world.settle(2000)  # the first token would be due now, the second is not
    assert len(world.cloud.files) == 1
    await world.settle(1000)
    assert shown(world)[1:] == [("t", {"token": b"token-3", "k": b"2"})]


async def test_a_watch_that_is_refused_is_tried_again(world: World) -> None:
    await config(world)
    world.api.fail("list", "configmaps", KubeError(403, "Forbidden", "no relationship found"), times=2)
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    await world.settle(20)
    await change(world, f"{MAPS}/m", data={"k": "2"})
    assert shown(world) == [("v", {"k": b"2"})]


async def test_a_pod_whose_creation_got_no_answer_is_followed_all_the_same(world: World) -> None:
    await config(world)
    create = world.cloud.create_instance

    async def lossy(request: Any) -> Any:
        world.cloud.create_instance = create
        await create(request)
        raise CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)

    world.cloud.create_instance = lossy
    await running(world, {"name": "v", "configMap": {"name": "m"}})
    await world.settle(70)
    assert len(world.cloud.requests) == 1
    world.cloud.files.clear()
    await change(world, f"{MAPS}/m", data={"k": "2"})
    assert shown(world) == [("v", {"k": b"2"})]
