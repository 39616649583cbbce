"""One test per row of the table in states.py."""

from typing import Any

import pytest

from provider.cloud.runtime.base import SeenContainer
from provider.cloud.runtime.docker_engine.labels import ContainerLabels
from provider.cloud.runtime.docker_engine.states import engine_time, seen_container
from provider.model.ids import PodUid, ZoneId

NEVER = "0001-01-01T00:00:00Z"
START = "2023-11-14T22:13:20.5Z"
END = "2023-11-14T22:13:30.123456789Z"
LABELS = ContainerLabels(uid=PodUid("u-1"), zone=ZoneId("zone-a"), container="main", attempt=2, image="busybox:1")


def see(status: str, *, started: str = NEVER, finished: str = NEVER, message: str = "", **state: Any) -> SeenContainer:
    inspected = {
        "Id": "abc",
        "Image": "sha256:1",
        "State": {
            "Status": status,
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": started,
            "FinishedAt": finished,
            **state,
        },
    }
    return seen_container(inspected, LABELS, message)


def test_created_is_neither_running_nor_exited() -> None:
    seen = see("created")
    assert (seen.running, seen.exited, seen.started_at, seen.finished_at) == (False, False, None, None)
    assert (seen.name, seen.attempt, seen.container_id, seen.image) == ("main", 2, "docker://abc", "busybox:1")
    assert seen.image_id == "sha256:1"


@pytest.mark.parametrize("code", [126, 127, 128])
def test_a_container_that_could_not_start_ended_with_128(code: int) -> None:
    seen = see("created", ExitCode=code, Error="exec: no such file", message="stale")
    assert (seen.running, seen.exited, seen.exit_code) == (False, True, 128)
    assert (seen.started_at, seen.finished_at) == (None, None)
    assert (seen.error, seen.message) == ("exec: no such file", "")


@pytest.mark.parametrize("status", ["running", "paused"])
def test_running(status: str) -> None:
    seen = see(status, started=START)
    assert (seen.running, seen.exited, seen.started_at, seen.finished_at) == (True, False, 1_700_000_000.5, None)


def test_a_restarted_container_that_runs_has_no_old_end() -> None:
    seen = see("running", started=START, finished=END, ExitCode=3)
    assert (seen.finished_at, seen.exit_code) == (None, 0)


@pytest.mark.parametrize("status", ["exited", "dead", "restarting", "removing"])
def test_ended(status: str) -> None:
    seen = see(status, started=START, finished=END, ExitCode=143, message="bye")
    assert (seen.running, seen.exited, seen.exit_code, seen.oom_killed) == (False, True, 143, False)
    assert seen.finished_at == pytest.approx(1_700_000_010.123456789)
    assert seen.message == "bye"


@pytest.mark.parametrize("status", ["restarting", "removing"])
def test_in_passing_without_an_end(status: str) -> None:
    seen = see(status)
    assert (seen.running, seen.exited) == (False, False)


def test_killed_for_memory() -> None:
    seen = see("exited", started=START, finished=END, ExitCode=137, OOMKilled=True)
    assert (seen.exit_code, seen.oom_killed) == (137, True)


def test_time_with_an_offset() -> None:
    assert engine_time("2023-11-15T06:13:20+08:00") == 1_700_000_000


def test_time_that_is_none() -> None:
    with pytest.raises(ValueError, match="not a time"):
        engine_time("yesterday")
