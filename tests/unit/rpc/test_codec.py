"""The rule of codec.py: what breaks it is told when the codec is made, what cannot cross is told with its path."""

from enum import StrEnum
from typing import Any

import pytest
from msgspec import Struct

from provider.model.capacity import Redirect, VSwitch, Zone
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.probe import ExecAction, Probe, TcpAction
from provider.model.request import ContainerSpec, InstanceRequest, SecurityContext
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume
from provider.rpc import convert
from provider.rpc.codec import Codec, WireError
from provider.rpc.gen.elastic.v1 import group_pb2, spec_pb2, zone_pb2


def request(**changes: Any) -> InstanceRequest:
    containers = (ContainerSpec(name="main", image="busybox"),)
    wanted: dict[str, Any] = {"uid": PodUid("u1"), "zone": ZoneId("a"), "name": "pod", "namespace": "ns"}
    return InstanceRequest(**{"containers": containers, **wanted, **changes})


class WithNewField(Struct, frozen=True):
    name: str
    memory: bool = False
    size_limit: int | None = None
    brand_new: str = ""


class WithoutField(Struct, frozen=True):
    name: str
    memory: bool = False


class MayBeNone(Struct, frozen=True):
    name: str | None
    memory: bool = False
    size_limit: int | None = None


class OtherDefault(Struct, frozen=True):
    name: str = "scratch"
    memory: bool = False
    size_limit: int | None = None


class OtherType(Struct, frozen=True):
    name: bytes
    memory: bool = False
    size_limit: int | None = None


class OneOfMany(Struct, frozen=True):
    name: tuple[str, ...]
    memory: bool = False
    size_limit: int | None = None


class Policy(StrEnum):
    ALWAYS = "Always"


class FewMembers(Struct, frozen=True):
    name: str
    value: Policy


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (WithNewField, r"only one of WithNewField and elastic.v1.EmptyDirVolume has \['brand_new'\]"),
        (WithoutField, r"only one of WithoutField and elastic.v1.EmptyDirVolume has \['size_limit'\]"),
        (MayBeNone, "name may be None and needs presence"),
        (OtherDefault, "name has the default 'scratch' and needs presence"),
        (OtherType, "name does not fit"),
        (OneOfMany, "name has to be repeated"),
        (int, "does not fit"),
    ],
)
def test_a_struct_that_its_message_does_not_fit_is_refused_when_the_codec_is_made(kind: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Codec(kind, spec_pb2.EmptyDirVolume)


class Repeated(Struct, frozen=True):
    items: str = ""


class NoEnum(Struct, frozen=True):
    name: str
    value: Policy


class NewAction(Struct, frozen=True, tag="brandNew"):
    name: str


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        (Repeated, spec_pb2.Strings, "items is repeated"),
        (NoEnum, spec_pb2.Pair, "value has to be an enum for Policy"),
        (EmptyDirVolume | ExecAction, spec_pb2.Volume, "has no field exec for ExecAction"),
        (EmptyDirVolume | NewAction, spec_pb2.Volume, "has no field brand_new for NewAction"),
        (EmptyDirVolume | FilesVolume, spec_pb2.Action, "has no field empty_dir"),
        (ExecAction | TcpAction, spec_pb2.Action, "has more kinds"),
        (EmptyDirVolume | FilesVolume, spec_pb2.Pair, "has to be one oneof"),
        (tuple[str, str, str], spec_pb2.Pair, "tuple of 3, has 2 fields"),
        (tuple[str, int], spec_pb2.Pair, "value does not fit"),
    ],
)
def test_other_shapes_that_do_not_fit(kind: Any, message: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Codec(kind, message)


class FewPolicies(Struct, frozen=True):
    phase: Policy = Policy.ALWAYS
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    container_id: str = ""


def test_an_enum_with_other_members_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Policy and elastic.v1.ContainerPhase have other members"):
        Codec(FewPolicies, group_pb2.ContainerState)


def test_what_equals_the_default_is_not_sent_but_enums_are() -> None:
    message = convert.INSTANCE_REQUEST.encode(request())
    assert {field.name for field, _ in message.ListFields()} == {
        "uid",
        "zone",
        "name",
        "namespace",
        "containers",
        "restart_policy",
        "market",
    }


def test_absent_fields_have_the_structs_defaults() -> None:
    message = spec_pb2.ContainerGroupSpec(uid="u1", zone="a", name="pod", namespace="ns")
    message.containers.add(name="main", image="busybox")
    assert convert.INSTANCE_REQUEST.decode(message) == request()


@pytest.mark.parametrize("command", [None, (), ("sh",)])
def test_no_command_is_not_an_empty_command(command: tuple[str, ...] | None) -> None:
    wanted = request(containers=(ContainerSpec(name="main", image="x", command=command),))
    assert convert.INSTANCE_REQUEST.decode(convert.INSTANCE_REQUEST.encode(wanted)) == wanted


@pytest.mark.parametrize("user", [None, 0, 65534, 2**40])
def test_user_0_is_not_the_images_user(user: int | None) -> None:
    wanted = request(containers=(ContainerSpec(name="main", image="x", security=SecurityContext(user=user)),))
    assert convert.INSTANCE_REQUEST.decode(convert.INSTANCE_REQUEST.encode(wanted)) == wanted


def test_a_struct_of_defaults_is_present_where_none_is_possible() -> None:
    probe = Probe(ExecAction(()))
    wanted = request(containers=(ContainerSpec(name="main", image="x", startup=probe),))
    assert convert.INSTANCE_REQUEST.decode(convert.INSTANCE_REQUEST.encode(wanted)) == wanted


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (request(memory=2**63), "memory: "),
        (request(containers=(ContainerSpec(name="a", image="\ud800"),)), r"containers\[0\].image: "),
        (request(volumes=(FilesVolume("f", (FileEntry("p", b"", -1),)),)), r"volumes\[0\].files.files\[0\].mode: "),
        (request(tags=(("k", "v"), ("k", "\ud800"))), r"tags\[1\].value: "),
    ],
)
def test_what_its_field_cannot_hold_is_told_with_its_path(wanted: InstanceRequest, path: str) -> None:
    with pytest.raises(WireError, match=f"^{path}") as caught:
        convert.INSTANCE_REQUEST.encode(wanted)
    assert not caught.value.unknown


def test_an_enum_value_of_another_version_is_unknown() -> None:
    message = convert.INSTANCE_REQUEST.encode(request())
    message.containers[0].kind = 77  # type: ignore[assignment]
    with pytest.raises(WireError, match=r"^containers\[0\].kind: value 77 of ContainerKind is not known") as caught:
        convert.INSTANCE_REQUEST.decode(message)
    assert caught.value.unknown


def test_a_kind_of_volume_that_is_missing_is_unknown() -> None:
    message = convert.INSTANCE_REQUEST.encode(request())
    message.volumes.add()
    with pytest.raises(WireError, match=r"^volumes\[0\]: its kind is missing") as caught:
        convert.INSTANCE_REQUEST.decode(message)
    assert caught.value.unknown


def test_a_message_that_is_required_is_missing() -> None:
    message = convert.INSTANCE_REQUEST.encode(request())
    message.containers[0].liveness.period = 3
    with pytest.raises(WireError, match=r"^containers\[0\].liveness.action: is missing$") as caught:
        convert.INSTANCE_REQUEST.decode(message)
    assert not caught.value.unknown


def test_a_mistake_inside_a_union_names_the_way() -> None:
    group = group_pb2.ContainerGroup(uid="u1", phase=9)  # type: ignore[arg-type]
    message = group_pb2.Change(instance=group_pb2.ContainerGroupChanged(instance=group))
    with pytest.raises(WireError, match=r"^instance.instance.phase: value 9"):
        convert.CHANGE.decode(message)


def test_pairs_keep_their_order_and_numbers() -> None:
    redirect = Redirect("10.96.0.1", 443, (("172.20.0.1", 6443), ("172.20.0.2", 0)))
    assert convert.REDIRECT.decode(convert.REDIRECT.encode(redirect)) == redirect


def test_a_zone_without_a_cap_is_not_a_zone_with_a_cap_of_0() -> None:
    codec: Codec[Zone, zone_pb2.Zone] = Codec(Zone, zone_pb2.Zone)
    switches = (VSwitch(VSwitchId("v"), "10.0.0.0/24"),)
    for cap in (None, 0):
        zone = Zone(id=ZoneId("a"), cpu=1, memory=1, instances=cap, vswitches=switches)
        assert codec.decode(codec.encode(zone)) == zone


def _with_field(message: Any, number: int) -> Any:
    """Return the message with one more field (a varint) behind what it has."""
    return type(message).FromString(message.SerializeToString() + _varint(number << 3) + b"\x01")


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_a_field_of_a_newer_version_is_refused_by_its_path() -> None:
    message = convert.INSTANCE_REQUEST.encode(request())
    convert.refuse_unknown_fields(message)
    with pytest.raises(WireError, match=r"^field 59 is not known to this version$") as caught:
        convert.refuse_unknown_fields(_with_field(message, 59))
    assert caught.value.unknown
    inner = _with_field(message.containers[0], 99)
    del message.containers[:]
    message.containers.append(inner)
    with pytest.raises(WireError, match=r"^field containers\[0\].99 is not known"):
        convert.refuse_unknown_fields(message)
    message.containers[0].DiscardUnknownFields()
    message.dns.MergeFrom(_with_field(message.dns, 77))
    with pytest.raises(WireError, match=r"^field dns.77 is not known"):
        convert.refuse_unknown_fields(message)
