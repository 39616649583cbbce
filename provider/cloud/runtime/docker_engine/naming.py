"""Names of what the runtime makes in the engine: a function of installation, instance, container and attempt.

The engine refuses a second container of the same name, so an act repeated after a crash finds what it made before.
A Docker name matches `[a-zA-Z0-9][a-zA-Z0-9_.-]+`; the parts of a name are joined by `_`, which no part may contain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.model.ids import PodUid, VSwitchId, ZoneId

_PART = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*")


def sandbox_name(installation: str, uid: PodUid) -> str:
    """Return the name of an instance's pause container. ValueError for a part that Docker would refuse."""
    return _joined(f"{installation}-sandbox", uid)


def container_name(installation: str, uid: PodUid, container: str, attempt: int) -> str:
    """Return the name of one attempt (0, 1, ...) of a container. ValueError for a part that Docker would refuse."""
    if attempt < 0:
        raise ValueError(f"attempt must not be negative, got {attempt}")
    return _joined(f"{installation}-c", container, uid, str(attempt))


def cluster_network_name(installation: str) -> str:
    """Return the name of the network that joins the zones' gateways, the host and the API server."""
    return _joined(f"{installation}-cluster")


def vswitch_network_name(installation: str, zone: ZoneId, vswitch: VSwitchId) -> str:
    """Return the name of a vSwitch's network; the zone is in it, for a vSwitch name is only unique in its zone."""
    return _joined(f"{installation}-vsw", zone, vswitch)


def gateway_name(installation: str, zone: ZoneId) -> str:
    """Return the name of a zone's router."""
    return _joined(f"{installation}-gateway", zone)


def _joined(*parts: str) -> str:
    for part in parts:
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r} cannot be part of a Docker name: letters, digits, '.' and '-' only")
    return "_".join(parts)
