"""One attempt of a container as a runtime sees it: what the runtime reports and the instance machine takes."""

from __future__ import annotations

from msgspec import Struct


class SeenContainer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt as the runtime sees it. Not running and not exited: created only (`running` and `exited` False)."""

    name: str
    attempt: int
    container_id: str
    """`<runtime>://<its ID>`."""
    running: bool = False
    exited: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    """why it never started, as the engine says it."""
    message: str = ""
    """termination message, read when it has exited (file, or tail of the log by policy), at most 4096 bytes."""
    image: str = ""
    image_id: str = ""
