"""The table from Docker's container state to what the supervisor sees (`GET /containers/{id}/json`, API 1.41).

    Docker                                       seen as
    created, no error                            neither running nor exited
    created, with an error, exit code 126..128   exited, 128, never started (kubelet: StartError)
    running, paused                              running
    restarting, removing                         what its times say: ended if it has an end, else not started
    exited, dead                                 exited with the code, times and OOM flag that Docker gives

A container that could not start is `created` with exit code 127 (no such file) or 126 (not executable); containerd
and so the stock kubelet show 128. The times are then left out: Docker writes year 1 for "never".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.base import SeenContainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.cloud.runtime.docker_engine.labels import ContainerLabels

START_ERROR_EXIT_CODE = 128
SCHEME = "docker://"
"""What Kubernetes wants before the ID in `containerID`: the runtime's name."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def seen_container(inspected: Mapping[str, Any], labels: ContainerLabels, message: str = "") -> SeenContainer:
    """Return what an inspect answer says of one attempt; `message` is its termination message, read elsewhere."""
    state = inspected["State"]
    started, finished = engine_time(state["StartedAt"]), engine_time(state["FinishedAt"])
    error = str(state.get("Error") or "")
    status = state["Status"]
    running = status in ("running", "paused")
    never_started = not running and started is None and bool(error)
    exited = never_started or status in ("exited", "dead") or (status in ("restarting", "removing") and bool(finished))
    ended_normally = exited and not never_started
    return SeenContainer(
        name=labels.container,
        attempt=labels.attempt,
        container_id=SCHEME + inspected["Id"],
        running=running,
        exited=exited,
        started_at=started,
        finished_at=finished if ended_normally else None,
        exit_code=START_ERROR_EXIT_CODE if never_started else int(state["ExitCode"]) if exited else 0,
        oom_killed=ended_normally and bool(state.get("OOMKilled")),
        error=error,
        message=message if ended_normally else "",
        image=labels.image,
        image_id=inspected["Image"],
    )


def engine_time(text: str) -> float | None:
    """Return seconds since the epoch of Docker's RFC 3339 time with nanoseconds; None for its zero time (year 1)."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time as Docker writes it: {text!r}")
    whole, fraction, zone = match.groups()
    if whole.startswith("0001-"):
        return None
    seconds = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone)).astimezone(UTC).timestamp()
    return seconds + float(fraction or 0)
