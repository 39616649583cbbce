"""What every ElasticBackend does, over every runtime: one suite."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.backend import LogOptions
from provider.model.errors import CloudCode
from provider.model.ids import VSwitchId, ZoneId
from provider.model.instance import ContainerPhase, InstancePhase
from provider.model.request import ContainerKind, Market, RestartPolicy
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume, VolumeMount
from tests.contract.asking import UNKNOWN, output, refusal, released, running
from tests.support.cloud_worlds import BackendWorld, container_status

# ---------------------------------------------------------------- a life


@pytest.mark.parametrize(("code", "phase"), [(0, InstancePhase.SUCCEEDED), (3, InstancePhase.FAILED)])
async def test_a_job_runs_once_and_gives_all_back(world: BackendWorld, code: int, phase: InstancePhase) -> None:
    request = world.request(seconds=0.3, code=code)
    accepted = await world.backend.create_instance(request)
    assert (accepted.uid, accepted.name, accepted.namespace) == (request.uid, request.name, "contract")
    assert (accepted.cpu, accepted.memory, accepted.zone) == (request.cpu, request.memory, request.zone)
    assert accepted.id.startswith("eci-")
    ended = await world.until_instance(request.uid, released)
    assert ended.phase is phase
    (main,) = ended.containers
    assert (main.state.phase, main.state.exit_code) == (ContainerPhase.TERMINATED, code)
    assert main.state.reason == ("Completed" if code == 0 else "Error")
    assert main.state.started_at is not None
    assert main.state.finished_at is not None
    assert main.state.finished_at - main.state.started_at >= 0.25
    assert main.state.container_id
    assert main.image_id
    assert (main.restarts, main.last) == (0, None)
    assert ended.address in {f"10.211.0.{n}" for n in range(256)}
    assert ended.created_at <= ended.placed_at <= ended.sandbox_ready_at <= ended.initialized_at <= ended.finished_at  # type: ignore[operator]
    (zone,) = await world.backend.describe_zones()
    assert (zone.cpu_used, zone.memory_used, zone.instances, zone.waiting) == (0, 0, 0, 0)
    assert [vswitch.used for vswitch in zone.vswitches] == [0, 0]
    assert [notice.reason for notice in world.notices(request.uid)][-3:] == ["Pulled", "Created", "Started"]
    assert await world.backend.describe_instance(request.uid) == ended
    await world.backend.forget_instance(request.uid)
    await world.until(lambda: world.gone(request.uid))
    await world.backend.forget_instance(request.uid)
    assert (await refusal(world.backend.describe_instance(request.uid))).code is CloudCode.NOT_FOUND
    assert (await refusal(world.backend.create_instance(request))).code is CloudCode.TOKEN_CONFLICT
    assert (await refusal(world.backend.delete_instance(request.uid, 1))).code is CloudCode.NOT_FOUND


async def test_init_containers_come_in_order_and_sidecars_leave_last(world: BackendWorld) -> None:
    request = world.request(
        world.container("first", 0.1, kind=ContainerKind.INIT),
        world.container("helper", kind=ContainerKind.SIDECAR),
        world.container("second", 0.1, kind=ContainerKind.INIT),
        world.container("main", 0.3),
        world.container("other", 0.3),
        seconds=0.3,
    )
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, released)
    assert ended.phase is InstancePhase.SUCCEEDED
    times = {one.name: one.state for one in ended.containers}
    assert [one.name for one in ended.containers] == ["first", "helper", "second", "main", "other"]

    def begun(name: str) -> float:
        at = times[name].started_at
        assert at is not None
        return at

    def over(name: str) -> float:
        at = times[name].finished_at
        assert at is not None
        return at

    assert over("first") <= begun("helper") <= begun("second")
    assert over("second") <= min(begun("main"), begun("other"))
    assert max(over("main"), over("other")) <= over("helper")
    assert times["helper"].exit_code == 143


async def test_a_container_that_fails_is_restarted_and_both_logs_are_there(world: BackendWorld) -> None:
    request = world.request(seconds=0.1, code=7, policy=RestartPolicy.ON_FAILURE)
    await world.backend.create_instance(request)
    looping = await world.until_instance(
        request.uid, lambda i: container_status(i, "main").state.reason == "CrashLoopBackOff"
    )
    main = container_status(looping, "main")
    assert looping.phase is InstancePhase.RUNNING
    assert main.restarts == 1
    assert main.last is not None
    assert main.last.exit_code == 7
    assert main.state.message == (
        f"back-off 10s restarting failed container=main pod={request.name}_contract({request.uid})"
    )
    assert await output(world.backend, request.uid, "main") == world.below.said("main", 1, 7)
    assert await output(world.backend, request.uid, "main", LogOptions(previous=True)) == world.below.said("main", 1, 7)
    reasons = [notice.reason for notice in world.notices(request.uid)]
    assert reasons[-1] == "BackOff"
    assert reasons.count("Started") == 2
    await world.backend.delete_instance(request.uid, 0)
    ended = await world.until_instance(request.uid, released)
    assert ended.phase is InstancePhase.FAILED


async def test_the_deadline_ends_an_instance(world: BackendWorld) -> None:
    request = world.request(active_deadline=1.0)
    await world.backend.create_instance(request)
    ended = await world.until_instance(request.uid, released)
    assert (ended.phase, ended.reason) == (InstancePhase.FAILED, "DeadlineExceeded")
    assert ended.message == "Pod was active on the node longer than the specified deadline"
    main = container_status(ended, "main").state
    if main.started_at is not None:  # on a busy machine the deadline may come before the start
        assert main.exit_code in (137, 143)


async def test_an_image_without_a_name_is_refused_where_the_kubelet_would(world: BackendWorld) -> None:
    request = world.request(msgspec.structs.replace(world.container("main"), image="UPPER CASE"))
    await world.backend.create_instance(request)
    waiting = await world.until_instance(
        request.uid, lambda i: container_status(i, "main").state.reason == "InvalidImageName"
    )
    assert waiting.phase is InstancePhase.PENDING
    assert [n.message for n in world.notices(request.uid)][-1] == "Error: InvalidImageName"
    await world.backend.delete_instance(request.uid, 30)
    assert (await world.until_instance(request.uid, released)).phase is InstancePhase.FAILED


# ---------------------------------------------------------------- creation


async def test_a_creation_repeated_is_the_same_instance(world: BackendWorld) -> None:
    files = FilesVolume("token", (FileEntry("token", b"one"),))
    request = world.request(volumes=(files,))
    first = await world.backend.create_instance(request)
    rotated = msgspec.structs.replace(request, volumes=(FilesVolume("token", (FileEntry("token", b"two"),)),))
    again = await world.backend.create_instance(rotated)
    assert (again.id, again.created_at) == (first.id, first.created_at)
    error = await refusal(world.backend.create_instance(msgspec.structs.replace(request, cpu=7)))
    assert error.code is CloudCode.TOKEN_CONFLICT
    assert len([one for one in await world.backend.describe_instances() if one.uid == request.uid]) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"zone": ZoneId("nowhere")}, CloudCode.ZONE_NOT_ON_SALE),
        ({"vswitches": (VSwitchId("foreign"),)}, CloudCode.INVALID_PARAMETER),
        ({"cpu": 5_000}, CloudCode.NO_STOCK),
        ({"memory": 8 << 30}, CloudCode.NO_STOCK),
        ({"cpu": -1}, CloudCode.INVALID_PARAMETER),
        ({"market": Market.SPOT}, CloudCode.UNSUPPORTED),
        ({"containers": ()}, CloudCode.INVALID_PARAMETER),
        ({"volumes": (EmptyDirVolume("twice"), EmptyDirVolume("twice"))}, CloudCode.INVALID_PARAMETER),
    ],
)
async def test_what_can_never_be_is_refused_and_uses_nothing_up(
    world: BackendWorld, fields: dict[str, object], code: CloudCode
) -> None:
    good = world.request(seconds=0)
    bad = msgspec.structs.replace(good, **fields)
    error = await refusal(world.backend.create_instance(bad))
    assert (error.code, error.retry_after) == (code, None)
    assert error.message
    assert await world.backend.describe_instances() == []
    assert (await world.backend.create_instance(good)).uid == good.uid


async def test_a_mount_without_a_volume_is_refused(world: BackendWorld) -> None:
    container = world.container("main", mounts=(VolumeMount("missing", "/x"),))
    error = await refusal(world.backend.create_instance(world.request(container)))
    assert (error.code, error.message) == (
        CloudCode.INVALID_PARAMETER,
        "containers[0].mounts: there is no volume missing",
    )


# ---------------------------------------------------------------- waiting


async def test_who_finds_no_stock_waits_in_order_and_is_woken_by_a_release(world: BackendWorld) -> None:
    holder, large, small = world.request(cpu=3_000), world.request(cpu=2_000), world.request(cpu=1_500)
    for request in (holder, large, small):
        await world.backend.create_instance(request)
    waiting = await world.until_instance(small.uid, lambda i: bool(i.message))
    assert (waiting.phase, waiting.reason) == (InstancePhase.SCHEDULING, "OperationDenied.NoStock")
    waiting = await world.until_instance(large.uid, lambda i: bool(i.message))
    assert waiting.message == "zone zone-a has not enough cpu"
    assert waiting.placed_at is None
    assert [notice.reason for notice in world.notices(large.uid)] == ["NoStock"]
    (zone,) = await world.backend.describe_zones()
    assert (zone.cpu_used, zone.instances, zone.waiting) == (3_000, 1, 2)
    await world.until_instance(holder.uid, running)
    await world.backend.delete_instance(holder.uid, 0)
    served = [await world.until_instance(request.uid, running) for request in (large, small)]
    assert [(one.reason, one.message) for one in served] == [("", "")] * 2
    assert served[0].placed_at <= served[1].placed_at  # type: ignore[operator]


async def test_an_instance_that_waits_can_be_deleted(world: BackendWorld) -> None:
    holder, waiter = world.request(cpu=4_000), world.request(cpu=4_000)
    await world.backend.create_instance(holder)
    await world.backend.create_instance(waiter)
    await world.until_instance(waiter.uid, lambda i: bool(i.reason))
    await world.backend.delete_instance(waiter.uid, 30)
    ended = await world.until_instance(waiter.uid, released)
    assert (ended.phase, ended.address) == (InstancePhase.FAILED, None)
    (zone,) = await world.backend.describe_zones()
    assert (zone.instances, zone.waiting) == (1, 0)


async def test_an_exhausted_vswitch_falls_over_to_the_next_and_waits_only_without_one(world: BackendWorld) -> None:
    small, large = (vswitch.id for vswitch in world.below.zone.vswitches)
    fill = [world.request(vswitches=(small,)) for _ in range(4)]
    for request in fill:
        await world.backend.create_instance(request)
    placed = [await world.until_instance(request.uid, lambda i: i.address is not None) for request in fill]
    assert {one.vswitch for one in placed} == {small}
    assert len({one.address for one in placed}) == 4
    both, only = world.request(vswitches=(small, large)), world.request(vswitches=(small,))
    await world.backend.create_instance(only)
    await world.backend.create_instance(both)
    assert (await world.until_instance(both.uid, running)).vswitch == large
    waiting = await world.until_instance(only.uid, lambda i: bool(i.reason))
    assert (waiting.phase, waiting.reason) == (InstancePhase.SCHEDULING, "InvalidVSwitchId.IpNotEnough")
    assert [notice.reason for notice in world.notices(only.uid)] == ["FailedScheduling"]
    await world.until_instance(fill[0].uid, running)
    await world.backend.delete_instance(fill[0].uid, 0)
    served = await world.until_instance(only.uid, running)
    assert served.address == placed[0].address


# ---------------------------------------------------------------- deletion


async def test_a_deletion_stops_gracefully_and_may_be_repeated(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    first = await world.backend.delete_instance(request.uid, 20)
    assert (first.grace, first.deletion_requested_at is not None) == (20, True)
    again = await world.backend.delete_instance(request.uid, 60)
    assert (again.grace, again.deletion_requested_at) == (20, first.deletion_requested_at)
    ended = await world.until_instance(request.uid, released)
    assert container_status(ended, "main").state.exit_code == 143
    assert ended.phase is InstancePhase.FAILED
    assert ("Killing", "Stopping container main") in [(n.reason, n.message) for n in world.notices(request.uid)]
    assert await world.backend.delete_instance(request.uid, 0) == ended


async def test_only_what_was_released_can_be_forgotten(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    error = await refusal(world.backend.forget_instance(request.uid))
    assert error.code is CloudCode.INCORRECT_STATUS
    await world.backend.forget_instance(UNKNOWN)


async def test_a_deletion_right_after_the_creation_leaves_nothing(world: BackendWorld) -> None:
    requests = [world.request() for _ in range(8)]
    for request in requests:
        await world.backend.create_instance(request)
    for request in requests:
        await world.backend.delete_instance(request.uid, 1)
    for request in requests:
        await world.until_instance(request.uid, released)
    (zone,) = await world.backend.describe_zones()
    assert (zone.instances, [vswitch.used for vswitch in zone.vswitches]) == (0, [0, 0])
    for seen in await world.below.runtime.relist():
        assert not seen.sandbox_exists
        assert not any(one.running for one in seen.containers)
