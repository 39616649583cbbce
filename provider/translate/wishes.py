"""What a pod's annotations and labels ask of the cloud, as its profile knows them. Pure.

A value that the profile does not allow is no wish: it is left out, and told with the key and the allowed values. So is
a key under the cloud's own prefixes that the profile does not know, and one that it knows and nothing here acts on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.model.pod import Metadata
    from provider.model.profile import KnownKey, Profile

UNKNOWN = "UnknownAnnotation"
"""Reason of the event about a key or a value that the profile does not know."""
INVALID = "InvalidAnnotation"
NOT_ACTED_ON = "AnnotationNotActedOn"


class Told(Struct, frozen=True):
    """Something to tell the user as a Warning event: reason and message."""

    reason: str
    message: str


class Wishes(Struct, frozen=True):
    """What is asked for, by its meaning (`model.profile.MEANINGS`), and what is to be told about the rest."""

    values: dict[str, str]
    told: tuple[Told, ...] = ()


def wishes(meta: Metadata, profile: Profile) -> Wishes:
    """Return what a pod asks for under the keys of the profile."""
    values: dict[str, str] = {}
    told: list[Told] = []
    known = {key.key: key for key in profile.keys}
    for label, texts in ((False, meta.annotations or {}), (True, meta.labels or {})):
        for name, value in sorted(texts.items()):
            key = known.get(name)
            if key is None:
                told += _unknown(name, profile)
            elif key.written:
                continue  # the cloud's own, perhaps on a copy of a pod that has run
            elif key.label is not label:
                there = "a label" if key.label else "an annotation"
                told.append(Told(INVALID, f"{name}: has no effect here, profile {profile.name} reads it as {there}"))
            elif not _allows(key, value):
                told.append(Told(INVALID, f"{name}: {value!r} is not allowed; allowed: {allowed(key)}"))
            elif key.means:
                values[key.means] = value
            else:
                told.append(Told(NOT_ACTED_ON, f"{name}: profile {profile.name} knows it, nothing here acts on it"))
    return Wishes(values, tuple(told))


def allowed(key: KnownKey) -> str:
    """Say in words what a key's value may be."""
    return ", ".join(key.values) or key.allowed or "any text"


def _allows(key: KnownKey, value: str) -> bool:
    if key.values:
        return value in key.values
    return not key.pattern or re.fullmatch(key.pattern, value) is not None


def _unknown(name: str, profile: Profile) -> Iterator[Told]:
    if name.startswith(profile.prefixes):
        keys = ", ".join(key.key for key in profile.keys if not key.written)
        yield Told(UNKNOWN, f"{name}: profile {profile.name} does not know it; it knows: {keys}")
