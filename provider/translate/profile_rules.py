"""What a profile's cloud refuses, whatever the size: too many containers or volumes, features that it has not. Pure.

It looks at the raw pod, because a field that is not supported by any profile has no place in the typed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provider.model.errors import Rejection
from provider.translate.host_daemons import daemon_set_of, host_wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.model.profile import Profile

Json = dict[str, Any]


def check_rules(raw: Json, profile: Profile) -> None:
    """Raise Rejection for the first thing that the profile's cloud does not take, with its code and the field."""
    for feature, path in _features(raw):
        if feature in profile.unsupported:
            raise _rejection(profile, "feature", f"{path}: {feature} is not supported by profile {profile.name}", path)
    spec = raw.get("spec") or {}
    containers = len(spec.get("containers") or ()) + len(spec.get("initContainers") or ())
    volumes = len(spec.get("volumes") or ())
    for what, count, most in (
        ("containers", containers, profile.limits.containers),
        ("volumes", volumes, profile.limits.volumes),
    ):
        if most is not None and count > most:
            text = f"spec.{what}: {count} {what}, and an instance of profile {profile.name} has at most {most}"
            raise _rejection(profile, what, text, f"spec.{what}")


def _features(raw: Json) -> Iterator[tuple[str, str]]:
    """Yield (feature, path of the field) for all that the pod asks for, of what a profile may not support."""
    daemon_set = daemon_set_of(raw)
    if daemon_set:
        yield "daemonSet", f"metadata.ownerReferences: DaemonSet {daemon_set}"
    for wish in host_wishes(raw.get("spec") or {}):
        path = wish.partition(" ")[0]
        yield path.rpartition(".")[2], path


def _rejection(profile: Profile, what: str, text: str, field: str) -> Rejection:
    code = profile.code(what)
    return Rejection(profile.reason, f"{code}: {text}" if code else text, field=field)
