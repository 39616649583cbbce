from __future__ import annotations

from typing import TYPE_CHECKING

import aiodocker.docker
import pytest
from aiohttp import web

from provider.clock import SystemClock
from provider.cluster.engine_removal import remove_from_engine
from provider.cluster.installation import Installation, Record
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41"}
INFO = {"CgroupDriver": "cgroupfs", "NCPU": 2, "MemTotal": 2**30, "SystemTime": "2026-01-01T00:00:00Z"}


async def _answer(request: web.Request) -> web.Response:
    """Answer as an engine that has nothing of the installation."""
    kind = request.path.rpartition("/")[2]
    return web.json_response({"version": VERSION, "info": INFO}.get(kind, []))


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "engine.sock")).start()
    made = Installation("updown-unit", tmp_path / "state", SystemClock())
    made.write_record(Record("local", engine=f"unix://{tmp_path}/engine.sock"))
    yield made
    await runner.cleanup()


async def test_what_is_left_on_the_host_is_not_told_as_an_engine_that_is_away(installation: Installation) -> None:
    instances = installation.state / "instances"
    for name in ("uid-1", "uid-2"):
        (instances / name / "volumes").mkdir(parents=True)
    (instances / "uid-0").touch()
    (instances / ".nobody").mkdir()
    with pytest.raises(SetupError) as failed:
        await remove_from_engine(installation)
    assert failed.value.what == "a part of updown-unit is left on this host"
    assert f"{instances / 'uid-0'}: " in failed.value.why
    assert f"{instances / '.nobody'}: " in failed.value.why
    assert "zonelet down --name updown-unit" in failed.value.next_step
    assert sorted(each.name for each in instances.iterdir()) == [".nobody", "uid-0"]


async def test_a_machine_without_an_engine_is_told_so(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.write_record(Record("local"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(aiodocker.docker, "_sock_search_paths", [])
    with pytest.raises(SetupError) as failed:
        await remove_from_engine(installation)
    assert "no Docker engine answers" in failed.value.what
    assert "no local socket" in failed.value.why
