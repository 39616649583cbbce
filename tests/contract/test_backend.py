"""What every ElasticBackend does, over every runtime: one suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.model.errors import CloudCode, CloudError
from provider.model.instance import (
    ContainerPhase,
    Instance,
    InstancePhase,
)

if TYPE_CHECKING:
    from tests.contract.conftest import BackendWorld


def released(instance: Instance) -> bool:
    return instance.released


def running(instance: Instance) -> bool:
    return instance.phase is InstancePhase.RUNNING


async def refused(awaitable: object) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize(("code", "phase"), [(0, InstancePhase.SUCCEEDED), (3, InstancePhase.FAILED)])
async def test_a_job_runs_once_and_gives_all_back(world: BackendWorld, code: int, phase: InstancePhase) -> None:
    request = world.request(seconds=0.3, code=code)
    accepted = await world.backend.create_instance(request)
    assert (accepted.uid, accepted.name, accepted.namespace) == (request.uid, request.name, "contract")
    assert accepted.id.startswith("eci-")
    ended = await world.until_instance(request.uid, released)
    assert ended.phase is phase
    (main,) = ended.containers
    assert (main.state.phase, main.state.exit_code) == (ContainerPhase.TERMINATED, code)
    assert main.state.reason == ("Completed" if code == 0 else "Error")
    assert main.state.started_at is not None
    assert main.state.finished_at is not None
    assert main.state.started_at <= main.state.finished_at
    assert "://" in main.state.container_id or main.state.container_id
    assert ended.address is not None
    (zone,) = await world.backend.describe_zones()
    assert (zone.cpu_used, zone.instances, zone.vswitches[0].used) == (0, 0, 0)
    assert [n.reason for n in world.notices(request.uid)][-3:] == ["Pulled", "Created", "Started"]
    assert await world.backend.describe_instance(request.uid) == ended
    await world.backend.forget_instance(request.uid)
    await world.until(lambda: world.gone(request.uid))
    await world.backend.forget_instance(request.uid)
    assert (await refused(world.backend.describe_instance(request.uid))).code is CloudCode.NOT_FOUND
    assert (await refused(world.backend.create_instance(request))).code is CloudCode.TOKEN_CONFLICT
