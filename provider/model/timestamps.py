"""Times as Kubernetes writes them (metav1.Time: RFC 3339, UTC, whole seconds), and as this project holds them."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = "1970-01-01T00:00:00Z"


def rfc3339(seconds: float) -> str:
    """Return seconds since the Unix epoch as metav1.Time writes them; a part of a second is cut off."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    """Return a metav1.Time or MicroTime as seconds since the Unix epoch. Raises ValueError for another text."""
    return datetime.fromisoformat(text).timestamp()
