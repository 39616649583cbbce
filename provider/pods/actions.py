"""What one look at a pod and its instance asks for: values, carried out by `executor`. Pure."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

Json = dict[str, Any]


class CreateInstance(Struct, frozen=True):
    """Admit the pod, fetch what it refers to, and ask the cloud for its instance."""


class DeleteInstance(Struct, frozen=True):
    """Begin, or hasten, the end of the instance; seconds between SIGTERM and SIGKILL."""

    grace: float


class SetDeadline(Struct, frozen=True):
    """Let the instance end so many seconds after its placement, other than it was asked for before."""

    active_deadline: float


class ForgetInstance(Struct, frozen=True):
    """Remove what is left of a released instance: logs, volumes, the record."""


class WriteStatus(Struct, frozen=True):
    """Make pods/status equal to `status`; urgent ones (Ready, terminal) go before the others."""

    status: Json
    urgent: bool


class RemovePod(Struct, frozen=True):
    """Take the terminating pod out of the API server: grace 0, only if its UID still is ours."""


class ConfirmAbsent(Struct, frozen=True):
    """Ask the API server itself whether the pod of an instance is gone, before the instance is touched."""


class TryAgain(Struct, frozen=True):
    """Look again at `at` (seconds since the epoch)."""

    at: float


PodAction: TypeAlias = (
    CreateInstance | DeleteInstance | SetDeadline | ForgetInstance | WriteStatus | RemovePod | ConfirmAbsent | TryAgain
)
