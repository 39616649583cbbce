"""The simulated runtime: what happens is told by times, and hours pass in no time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import looptime
import pytest

from provider.clock import LoopClock
from provider.cloud.backend import ExecRequest, LogOptions
from provider.cloud.runtime.base import ContainerRuntime, FaultKind, RunSpec, RuntimeFault, SandboxSpec, SeenContainer
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.capacity import Redirect
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerKind, ContainerSpec, PullPolicy

UID = PodUid("u1")
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def sandbox(uid: PodUid = UID) -> SandboxSpec:
    return SandboxSpec(
        uid=uid, zone=ZoneId("a"), vswitch=VSwitchId("v"), address="10.0.0.2", name="p", namespace="n", hostname="p"
    )


def spec(kind: ContainerKind = ContainerKind.APP, attempt: int = 0, uid: PodUid = UID, **simulate: str) -> RunSpec:
    pairs = tuple((key.replace("_", "-"), value) for key, value in simulate.items())
    container = ContainerSpec(name="main", image="busybox", kind=kind)
    return RunSpec(uid=uid, zone=ZoneId("a"), attempt=attempt, container=container, simulate=pairs)


async def started(run_spec: RunSpec, **settings: float) -> tuple[SimulatedRuntime, LoopClock]:
    clock = LoopClock()
    runtime = SimulatedRuntime(clock, **settings)
    await runtime.create_sandbox(sandbox(run_spec.uid))
    await runtime.start_container(run_spec)
    return runtime, clock


async def container(runtime: ContainerRuntime) -> SeenContainer:
    seen = await runtime.inspect(UID)
    assert seen is not None
    return seen.containers[-1]


def test_a_container_ends_after_its_duration_with_its_code() -> None:
    async def story() -> None:
        runtime, clock = await started(spec(duration="3600", exit_code="7"))
        await clock.sleep(3599)
        assert (await container(runtime)).running
        await clock.sleep(1.001)
        ended = await container(runtime)
        assert (ended.running, ended.exited, ended.exit_code) == (False, True, 7)
        assert ended.started_at is not None
        assert ended.finished_at == ended.started_at + 3600

    run(story())


def test_without_a_duration_it_runs_until_it_is_stopped() -> None:
    async def story() -> None:
        runtime, clock = await started(spec())
        await clock.sleep(10**6)
        assert (await container(runtime)).running
        await runtime.stop_container(UID, "main", 0, 30)
        await runtime.stop_container(UID, "main", 0, 0)
        ended = await container(runtime)
        assert (ended.exited, ended.exit_code, ended.finished_at) == (True, 143, clock.now())

    run(story())


def test_without_grace_it_is_killed() -> None:
    async def story() -> None:
        runtime, _ = await started(spec())
        await runtime.stop_container(UID, "main", 0, 0)
        assert (await container(runtime)).exit_code == 137

    run(story())


@pytest.mark.parametrize(("kind", "exited"), [(ContainerKind.INIT, True), (ContainerKind.SIDECAR, False)])
def test_hints_are_for_app_containers(kind: ContainerKind, exited: bool) -> None:
    async def story() -> None:
        runtime, clock = await started(spec(kind, duration="5", exit_code="3"))
        await clock.sleep(6)
        seen = await container(runtime)
        assert (seen.exited, seen.exit_code) == (exited, 0)

    run(story())


def test_the_configured_duration_and_start_apply_without_pairs() -> None:
    async def story() -> None:
        runtime, clock = await started(spec(), start_seconds=5, duration_seconds=10)
        first = await container(runtime)
        assert first.started_at == clock.now() == pytest.approx(1_700_000_005)
        await clock.sleep(10.001)
        assert (await container(runtime)).exited

    run(story())


def test_during_the_start_delay_it_is_created_only_and_a_repeat_starts_it_once() -> None:
    async def story() -> None:
        clock = LoopClock()
        runtime = SimulatedRuntime(clock)
        await runtime.create_sandbox(sandbox())
        async with asyncio.TaskGroup() as group:
            first = group.create_task(runtime.start_container(spec(start_delay="60")))
            await clock.sleep(30)
            seen = await container(runtime)
            assert (seen.running, seen.exited) == (False, False)
            second = group.create_task(runtime.start_container(spec(start_delay="60")))
        assert first.result().started_at == second.result().started_at
        assert len((await runtime.relist())[0].containers) == 1

    run(story())


def test_one_stopped_while_it_starts_never_runs() -> None:
    async def story() -> None:
        clock = LoopClock()
        runtime = SimulatedRuntime(clock)
        await runtime.create_sandbox(sandbox())
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(runtime.start_container(spec(start_delay="60")))
            await clock.sleep(30)
            await runtime.stop_container(UID, "main", 0, 30)
        assert (starting.result().exited, starting.result().started_at) == (True, None)

    run(story())


@pytest.mark.parametrize(
    "pairs",
    [{"duration": "soon"}, {"duration": "-1"}, {"duration": "nan"}, {"exit_code": "256"}, {"start_delay": "inf"}],
)
def test_a_pair_that_is_no_number_is_a_configuration_fault(pairs: dict[str, str]) -> None:
    with pytest.raises(RuntimeFault) as caught:
        run(started(spec(ContainerKind.APP, 0, UID, **pairs)))
    assert caught.value.kind is FaultKind.CONFIG


def test_nothing_starts_without_a_sandbox() -> None:
    with pytest.raises(RuntimeFault) as caught:
        run(SimulatedRuntime(LoopClock()).start_container(spec()))
    assert caught.value.kind is FaultKind.CREATE


def test_hints_name_who_ends_in_order_of_time() -> None:
    async def story() -> list[str]:
        clock = LoopClock()
        runtime = SimulatedRuntime(clock)
        told: list[str] = []

        async def listen() -> None:
            told.extend([uid async for uid in runtime.hints()])

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            for uid, duration in (("late", "7200"), ("soon", "60")):
                await runtime.create_sandbox(sandbox(PodUid(uid)))
                await runtime.start_container(spec(uid=PodUid(uid), duration=duration))
            await clock.sleep(8000)
            await runtime.close()
        return told

    assert run(story()) == ["late", "soon", "soon", "late"]  # two beginnings, two ends


def test_a_released_sandbox_gives_up_its_address_and_keeps_ended_containers() -> None:
    async def story() -> None:
        runtime, _ = await started(spec())
        await runtime.stop_container(UID, "main", 0, 1)
        await runtime.release_sandbox(UID)
        seen = await runtime.inspect(UID)
        assert seen is not None
        assert (seen.address, seen.sandbox_exists, len(seen.containers)) == (None, False, 1)
        assert [line async for line in runtime.logs(UID, "main", 0, LogOptions())]
        await runtime.remove_container(UID, "main", 0)
        await runtime.remove_instance(UID)
        await runtime.remove_instance(UID)
        assert await runtime.inspect(UID) is None

    run(story())


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (LogOptions(), [b"simulated: main attempt 0 started\n"]),
        (LogOptions(tail=0), []),
        (LogOptions(limit_bytes=4), [b"simu"]),
        (LogOptions(since=1_800_000_000), []),
        (LogOptions(timestamps=True), [b"2023-11-14T22:13:20.000000000Z simulated: main attempt 0 started\n"]),
        (
            LogOptions(follow=True),
            [b"simulated: main attempt 0 started\n", b"simulated: main attempt 0 ended with 0\n"],
        ),
        (LogOptions(follow=True, tail=0), [b"simulated: main attempt 0 ended with 0\n"]),
    ],
)
def test_logs(options: LogOptions, lines: list[bytes]) -> None:
    async def story() -> list[bytes]:
        runtime, _ = await started(spec(duration="60"))
        return [line async for line in runtime.logs(UID, "main", 0, options)]

    assert run(story()) == lines


def test_a_command_succeeds_where_something_runs() -> None:
    async def story() -> None:
        runtime, _ = await started(spec())
        request = ExecRequest(container="main", command=("true",))
        session = await runtime.exec(UID, 0, request)
        assert [piece async for piece in session.output()] == []
        assert await session.wait() == 0
        await runtime.stop_container(UID, "main", 0, 1)
        with pytest.raises(RuntimeFault, match="not running"):
            await runtime.exec(UID, 0, request)

    run(story())


def test_images_are_there_and_need_a_good_name() -> None:
    async def story() -> None:
        runtime = SimulatedRuntime(LoopClock())
        one = await runtime.ensure_image("busybox", PullPolicy.NEVER, ())
        assert one == await runtime.ensure_image("busybox", PullPolicy.NEVER, ())
        with pytest.raises(RuntimeFault) as caught:
            await runtime.ensure_image("UPPER CASE", PullPolicy.NEVER, ())
        assert caught.value.kind is FaultKind.INVALID_IMAGE_NAME

    run(story())


def test_redirects_are_kept_and_replaced_and_nothing_presses() -> None:
    async def story() -> None:
        runtime = SimulatedRuntime(LoopClock())
        await runtime.set_redirects([Redirect("10.96.0.1", 443, (("172.18.0.1", 6443),))])
        await runtime.set_redirects([Redirect("10.96.0.2", 443, (("172.18.0.1", 6443),))])
        assert [one.address for one in runtime.redirects] == ["10.96.0.2"]
        assert await runtime.pressure() == ""

    run(story())
