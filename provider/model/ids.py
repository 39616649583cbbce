"""Names of things, as types of their own, so that a zone is never passed for a pod."""

from __future__ import annotations

from typing import NewType

PodUid = NewType("PodUid", str)
"""metadata.uid of the pod; the identity of its instance everywhere, and the client token of its creation."""

InstanceId = NewType("InstanceId", str)
"""The cloud's own name of an instance, `eci-` and 20 characters of [0-9a-z]; a function of the UID."""

ZoneId = NewType("ZoneId", str)
"""A zone's name as the config writes it, for example `zone-a` or `cn-beijing-h`."""

VSwitchId = NewType("VSwitchId", str)
"""A vSwitch's name, for example `vsw-zone-a-0`."""
