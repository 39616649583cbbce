"""A container's life as kubectl's users see it: images behind a password, probes, hooks, deadlines, restart rules."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

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
from tests.support.registry import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.registry import Registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NAMESPACE = "/api/v1/namespaces/default"
WAIT = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Registry]:
    async with registry(tmp_path) as opened:
        yield opened
        await opened.forget(f"{opened.name}/team/app:1")


@pytest.fixture
async def pods(api: HttpKubeApi) -> AsyncIterator[HttpKubeApi]:
    """The API; what the test made, by names that begin with `life-`, goes with it."""
    yield api
    for kind in ("pods", "secrets", "serviceaccounts"):
        for one in (await api.list(f"{NAMESPACE}/{kind}"))["items"]:
            name = one["metadata"]["name"]
            if name.startswith("life-"):
                await api.delete(f"{NAMESPACE}/{kind}/{name}")
                if kind == "pods":
                    await pod_gone(api, name)


def secret(store: Registry) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "life-login"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": b64encode(store.docker_config).decode()},
    }


def image_pod(name: str, image: str, **spec: Any) -> Json:
    return shell_pod(name, "exit 0", container={"image": image, "imagePullPolicy": "IfNotPresent"}, **spec)


async def test_a_secret_that_comes_later_lets_the_image_in(pods: HttpKubeApi, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    await pods.create(PODS, image_pod("life-late", image, imagePullSecrets=[{"name": "life-login"}]))
    text = "Unable to retrieve some image pull secrets (life-login); attempting to pull the image may not succeed."
    await event_that(pods, "life-late", "FailedToRetrieveImagePullSecret", text)
    await event_that(pods, "life-late", "Failed", f'Failed to pull image "{image}": ')
    await pods.create(f"{NAMESPACE}/secrets", secret(store))
    done = await pod_that(pods, "life-late", phase_is("Succeeded"))
    status = done["status"]["containerStatuses"][0]
    assert status["imageID"].startswith(f"{store.name}/team/app@sha256:")
    await event_that(pods, "life-late", "Pulled", f'Successfully pulled image "{image}" in ')


async def test_a_service_accounts_secret_counts_for_its_pods(pods: HttpKubeApi, store: Registry) -> None:
    image = await store.hold("busybox", "team/app")
    await pods.create(f"{NAMESPACE}/secrets", secret(store))
    account = {"metadata": {"name": "life-account"}, "imagePullSecrets": [{"name": "life-login"}]}
    await pods.create(f"{NAMESPACE}/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", **account})
    made = await pods.create(PODS, image_pod("life-account", image, serviceAccountName="life-account"))
    assert made["spec"]["imagePullSecrets"] == [{"name": "life-login"}]
    await pod_that(pods, "life-account", phase_is("Succeeded"))


async def test_probes_hooks_and_a_rule_in_one_life(pods: HttpKubeApi) -> None:
    script = f"mkdir -p /tmp/w; httpd -p 8080 -h /tmp/w; {WAIT}"
    container = {
        "ports": [{"name": "web", "containerPort": 8080}],
        "lifecycle": {
            "postStart": {"exec": {"command": ["sh", "-c", "mkdir -p /tmp/w; echo ok >/tmp/w/ok"]}},
            "preStop": {"sleep": {"seconds": 1}},
        },
        "startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        "readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}, "periodSeconds": 1},
        "livenessProbe": {"grpc": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 3},
        "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [0]}}],
    }
    pod = shell_pod("life-all", script, container=container, terminationGracePeriodSeconds=20)
    await pods.create(PODS, pod)
    ready = await pod_that(
        pods, "life-all", lambda one: is_running(one) and one["status"]["containerStatuses"][0]["ready"]
    )
    assert ready["status"]["containerStatuses"][0]["started"]
    address = ready["status"]["podIP"]
    text = (
        f'Liveness probe failed: timeout: failed to connect service "{address}:9" within 1s: context deadline exceeded'
    )
    await event_that(pods, "life-all", "Unhealthy", text)
    await event_that(pods, "life-all", "Killing", "Container main failed liveness probe")
    again = await pod_that(pods, "life-all", lambda one: is_running(one) and restarts(one) == 1)
    last = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (0, "Completed")


async def test_a_deadline_that_is_set_on_a_running_pod(pods: HttpKubeApi) -> None:
    await pods.create(PODS, shell_pod("life-deadline", WAIT))
    await pod_that(pods, "life-deadline", is_running)
    await pods.patch(f"{PODS}/life-deadline", {"spec": {"activeDeadlineSeconds": 1}}, "merge")
    failed = await pod_that(pods, "life-deadline", phase_is("Failed"))
    message = "Pod was active on the node longer than the specified deadline"
    assert (failed["status"]["reason"], failed["status"]["message"]) == ("DeadlineExceeded", message)
    assert main_state(failed)["terminated"]["exitCode"] == 0
    await event_that(pods, "life-deadline", "DeadlineExceeded", message)
