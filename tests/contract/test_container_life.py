"""Hooks, probes and restart rules over every backend and every runtime: what the request asks for, the cloud does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from provider.model.instance import ContainerPhase, Instance, InstancePhase
from provider.model.probe import ExecAction, GrpcAction, HttpAction, Probe, SleepAction, TcpAction
from provider.model.request import RestartPolicy, RestartRule
from tests.support.cloud_worlds import container_status

if TYPE_CHECKING:
    from provider.model.ids import PodUid
    from provider.model.instance import ContainerStatus
    from provider.model.probe import Action, Hook
    from tests.support.cloud_worlds import BackendWorld


def main(instance: Instance) -> ContainerStatus:
    return container_status(instance, "main")


def runs(instance: Instance) -> bool:
    return main(instance).state.phase is ContainerPhase.RUNNING


def told(world: BackendWorld, uid: PodUid, reason: str) -> list[str]:
    return [one.message for one in world.notices(uid) if one.reason == reason]


async def test_a_container_runs_once_its_post_start_hook_is_over(world: BackendWorld) -> None:
    request = world.request(world.container("main", post_start=SleepAction(0.5)))
    await world.backend.create_instance(request)
    await world.until(lambda: told(world, request.uid, "Started") != [])
    begun = asyncio.get_running_loop().time()
    running = await world.until_instance(request.uid, runs)
    assert asyncio.get_running_loop().time() - begun >= 0.3
    assert main(running).state.started_at is not None


@pytest.mark.parametrize("hook", [HttpAction(9), TcpAction(9)], ids=["http", "tcp"])
async def test_a_post_start_hook_that_fails_ends_the_container(world: BackendWorld, hook: Hook) -> None:
    request = world.request(world.container("main", post_start=hook), grace=2.0)
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert ended.phase is InstancePhase.FAILED
    assert told(world, request.uid, "FailedPostStartHook") == ["PostStartHook failed"]
    assert told(world, request.uid, "Killing") == ["FailedPostStartHook"]


@pytest.mark.parametrize("hook", [SleepAction(0.4), ExecAction(("/bin/sh", "-c", "sleep 0.4"))], ids=["sleep", "exec"])
async def test_a_pre_stop_hook_comes_before_the_end(world: BackendWorld, hook: Hook) -> None:
    request = world.request(world.container("main", pre_stop=hook), policy=RestartPolicy.ALWAYS)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, runs)
    await world.backend.delete_instance(request.uid, 10)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert ended.deletion_requested_at is not None
    assert ended.finished_at is not None
    if world.below.real or isinstance(hook, SleepAction):
        assert ended.finished_at - ended.deletion_requested_at >= 0.4
    assert told(world, request.uid, "FailedPreStopHook") == []


async def test_a_pre_stop_hook_that_fails_stops_nothing_but_itself(world: BackendWorld) -> None:
    request = world.request(world.container("main", pre_stop=HttpAction(9)), policy=RestartPolicy.ALWAYS)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, runs)
    await world.backend.delete_instance(request.uid, 10)
    await world.until_instance(request.uid, lambda one: one.released)
    assert told(world, request.uid, "FailedPreStopHook") == ["PreStopHook failed"]


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (TcpAction(9), "dial tcp {address}:9: connect: connection refused"),
        (HttpAction(9, "/x"), 'Get "http://{address}:9/x": dial tcp {address}:9: connect: connection refused'),
        (GrpcAction(9), 'timeout: failed to connect service "{address}:9" within 1s: context deadline exceeded'),
    ],
    ids=["tcp", "http", "grpc"],
)
async def test_a_probe_of_what_does_not_listen(world: BackendWorld, action: Action, text: str) -> None:
    request = world.request(world.container("main", readiness=Probe(action)), policy=RestartPolicy.ALWAYS)
    await world.backend.create_instance(request)
    running = await world.until_instance(request.uid, runs)
    assert not main(running).ready
    assert main(running).started
    said = f"Readiness probe failed: {text.format(address=running.address)}"
    await world.until(lambda: said in told(world, request.uid, "Unhealthy"))
    assert not main(await world.backend.describe_instance(request.uid)).ready


async def test_a_rule_starts_again_what_the_policy_would_not(world: BackendWorld) -> None:
    rules = (RestartRule((42,)),)
    container = world.container("main", 0.2, 42, restart_policy=RestartPolicy.NEVER, restart_rules=rules)
    request = world.request(container, seconds=0.2, code=42)
    await world.backend.create_instance(request)
    again = await world.until_instance(request.uid, lambda one: main(one).restarts >= 1)
    assert again.phase is InstancePhase.RUNNING
    last = main(again).last
    assert last is not None
    assert last.exit_code == 42
