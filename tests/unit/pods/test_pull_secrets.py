"""Pull secrets reach the cloud while an image cannot be pulled, and no longer."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from provider.model.instance import ContainerState
from provider.model.request import RegistryCredential
from tests.support.pod_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime
SECRETS = "/api/v1/namespaces/n/secrets"
EVENT = "FailedToRetrieveImagePullSecret"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    yield one
    await one.kill()


def login(password: str) -> dict[str, Any]:
    config = json.dumps({"auths": {"quay.io": {"username": "me", "password": password}}}).encode()
    return {".dockerconfigjson": b64encode(config).decode()}


async def pod(world: World, *secrets: str) -> str:
    uid = await world.pod(spec={"imagePullSecrets": [{"name": name} for name in secrets]})
    await world.settle(0.5)
    return uid


def given(world: World) -> list[tuple[RegistryCredential, ...]]:
    return [logins for _, logins in world.cloud.credentials]


def watches(world: World) -> int:
    return sum(call.verb == "watch" and "secrets" in call.path for call in world.api.calls)


async def test_a_secret_that_comes_later_is_used(world: World) -> None:
    uid = await pod(world, "regcred")
    assert EVENT not in world.reasons()  # its image may be there, or open to everybody
    world.cloud.wait(uid, ContainerState(reason="ErrImagePull", message="denied"))
    await world.settle()
    assert world.reasons().count(EVENT) == 1
    assert given(world) == [()]
    await world.api.create(SECRETS, {"metadata": {"name": "regcred"}, "data": login("1")})
    await world.settle()
    assert given(world)[1:] == [(RegistryCredential("quay.io", "me", "1"),)]
    await world.api.patch(f"{SECRETS}/regcred", {"data": login("2")}, "merge")
    await world.settle()
    assert given(world)[2:] == [(RegistryCredential("quay.io", "me", "2"),)]


async def test_nothing_is_watched_before_a_pull_fails_nor_after_it_went_well(world: World) -> None:
    await world.api.create(SECRETS, {"metadata": {"name": "regcred"}, "data": login("1")})
    uid = await pod(world, "regcred")
    assert EVENT not in world.reasons()
    assert (watches(world), given(world)) == (0, [])
    world.cloud.wait(uid, ContainerState(reason="ImagePullBackOff"))
    await world.settle()
    assert (watches(world), len(given(world))) == (1, 1)
    world.cloud.run(uid)
    await world.settle()
    await world.api.patch(f"{SECRETS}/regcred", {"data": login("2")}, "merge")
    await world.settle()
    assert len(given(world)) == 1


async def test_a_pod_without_pull_secrets_has_nothing_to_follow(world: World) -> None:
    uid = await pod(world)
    world.cloud.wait(uid, ContainerState(reason="ErrImagePull"))
    await world.settle()
    assert (watches(world), given(world)) == (0, [])
