"""What the instance machine wants done, as values. Pure. Each is idempotent; its outcome comes back as an event."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from provider.cloud.instances.events import HookKind, ProbeKind


class Place(Struct, frozen=True):
    """Take stock and an address -> Placed; Faulted(PLACE) with the reason while it waits in the zone's queue."""


class CreateSandbox(Struct, frozen=True, omit_defaults=True):
    """Make the pause container -> SandboxReady, or Faulted(SANDBOX). `renew`: first remove one that has died."""

    renew: bool = False


class EnsureImage(Struct, frozen=True):
    """Have the container's image -> ImageReady, or Faulted(IMAGE)."""

    container: str


class StartContainer(Struct, frozen=True):
    """Start one attempt -> Observed, or Faulted(START)."""

    container: str
    attempt: int
    image_id: str


class StopContainer(Struct, frozen=True):
    """SIGTERM, after `grace` seconds SIGKILL -> Observed. Again with less grace: hasten."""

    container: str
    attempt: int
    grace: float


class RemoveAttempt(Struct, frozen=True):
    """Remove an old ended attempt; nothing comes back."""

    container: str
    attempt: int


class RunProbe(Struct, frozen=True):
    """Run a probe once -> Probed."""

    container: str
    attempt: int
    kind: ProbeKind


class RunHook(Struct, frozen=True):
    """Run a hook once -> HookEnded."""

    container: str
    attempt: int
    kind: HookKind


class ReleaseSandbox(Struct, frozen=True):
    """Remove the sandbox, give address and stock back -> Released, or Faulted(RELEASE)."""


class Tell(Struct, frozen=True, omit_defaults=True):
    """Tell the user (a Notice); nothing comes back."""

    reason: str
    message: str
    container: str = ""
    warning: bool = False


Instruction: TypeAlias = (
    Place
    | CreateSandbox
    | EnsureImage
    | StartContainer
    | StopContainer
    | RemoveAttempt
    | RunProbe
    | RunHook
    | ReleaseSandbox
    | Tell
)
