"""Lifecycle hooks in real containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.model.instance import ContainerPhase, Instance
from provider.model.probe import ExecAction, HttpAction, SleepAction
from provider.model.request import RestartPolicy
from tests.integration.cloud.worlds import busybox, main, output, told

if TYPE_CHECKING:
    from tests.support.cloud_worlds import BackendWorld

pytestmark = pytest.mark.integration

WAIT = "trap 'echo stopped; exit 0' TERM; while :; do sleep 0.1; done"


def phase(instance: Instance) -> ContainerPhase:
    return main(instance).state.phase


async def test_hooks_run_in_the_container_around_its_life(world: BackendWorld) -> None:
    say = "echo {} >/proc/1/fd/1"
    container = busybox(
        WAIT,
        post_start=ExecAction(("/bin/sh", "-c", f"sleep 1; {say.format('greeted')}")),
        pre_stop=ExecAction(("/bin/sh", "-c", say.format("leaving"))),
    )
    request = world.request(container, policy=RestartPolicy.ALWAYS, grace=30.0)
    await world.backend.create_instance(request)
    running = await world.until_instance(request.uid, lambda one: phase(one) is ContainerPhase.RUNNING)
    assert b"greeted" in await output(world, request.uid)
    assert main(running).state.started_at is not None
    await world.backend.delete_instance(request.uid, 30)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert (await output(world, request.uid)).split() == [b"greeted", b"leaving", b"stopped"]
    assert (main(ended).state.exit_code, main(ended).state.reason) == (0, "Completed")


async def test_a_postStart_hook_that_fails_kills(world: BackendWorld) -> None:  # noqa: N802 - the hook's name
    container = busybox(WAIT, post_start=ExecAction(("/bin/sh", "-c", "echo no >&2; exit 7")))
    request = world.request(container, policy=RestartPolicy.NEVER, grace=10.0)
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert (await output(world, request.uid)).split() == [b"stopped"]
    assert main(ended).state.phase is ContainerPhase.TERMINATED
    events = told(world, request.uid)
    assert events[-2:] == [("FailedPostStartHook", "PostStartHook failed"), ("Killing", "FailedPostStartHook")]


async def test_a_preStop_hook_takes_from_the_grace_and_no_more(world: BackendWorld) -> None:  # noqa: N802
    container = busybox("trap '' TERM; while :; do sleep 0.1; done", pre_stop=SleepAction(600))
    request = world.request(container, policy=RestartPolicy.NEVER)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, lambda one: phase(one) is ContainerPhase.RUNNING)
    await world.backend.delete_instance(request.uid, 1)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert main(ended).state.exit_code == 137
    assert ended.deletion_requested_at is not None
    assert ended.finished_at is not None
    assert 3 <= ended.finished_at - ended.deletion_requested_at < 10


async def test_a_preStop_hook_by_http_reaches_the_pod(world: BackendWorld) -> None:  # noqa: N802
    server = "mkdir -p /tmp/w/cgi-bin; cd /tmp/w; printf '#!/bin/sh\\necho; echo left >/proc/1/fd/1' >cgi-bin/bye; chmod +x cgi-bin/bye; "
    container = busybox(f"{server} httpd -p 8080 -h /tmp/w; {WAIT}", pre_stop=HttpAction(8080, "/cgi-bin/bye"))
    request = world.request(container, policy=RestartPolicy.NEVER, grace=20.0)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, lambda one: phase(one) is ContainerPhase.RUNNING)
    await world.shell(request.uid, "main", "while ! nc 127.0.0.1 8080 </dev/null; do sleep 0.05; done")
    await world.backend.delete_instance(request.uid, 20)
    await world.until_instance(request.uid, lambda one: one.released)
    assert (await output(world, request.uid)).split() == [b"left", b"stopped"]
