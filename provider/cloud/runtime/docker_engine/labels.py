"""Labels on the engine's objects: what is fixed at creation, enough to recover an instance without a record.

All begin with `dev.zonelet.`; `installation` alone says whose an object is, and is what relist and events filter by.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.model.ids import PodUid, VSwitchId, ZoneId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.cloud.runtime.base import RunSpec, SandboxSpec

PREFIX = "dev.zonelet."
INSTALLATION = PREFIX + "installation"
_ROLE = PREFIX + "role"
_UID = PREFIX + "uid"
_ZONE = PREFIX + "zone"
_VSWITCH = PREFIX + "vswitch"
_ADDRESS = PREFIX + "address"
_CONTAINER = PREFIX + "container"
_ATTEMPT = PREFIX + "attempt"
_IMAGE = PREFIX + "image"
_FALLBACK = PREFIX + "termination-fallback"
_TAG = PREFIX + "tag."
NODE_ADDRESS = PREFIX + "node-address"
"""on a zone's router and networks: the node's InternalIP, so that it outlives the router"""
FINGERPRINT = PREFIX + "fingerprint"
"""hash of what a router was made from"""


class Role(StrEnum):
    """What an engine's object is for."""

    SANDBOX = "sandbox"
    CONTAINER = "container"
    GATEWAY = "gateway"
    NETWORK = "network"


class SandboxLabels(Struct, frozen=True, kw_only=True):
    """What a pause container's labels say."""

    uid: PodUid
    zone: ZoneId
    vswitch: VSwitchId
    address: str
    tags: tuple[tuple[str, str], ...] = ()


class ContainerLabels(Struct, frozen=True, kw_only=True):
    """What the labels of one attempt of a container say; `image` is the name that the request used."""

    uid: PodUid
    zone: ZoneId
    container: str
    attempt: int
    image: str
    fallback_to_logs: bool = False


def encode_sandbox(installation: str, spec: SandboxSpec) -> dict[str, str]:
    """Return the labels of a pause container."""
    return {
        INSTALLATION: installation,
        _ROLE: Role.SANDBOX,
        _UID: spec.uid,
        _ZONE: spec.zone,
        _VSWITCH: spec.vswitch,
        _ADDRESS: spec.address,
        **{_TAG + key: value for key, value in spec.labels},
    }


def encode_container(installation: str, spec: RunSpec) -> dict[str, str]:
    """Return the labels of one attempt of a container."""
    return {
        INSTALLATION: installation,
        _ROLE: Role.CONTAINER,
        _UID: spec.uid,
        _ZONE: spec.zone,
        _CONTAINER: spec.container.name,
        _ATTEMPT: str(spec.attempt),
        _IMAGE: spec.container.image,
        _FALLBACK: "1" if spec.container.termination_fallback_to_logs else "0",
    }


def encode_zone(installation: str, role: Role, zone: ZoneId, address: str = "") -> dict[str, str]:
    """Return the labels of a gateway or of a network of a zone; `address` is the node's InternalIP."""
    labels = {INSTALLATION: installation, _ROLE: role, _ZONE: zone}
    return labels | {NODE_ADDRESS: address} if address else labels


def encode_cluster_network(installation: str) -> dict[str, str]:
    """Return the labels of the cluster's network: it is of no zone."""
    return {INSTALLATION: installation, _ROLE: Role.NETWORK}


def with_role(role: Role) -> dict[str, str]:
    """Return the label that every object of this role has, for a filter."""
    return {_ROLE: role}


def zone_label(labels: Mapping[str, str]) -> ZoneId | None:
    """Return the zone of a gateway or network, None for one that belongs to no zone."""
    zone = labels.get(_ZONE)
    return None if zone is None else ZoneId(zone)


def decode(labels: Mapping[str, str], installation: str) -> SandboxLabels | ContainerLabels | None:
    """Return what the labels say, None for an object of somebody else or one that belongs to no instance.

    ValueError for labels of this installation that miss a part: such an object must not be taken for nothing.
    """
    role = labels.get(_ROLE)
    if labels.get(INSTALLATION) != installation or role not in (Role.SANDBOX, Role.CONTAINER):
        return None
    try:
        uid, zone = PodUid(labels[_UID]), ZoneId(labels[_ZONE])
        if role == Role.SANDBOX:
            return SandboxLabels(
                uid=uid,
                zone=zone,
                vswitch=VSwitchId(labels[_VSWITCH]),
                address=labels[_ADDRESS],
                tags=tuple((key.removeprefix(_TAG), labels[key]) for key in sorted(labels) if key.startswith(_TAG)),
            )
        return ContainerLabels(
            uid=uid,
            zone=zone,
            container=labels[_CONTAINER],
            attempt=int(labels[_ATTEMPT]),
            image=labels[_IMAGE],
            fallback_to_logs=labels[_FALLBACK] == "1",
        )
    except KeyError as error:
        raise ValueError(f"a {role} of installation {installation} has no label {error}") from error


def uid_label(uid: PodUid) -> dict[str, str]:
    """Return the label that every container of an instance has, for a filter."""
    return {_UID: uid}


def uid_of(labels: Mapping[str, str]) -> PodUid | None:
    """Return the instance that an engine's object belongs to, None if to none."""
    uid = labels.get(_UID)
    return None if uid is None else PodUid(uid)
