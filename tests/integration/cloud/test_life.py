"""Deadlines, last words, and what is started again, on the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.model.instance import InstancePhase
from provider.model.request import RestartPolicy, RestartRule
from provider.model.volume import EmptyDirVolume, VolumeMount
from tests.integration.cloud.worlds import busybox, main, told

if TYPE_CHECKING:
    from tests.support.cloud_worlds import BackendWorld

pytestmark = pytest.mark.integration

WAIT = "trap 'exit 3' TERM; while :; do sleep 0.1; done"
DEADLINE = "Pod was active on the node longer than the specified deadline"


async def test_a_pod_past_its_deadline_fails_with_the_kubelets_words(world: BackendWorld) -> None:
    request = world.request(busybox(WAIT), policy=RestartPolicy.ALWAYS, active_deadline=1.5)
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert (ended.phase, ended.reason, ended.message) == (InstancePhase.FAILED, "DeadlineExceeded", DEADLINE)
    assert (main(ended).state.exit_code, main(ended).restarts) == (3, 0)
    assert ("DeadlineExceeded", DEADLINE) in told(world, request.uid)


async def test_last_words_of_every_attempt(world: BackendWorld) -> None:
    script = "echo said; echo -n $(cat /proc/uptime | cut -d. -f1) >/dev/termination-log; exit 1"
    request = world.request(
        busybox(script, "words"),
        busybox("echo log; exit 1", "log", termination_fallback_to_logs=True),
        policy=RestartPolicy.NEVER,
    )
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    said = {one.name: one.state.message for one in ended.containers}
    assert said["words"].isdecimal()
    assert said["log"] == "log\n"


async def test_a_crash_loop_waits_ten_seconds_before_the_second_restart(world: BackendWorld) -> None:
    request = world.request(busybox("exit 7"), policy=RestartPolicy.ALWAYS)
    await world.backend.create_instance(request)
    looping = await world.until_instance(request.uid, lambda one: main(one).state.reason == "CrashLoopBackOff")
    pod = f"{request.name}_{request.namespace}({request.uid})"
    assert main(looping).state.message == f"back-off 10s restarting failed container=main pod={pod}"
    assert main(looping).restarts == 1
    assert ("BackOff", f"Back-off restarting failed container main in pod {pod}") in told(world, request.uid)
    again = await world.until_instance(request.uid, lambda one: main(one).restarts == 2)
    before, after = main(looping).last, main(again).last if main(again).state.started_at is None else main(again).state
    assert before is not None
    assert after is not None
    assert before.finished_at is not None
    assert after.started_at is not None
    assert 9.5 <= after.started_at - before.finished_at < 20


async def test_a_rule_starts_again_where_the_policy_would_not(world: BackendWorld) -> None:
    script = "echo x >>/data/runs; test $(wc -l </data/runs) -ge 2 && exit 5; exit 42"
    container = busybox(
        script,
        mounts=(VolumeMount("data", "/data"),),
        restart_policy=RestartPolicy.NEVER,
        restart_rules=(RestartRule((42,)),),
    )
    request = world.request(container, policy=RestartPolicy.NEVER, volumes=(EmptyDirVolume("data"),))
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert (main(ended).restarts, main(ended).state.exit_code, ended.phase) == (1, 5, InstancePhase.FAILED)
    last = main(ended).last
    assert last is not None
    assert last.exit_code == 42
