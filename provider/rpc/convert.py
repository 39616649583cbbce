"""The model's structs and their messages of proto/elastic/v1, one codec each; codec.py has the rule they follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.unknown_fields import UnknownFieldSet

from provider.cloud.backend import AttachRequest, ExecRequest, LogOptions
from provider.model.bill import UsageRecord
from provider.model.capacity import BackendHealth, Redirect, ZoneStatus
from provider.model.instance import Change, Instance
from provider.model.request import InstanceRequest, RegistryCredential
from provider.model.stock import StockChange
from provider.model.usage import InstanceUsage
from provider.model.volume import FileEntry
from provider.rpc.codec import Codec, WireError
from provider.rpc.gen.elastic.v1 import group_pb2, service_pb2, spec_pb2, usage_pb2, zone_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

INSTANCE_REQUEST: Codec[InstanceRequest, spec_pb2.ContainerGroupSpec] = Codec(
    InstanceRequest, spec_pb2.ContainerGroupSpec
)
REGISTRY_CREDENTIAL: Codec[RegistryCredential, spec_pb2.RegistryCredential] = Codec(
    RegistryCredential, spec_pb2.RegistryCredential
)
FILE_ENTRY: Codec[FileEntry, spec_pb2.FileEntry] = Codec(FileEntry, spec_pb2.FileEntry)
INSTANCE: Codec[Instance, group_pb2.ContainerGroup] = Codec(Instance, group_pb2.ContainerGroup)
CHANGE: Codec[Change, group_pb2.Change] = Codec(Change, group_pb2.Change)
ZONE_STATUS: Codec[ZoneStatus, zone_pb2.ZoneStatus] = Codec(ZoneStatus, zone_pb2.ZoneStatus)
STOCK_CHANGE: Codec[StockChange, zone_pb2.StockChange] = Codec(StockChange, zone_pb2.StockChange)
BACKEND_HEALTH: Codec[BackendHealth, zone_pb2.BackendHealth] = Codec(BackendHealth, zone_pb2.BackendHealth)
REDIRECT: Codec[Redirect, zone_pb2.Redirect] = Codec(Redirect, zone_pb2.Redirect)
LOG_OPTIONS: Codec[LogOptions, service_pb2.LogOptions] = Codec(LogOptions, service_pb2.LogOptions)
EXEC_REQUEST: Codec[ExecRequest, service_pb2.ExecRequest] = Codec(ExecRequest, service_pb2.ExecRequest)

ATTACH_REQUEST: Codec[AttachRequest, service_pb2.AttachRequest] = Codec(AttachRequest, service_pb2.AttachRequest)
USAGE_RECORD: Codec[UsageRecord, usage_pb2.UsageRecord] = Codec(UsageRecord, usage_pb2.UsageRecord)
USAGE: Codec[InstanceUsage, usage_pb2.ContainerGroupUsage] = Codec(InstanceUsage, usage_pb2.ContainerGroupUsage)


def refuse_unknown_fields(message: Message) -> None:
    """Raise WireError for a field, at any depth, that this version does not know: it would be ignored in silence."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    if known.ByteSize() != message.ByteSize():  # in C; the path is looked for only when there is one to tell
        raise WireError(f"field {_unknown_field(message)} is not known to this version", unknown=True)


def _unknown_field(message: Any) -> str:
    """Return the path of the first unknown field of a message that has one, its last step being a number."""
    unknown: Any = UnknownFieldSet(message)  # a sequence, which its stub does not say
    if len(unknown):
        return str(unknown[0].field_number)
    for described, value in message.ListFields():
        if described.message_type is None:
            continue
        for index, inner in enumerate(value if described.is_repeated else (value,)):
            if found := _unknown_field(inner):
                step = f"{described.name}[{index}]" if described.is_repeated else described.name
                return f"{step}.{found}"
    return ""
