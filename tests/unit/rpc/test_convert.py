"""Every struct crosses unchanged, whatever is in it: round trips through bytes, made from the structs' annotations."""

import types
import typing
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from provider.cloud.backend import ExecRequest, LogOptions
from provider.model.capacity import BackendHealth, Redirect, ZoneStatus
from provider.model.instance import Change, Instance
from provider.model.request import InstanceRequest
from provider.model.volume import FileEntry
from provider.rpc import convert
from provider.rpc.gen.elastic.v1 import group_pb2

WIDE = {"cpu", "memory", "cpu_limit", "memory_limit", "user", "group", "fs_group", "size_limit", "revision"}
"""fields that hold more than 32 bits: bytes, user ids, the revision."""

CODECS = {
    InstanceRequest: convert.INSTANCE_REQUEST,
    FileEntry: convert.FILE_ENTRY,
    Instance: convert.INSTANCE,
    Change: convert.CHANGE,
    ZoneStatus: convert.ZONE_STATUS,
    BackendHealth: convert.BACKEND_HEALTH,
    Redirect: convert.REDIRECT,
    LogOptions: convert.LOG_OPTIONS,
    ExecRequest: convert.EXEC_REQUEST,
}


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
}


def values(hint: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Return any value of an annotation."""
    kind = getattr(hint, "__supertype__", hint)
    if kind in SCALARS:
        return SCALARS[kind]
    if kind is int:
        return st.integers(0, 2**62 if name in WIDE else 2**31 - 1)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and issubclass(kind, Struct):
        return structs(kind)
    items = typing.get_args(kind)
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return st.one_of(*(values(each, name) for each in items))
    assert typing.get_origin(kind) is tuple, hint
    if items[-1] is Ellipsis:
        return st.lists(values(items[0], name), max_size=2).map(tuple)
    return st.tuples(*(values(item, name) for item in items))


def structs(kind: type[Struct]) -> st.SearchStrategy[Any]:
    """Return any struct; each field is its default as often as something else."""
    hints = typing.get_type_hints(kind)
    arguments = {}
    for info in fields(kind):
        strategy = values(hints[info.name], info.name)
        arguments[info.name] = strategy if info.default is NODEFAULT else st.just(info.default) | strategy
    return st.builds(kind, **arguments)


@pytest.mark.parametrize("kind", CODECS, ids=lambda kind: getattr(kind, "__name__", "Change"))
@given(data=st.data())
def test_any_value_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    codec: Any = CODECS[kind]
    value = data.draw(values(kind))
    message = codec.encode(value)
    convert.refuse_unknown_fields(message)
    assert codec.decode(type(message).FromString(message.SerializeToString())) == value


def test_changes_of_a_newer_server_have_no_kind_here() -> None:
    assert group_pb2.Change.FromString(b"\xf2\x06\x00").WhichOneof("kind") is None
