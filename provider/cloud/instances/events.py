"""What can happen to an instance, as values: the input of the instance machine. Pure. Times come with `handle`."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from provider.cloud.capacity.ledger import Size
from provider.model.attempt import SeenContainer
from provider.model.ids import VSwitchId


class ProbeKind(StrEnum):
    """Which of a container's probes."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Outcome(StrEnum):
    """How a probe went. WARNING counts as success; ERRORED (it could not be run) counts as nothing."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    ERRORED = "errored"


class HookKind(StrEnum):
    """Which of a container's hooks."""

    POST_START = "PostStart"
    PRE_STOP = "PreStop"


class Stage(StrEnum):
    """Which act failed."""

    PLACE = "place"
    SANDBOX = "sandbox"
    IMAGE = "image"
    START = "start"
    RELEASE = "release"


class Placed(Struct, frozen=True):
    """Stock and an address are taken. `size`: what was sold, of the sizes that were asked for; None: the first."""

    vswitch: VSwitchId
    address: str
    size: Size | None = None


class SandboxReady(Struct, frozen=True):
    """The pause container runs."""


class ImageReady(Struct, frozen=True, omit_defaults=True):
    """The image is local; `digest` is what status.imageID shows."""

    container: str
    image_id: str
    digest: str


class Faulted(Struct, frozen=True, omit_defaults=True):
    """An act failed. `reason` is the runtime's FaultKind or the cloud's code; `retry_after` in seconds.

    `retry_after` infinite: nothing has to be asked again, another event will tell (an instance in the queue for stock).
    """

    stage: Stage
    reason: str
    message: str
    container: str = ""
    retry_after: float = 5


class Abandoned(Struct, frozen=True, omit_defaults=True):
    """An act that was asked for and has not begun never will: the instance ends. Empty container: the sandbox."""

    container: str = ""


class Observed(Struct, frozen=True):
    """What the runtime has; `complete`: an attempt that is not named is not there."""

    attempts: tuple[SeenContainer, ...]
    complete: bool = True


class SandboxLost(Struct, frozen=True):
    """The pause container is gone or has ended, though nobody released it: network and IPC died with it."""


class Probed(Struct, frozen=True, omit_defaults=True):
    """A probe's result; `message` is its output, or why it could not be run."""

    container: str
    attempt: int
    kind: ProbeKind
    outcome: Outcome
    message: str = ""


class HookEnded(Struct, frozen=True, omit_defaults=True):
    """A hook has ended; `error` says how it failed, empty: it did not."""

    container: str
    attempt: int
    kind: HookKind
    error: str = ""


class DeleteRequested(Struct, frozen=True):
    """DeleteContainerGroup; seconds between SIGTERM and SIGKILL. Repeated, it can only hasten the end."""

    grace: float


class Evicted(Struct, frozen=True):
    """The instance takes more of something than it may; `message` says of what."""

    message: str


class Released(Struct, frozen=True):
    """The sandbox is gone; address and stock are free."""


class Tick(Struct, frozen=True):
    """The time that `wake_at` named has come; harmless at any other time."""


Event: TypeAlias = (
    Placed
    | SandboxReady
    | SandboxLost
    | ImageReady
    | Faulted
    | Abandoned
    | Observed
    | Probed
    | HookEnded
    | DeleteRequested
    | Evicted
    | Released
    | Tick
)
