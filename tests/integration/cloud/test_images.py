"""Images from a real registry that asks for a password, pulled by the real engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from provider.model.request import ContainerSpec, InstanceRequest, PullPolicy
from tests.integration.cloud.worlds import main, told
from tests.support.registry import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from provider.model.ids import PodUid
    from provider.model.instance import ContainerStatus, Instance
    from tests.support.cloud_worlds import BackendWorld
    from tests.support.registry import Registry

pytestmark = pytest.mark.integration

ALWAYS, IF_NOT_PRESENT, NEVER = PullPolicy.ALWAYS, PullPolicy.IF_NOT_PRESENT, PullPolicy.NEVER
PULLED = re.compile(
    r'Successfully pulled image "(\S+)" in [\dms.]+ \([\dms.]+ including waiting\)\. Image size: (\d+) bytes\.'
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Registry]:
    directory = tmp_path / "registry"
    directory.mkdir()
    async with registry(directory) as opened:
        yield opened
        for repository in ("team/app", "team/late"):
            await opened.forget(f"{opened.name}/{repository}:1")


def pod(world: BackendWorld, image: str, policy: PullPolicy = IF_NOT_PRESENT, **fields: object) -> InstanceRequest:
    container = ContainerSpec(name="main", image=image, command=("/bin/true",), pull_policy=policy)
    return world.request(container, **fields)  # type: ignore[arg-type]


async def ended(world: BackendWorld, uid: PodUid) -> ContainerStatus:
    return main(await world.until_instance(uid, lambda one: one.released))


def waits(reason: str) -> Callable[[Instance], bool]:
    return lambda one: main(one).state.reason == reason


async def test_a_password_opens_the_registry(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    request = pod(world, image, credentials=(store.login,))
    await world.backend.create_instance(request)
    status = await ended(world, request.uid)
    assert (status.state.exit_code, status.image) == (0, image)
    assert re.fullmatch(rf"{re.escape(store.name)}/team/app@sha256:[0-9a-f]{{64}}", status.image_id)
    pulling, pulled = told(world, request.uid)[:2]
    assert pulling == ("Pulling", f'Pulling image "{image}"')
    found = PULLED.fullmatch(pulled[1])
    assert found is not None, pulled
    assert (pulled[0], found[1]) == ("Pulled", image)
    assert int(found[2]) > 1_000_000
    again = pod(world, image, credentials=(store.login,))
    await world.backend.create_instance(again)
    await ended(world, again.uid)
    text = f'Container image "{image}" already present on machine and can be accessed by the pod'
    assert told(world, again.uid)[0] == ("Pulled", text)


async def test_without_a_password_it_backs_off_and_says_why(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    request = pod(world, image)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, waits("ImagePullBackOff"))
    (failed,) = [text for reason, text in told(world, request.uid) if text.startswith("Failed to pull image")]
    why = failed.removeprefix(f'Failed to pull image "{image}": ')
    assert "no basic auth credentials" in why
    assert told(world, request.uid) == [
        ("Pulling", f'Pulling image "{image}"'),
        ("Failed", failed),
        ("Failed", "Error: ErrImagePull"),
        ("BackOff", f'Back-off pulling image "{image}"'),
        ("Failed", "Error: ImagePullBackOff"),
    ]
    state = main(await world.backend.describe_instance(request.uid)).state
    assert state.message == f'Back-off pulling image "{image}": ErrImagePull: {why}'


async def test_a_wrong_password_is_followed_by_the_right_one(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    wrong = msgspec.structs.replace(store.login, password="guess")
    request = pod(world, image, credentials=(wrong,))
    await world.backend.create_instance(request)
    failing = await world.until_instance(request.uid, waits("ErrImagePull"))
    assert "unauthorized" in main(failing).state.message
    both = pod(world, image, credentials=(wrong, store.login))
    await world.backend.create_instance(both)
    assert (await ended(world, both.uid)).state.exit_code == 0


async def test_an_image_that_comes_later_is_pulled_ten_seconds_later(world: BackendWorld, store: Registry) -> None:
    request = pod(world, f"{store.name}/team/late:1", credentials=(store.login,))
    await world.backend.create_instance(request)
    failing = await world.until_instance(request.uid, waits("ErrImagePull"))
    assert "not found" in main(failing).state.message
    await store.hold("busybox", "team/late")
    done = main(await world.until_instance(request.uid, lambda one: one.released, 30))
    assert done.state.exit_code == 0
    first, second = [one.at for one in world.notices(request.uid) if one.reason == "Pulling"]
    assert 10 <= second - first < 20


async def test_never_is_never(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    request = pod(world, image, NEVER, credentials=(store.login,))
    await world.backend.create_instance(request)
    waiting = await world.until_instance(request.uid, waits("ErrImageNeverPull"))
    text = f'Container image "{image}" is not present with pull policy of Never'
    assert main(waiting).state.message == text
    assert told(world, request.uid) == [("ErrImageNeverPull", text), ("Failed", "Error: ErrImageNeverPull")]


async def test_a_name_that_is_none(world: BackendWorld) -> None:
    request = pod(world, "Not A Name")
    await world.backend.create_instance(request)
    waiting = await world.until_instance(request.uid, waits("InvalidImageName"))
    text = (
        'Failed to apply default image tag "Not A Name": couldn\'t parse image name "Not A Name": '
        "invalid reference format: repository name (library/Not A Name) must be lowercase"
    )
    assert main(waiting).state.message == text
    assert told(world, request.uid) == [("InspectFailed", text), ("Failed", "Error: InvalidImageName")]


async def test_one_pull_serves_all_who_wait(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    store.door.heard.clear()
    store.door.open.clear()
    requests = [pod(world, image, ALWAYS, credentials=(store.login,)) for _ in range(3)]
    for request in requests:
        await world.backend.create_instance(request)
    pulling = ("Pulling", f'Pulling image "{image}"')
    await world.until(lambda: all(pulling in told(world, one.uid) for one in requests))
    store.door.open.set()
    for request in requests:
        assert (await ended(world, request.uid)).state.exit_code == 0
    # The engine asks for the tag with HEAD, then for what it names with GET.
    assert store.asked("HEAD", "/v2/team/app/manifests/1") == 1


async def test_always_asks_again(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    store.door.heard.clear()
    for _ in range(2):
        request = pod(world, image, ALWAYS, credentials=(store.login,))
        await world.backend.create_instance(request)
        await ended(world, request.uid)
    assert store.asked("HEAD", "/v2/team/app/manifests/1") == 2


async def test_what_a_password_opened_stays_shut_for_others(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    first = pod(world, image, credentials=(store.login,))
    await world.backend.create_instance(first)
    await ended(world, first.uid)
    other = pod(world, image)
    never = pod(world, image, NEVER)
    for request, reason in ((other, "ErrImagePull"), (never, "ErrImageNeverPull")):
        await world.backend.create_instance(request)
        await world.until_instance(request.uid, waits(reason))
    mine = pod(world, image, NEVER, credentials=(store.login,))
    await world.backend.create_instance(mine)
    assert (await ended(world, mine.uid)).state.exit_code == 0


async def test_a_login_that_comes_later_is_used_at_the_next_try(world: BackendWorld, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    request = pod(world, image)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, waits("ImagePullBackOff"))
    await world.backend.update_credentials(request.uid, [store.login])
    done = main(await world.until_instance(request.uid, lambda one: one.released, 30))
    assert done.state.exit_code == 0


@pytest.mark.parametrize("prefer_local", [True], indirect=True)
async def test_a_registry_out_of_reach_leaves_the_local_image_by_choice(
    world: BackendWorld, store: Registry, prefer_local: bool
) -> None:
    image = await store.hold("busybox", "team/app")
    first = pod(world, image, ALWAYS, credentials=(store.login,))
    await world.backend.create_instance(first)
    await ended(world, first.uid)
    store.door.open.clear()
    request = pod(world, image, ALWAYS, credentials=(store.login,))
    await world.backend.create_instance(request)
    assert (await ended(world, request.uid)).state.exit_code == 0
    (pulled,) = [text for reason, text in told(world, request.uid) if reason == "Pulled"]
    assert pulled.startswith(
        f'Container image "{image}" already present on machine: Registry {store.name} cannot be reached, '
    )
    assert pulled.endswith(f"(imagePull: preferLocal): registry {store.name} did not answer within 5 s")
