"""Where a container of an instance stands, and how far its stop is. Pure."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """Where a container stands; in PULLING, STARTING and GREETING an instruction is under way.

    DOUBTFUL: the engine went away while the attempt was being started; only a look can tell whether it runs.
    GREETING: the attempt runs, its postStart hook too; to others it is not running yet.
    """

    IDLE = "idle"
    PULLING = "pulling"
    PULLED = "pulled"
    STARTING = "starting"
    DOUBTFUL = "doubtful"
    GREETING = "greeting"
    RUNNING = "running"
    DONE = "done"


class Farewell(StrEnum):
    """How far the stop of an attempt is: nothing, its preStop hook runs, the hook is over, the signal is sent."""

    NONE = "none"
    HOOK = "hook"
    READY = "ready"
    SIGNALLED = "signalled"


BUSY = frozenset({Step.STARTING, Step.DOUBTFUL, Step.GREETING, Step.RUNNING})
"""Something runs, or may be about to."""
RUNS = frozenset({Step.GREETING, Step.RUNNING})
