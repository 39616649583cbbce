"""Pods that cannot run: told where the kubelet tells it, in its words; what can be mended goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.naming import container_name
from tests.support.pods import (
    PODS,
    event_that,
    is_running,
    main_state,
    phase_is,
    pod_gone,
    pod_that,
    restarts,
    shell_pod,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.installation import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FOREVER = "exec sleep 1000"
CONFIG_MAPS, SECRETS = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/secrets"


@pytest.fixture
async def pods(api: HttpKubeApi) -> AsyncIterator[HttpKubeApi]:
    """The API; the pods of the test, whose names begin with `bad-`, go with it."""
    yield api
    names = [pod["metadata"]["name"] for pod in (await api.list(PODS))["items"]]
    for name in names:
        if name.startswith("bad-"):
            await api.delete(f"{PODS}/{name}")
            await pod_gone(api, name)


def waits_for(*reasons: str) -> Callable[[Json], bool]:
    return lambda pod: main_state(pod).get("waiting", {}).get("reason") in reasons


async def test_a_pod_larger_than_every_zone_stays_pending_by_the_scheduler(pods: HttpKubeApi) -> None:
    huge = {"resources": {"requests": {"cpu": "100000", "memory": "1Gi"}}}
    await pods.create(PODS, shell_pod("bad-huge", FOREVER, container=huge))
    event = await event_that(pods, "bad-huge", "FailedScheduling")
    assert event["message"].startswith("0/3 nodes are available: 3 Insufficient cpu.")
    assert event["reportingComponent"] == "default-scheduler"
    assert phase_is("Pending")(await pods.get(f"{PODS}/bad-huge"))


async def test_a_pod_that_is_bound_to_a_node_too_small_for_it_is_failed_by_admission(
    pods: HttpKubeApi, lab: Lab
) -> None:
    huge = {"resources": {"requests": {"cpu": "100000", "memory": "1Gi"}}}
    node = (await pods.list("/api/v1/nodes"))["items"][0]["metadata"]["name"]
    await pods.create(PODS, shell_pod("bad-forced", FOREVER, container=huge, nodeName=node))
    failed = await pod_that(pods, "bad-forced", phase_is("Failed"))
    assert failed["status"]["reason"] == "OutOfcpu"
    assert "Node didn't have enough resource: cpu, requested: 100000000" in failed["status"]["message"]
    assert (await event_that(pods, "bad-forced", "OutOfcpu"))["type"] == "Warning"


async def test_an_image_that_is_nowhere_is_asked_for_ever_more_slowly(pods: HttpKubeApi) -> None:
    image = "registry.invalid/nothing:1"
    await pods.create(PODS, shell_pod("bad-image", FOREVER, container={"image": image}))
    await pod_that(pods, "bad-image", waits_for("ErrImagePull", "ImagePullBackOff"))
    backing_off = await pod_that(pods, "bad-image", waits_for("ImagePullBackOff"))
    assert phase_is("Pending")(backing_off)
    assert main_state(backing_off)["waiting"]["message"].startswith(f'Back-off pulling image "{image}"')
    assert (await event_that(pods, "bad-image", "Pulling"))["message"] == f'Pulling image "{image}"'
    failed = await event_that(pods, "bad-image", "Failed", f'Failed to pull image "{image}": ')
    assert failed["involvedObject"]["fieldPath"] == "spec.containers{main}"
    await event_that(pods, "bad-image", "Failed", "Error: ErrImagePull")
    await event_that(pods, "bad-image", "BackOff", f'Back-off pulling image "{image}"')


async def test_an_environment_from_nowhere_waits_until_it_is_there(pods: HttpKubeApi) -> None:
    source = {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "bad-map", "key": "x"}}}]}
    await pods.create(PODS, shell_pod("bad-env", 'test "$X" = yes && exec sleep 1000', container=source))
    waiting = await pod_that(pods, "bad-env", waits_for("CreateContainerConfigError"))
    assert main_state(waiting)["waiting"]["message"] == 'configmap "bad-map" not found'
    await event_that(pods, "bad-env", "Failed", 'Error: configmap "bad-map" not found')
    await made(pods, CONFIG_MAPS, {"kind": "ConfigMap", "metadata": {"name": "bad-map"}, "data": {"x": "yes"}})
    try:
        assert restarts(await pod_that(pods, "bad-env", is_running)) == 0
    finally:
        await pods.delete(f"{CONFIG_MAPS}/bad-map")


async def test_a_volume_from_nowhere_waits_until_it_is_there(pods: HttpKubeApi) -> None:
    volume = {"name": "keys", "secret": {"secretName": "bad-secret"}}
    mount = {"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    await pods.create(
        PODS, shell_pod("bad-volume", "test -s /keys/k && exec sleep 1000", container=mount, volumes=[volume])
    )
    text = 'MountVolume.SetUp failed for volume "keys" : secret "bad-secret" not found'
    assert (await event_that(pods, "bad-volume", "FailedMount"))["message"] == text
    assert phase_is("Pending")(await pod_that(pods, "bad-volume", waits_for("ContainerCreating")))
    await made(pods, SECRETS, {"kind": "Secret", "metadata": {"name": "bad-secret"}, "stringData": {"k": "v"}})
    try:
        assert restarts(await pod_that(pods, "bad-volume", is_running)) == 0
    finally:
        await pods.delete(f"{SECRETS}/bad-secret")


async def test_a_container_name_that_is_somebody_elses_is_waited_for(pods: HttpKubeApi, lab: Lab) -> None:
    gate = {"schedulingGates": [{"name": "example.com/later"}]}
    pod = await pods.create(PODS, shell_pod("bad-name", FOREVER, **gate))
    name = container_name(lab.installation.name, pod["metadata"]["uid"], "main", 0)
    async with open_client() as client:
        foreign = await client.containers.create({"Image": "busybox:1.36"}, name=name)
        try:
            await pods.patch(f"{PODS}/bad-name", {"spec": {"schedulingGates": []}}, "merge")
            waiting = await pod_that(pods, "bad-name", waits_for("CreateContainerError"))
            assert "belongs to somebody else" in main_state(waiting)["waiting"]["message"]
            await event_that(pods, "bad-name", "Failed", "Error: ")
        finally:
            await foreign.delete(force=True)
    assert restarts(await pod_that(pods, "bad-name", is_running)) == 0


async def made(api: HttpKubeApi, collection: str, item: dict[str, Any]) -> None:
    await api.create(collection, {"apiVersion": "v1", **item})
