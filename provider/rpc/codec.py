"""Structs to protobuf messages and back, by one rule instead of a page of assignments for each type.

The rule. A struct and its message have fields of the same names, and the shape follows the struct's annotation:

    str, bytes, bool, int, float   the scalar (`float`: double)
    StrEnum                        an enum whose value names are <PREFIX>_<member>, 0 being <PREFIX>_UNSPECIFIED
    Struct                         a message
    A | B (tagged structs)         a message with one oneof, whose fields are the tags in snake case
    tuple[X, ...]                  repeated X
    tuple[X, ...] | None           a message whose only field is `repeated X items`
    tuple[X, Y]                    a message whose fields, in order of their numbers, are the items
    X | None                       a field with presence; None is "not set"

What equals the struct's default is not sent, enums excepted; so a default other than zero needs presence, and absent
means that default. Both lists of fields are compared when a codec is made: a field that only one side has, or a shape
that does not follow the rule, is a TypeError at import, so that no new field is ever lost on the way.

Values that cannot cross (a number too large for its field, an enum value of another version) raise `WireError`.
"""

from __future__ import annotations

import re
import types
import typing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields as struct_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

# Descriptors are Any below: their stubs give every `message_type` as optional, which the rule's checks make sure of.
S = TypeVar("S")
M = TypeVar("M", bound="Message")

_SCALARS: Final = {
    str: {FieldDescriptor.TYPE_STRING},
    bytes: {FieldDescriptor.TYPE_BYTES},
    bool: {FieldDescriptor.TYPE_BOOL},
    int: {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32},
    float: {FieldDescriptor.TYPE_DOUBLE},
}
_UNSPECIFIED: Final = "UNSPECIFIED"


class WireError(ValueError):
    """A value that cannot cross the wire, told with the path to it, as `containers[0].probe.action: is missing`.

    `unknown`: it comes from the other side, which speaks a version with more kinds of things than this one.
    """

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.unknown = unknown
        self._path = ""

    def at(self, step: str) -> Self:
        """Put a step before the path, from the inside out: a field's name, or `[index]`."""
        joint = "." if self._path and not self._path.startswith("[") else ""
        self._path = f"{step}{joint}{self._path}"
        return self

    def __str__(self) -> str:
        return f"{self._path}: {self.text}" if self._path else self.text


class Codec(Generic[S, M]):
    """The conversion of one type. `kind` is a Struct or a union of tagged Structs; TypeError if the rule is broken."""

    def __init__(self, kind: Any, message: type[M]) -> None:
        self._message = message
        self._codec = _of_message(kind, message.DESCRIPTOR)

    def encode(self, value: S) -> M:
        """Return a new message; WireError for a value that its field cannot hold."""
        message = self._message()
        self._codec.write(message, value)
        return message

    def decode(self, message: M) -> S:
        """Return the struct; WireError for what is missing or unknown here. Fields unknown here are not looked at."""
        value: S = self._codec.read(message)
        return value


class _MessageCodec(Protocol):
    """Fills a message that exists from a value, and the other way."""

    def write(self, message: Any, value: Any) -> None: ...

    def read(self, message: Any) -> Any: ...


class _Scalar:
    """A value that protobuf takes as it is."""

    always = False

    def to_wire(self, value: Any) -> Any:
        return value

    def from_wire(self, value: Any) -> Any:
        return value


class _Enum:
    """Members by number. Always sent, so that a reader need not know our defaults."""

    always = True

    def __init__(self, kind: type[StrEnum], descriptor: Any) -> None:
        prefix = descriptor.values_by_number[0].name.removesuffix(_UNSPECIFIED)
        numbers = {value.name: value.number for value in descriptor.values if value.number}
        if numbers.keys() != {prefix + member.name for member in kind}:
            raise TypeError(f"{kind.__name__} and {descriptor.full_name} have other members: {sorted(numbers)}")
        self._name = descriptor.name
        self._numbers = {member: numbers[prefix + member.name] for member in kind}
        self._members = {number: member for member, number in self._numbers.items()}

    def to_wire(self, value: Any) -> int:
        number: int = self._numbers[value]
        return number

    def from_wire(self, value: int) -> StrEnum:
        if member := self._members.get(value):
            return member
        raise WireError(f"value {value} of {self._name} is not known to this version", unknown=True)


class _ScalarField:
    """One scalar or enum."""

    def __init__(self, name: str, value: _Scalar | _Enum) -> None:
        self._name = name
        self._value = value
        self.always = value.always

    def put(self, message: Any, item: Any) -> None:
        setattr(message, self._name, self._value.to_wire(item))

    def get(self, wire: Any) -> Any:
        return self._value.from_wire(wire)


class _RepeatedScalarField:
    """A tuple of scalars or enums."""

    always = False

    def __init__(self, name: str, value: _Scalar | _Enum) -> None:
        self._name = name
        self._value = value

    def put(self, message: Any, item: Sequence[Any]) -> None:
        getattr(message, self._name).extend([self._value.to_wire(each) for each in item])

    def get(self, wire: Any) -> tuple[Any, ...]:
        return tuple(self._value.from_wire(each) for each in wire)


class _MessageField:
    """One message; present even when all in it is default."""

    always = False

    def __init__(self, name: str, codec: _MessageCodec) -> None:
        self._name = name
        self._codec = codec

    def put(self, message: Any, item: Any) -> None:
        inner = getattr(message, self._name)
        inner.SetInParent()
        self._codec.write(inner, item)

    def get(self, wire: Any) -> Any:
        return self._codec.read(wire)


class _RepeatedMessageField:
    """A tuple of messages."""

    always = False

    def __init__(self, name: str, codec: _MessageCodec) -> None:
        self._name = name
        self._codec = codec

    def put(self, message: Any, item: Sequence[Any]) -> None:
        repeated = getattr(message, self._name)
        for index, each in enumerate(item):
            try:
                self._codec.write(repeated.add(), each)
            except WireError as error:
                error.at(f"[{index}]")
                raise

    def get(self, wire: Any) -> tuple[Any, ...]:
        items = []
        for index, each in enumerate(wire):
            try:
                items.append(self._codec.read(each))
            except WireError as error:
                error.at(f"[{index}]")
                raise
        return tuple(items)


_Field = _ScalarField | _RepeatedScalarField | _MessageField | _RepeatedMessageField


class _StructCodec:
    """A struct, field by field."""

    def __init__(self, kind: type[Struct], descriptor: Any) -> None:
        self._kind = kind
        self._fields: list[tuple[str, Any, _Field]] = []
        """name, default (NODEFAULT: always sent), field."""
        self._by_number: dict[int, tuple[str, _Field]] = {}
        self._absent: list[tuple[str, Any]] = []
        """required fields and what they are when not on the wire (NODEFAULT: a mistake)."""
        hints = typing.get_type_hints(kind)
        infos = {info.name: info for info in struct_fields(kind)}
        if differing := infos.keys() ^ set(descriptor.fields_by_name):
            raise TypeError(f"only one of {kind.__name__} and {descriptor.full_name} has {sorted(differing)}")
        for name, info in infos.items():
            described = descriptor.fields_by_name[name]
            field = _field(hints[name], described)
            self._fields.append((name, NODEFAULT if field.always else info.default, field))
            self._by_number[described.number] = (name, field)
            if info.default is not NODEFAULT:
                _check_default(info.default, described)
            elif described.is_repeated:
                self._absent.append((name, ()))
            elif described.type in {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_ENUM}:
                self._absent.append((name, NODEFAULT))
            else:
                self._absent.append((name, described.default_value))

    def write(self, message: Any, value: Any) -> None:
        for name, default, field in self._fields:
            item = getattr(value, name)
            if item is default or item is None or item == default:
                continue
            try:
                field.put(message, item)
            except WireError as error:
                error.at(name)
                raise
            except ValueError as error:  # protobuf's word for a number out of range, or text that is no Unicode
                raise WireError(str(error)).at(name) from error

    def read(self, message: Any) -> Any:
        values: dict[str, Any] = {}
        for described, wire in message.ListFields():
            name, field = self._by_number[described.number]
            try:
                values[name] = field.get(wire)
            except WireError as error:
                error.at(name)
                raise
        for name, value in self._absent:
            if name not in values:
                if value is NODEFAULT:
                    raise WireError("is missing").at(name)
                values[name] = value
        return self._kind(**values)


class _UnionCodec:
    """Tagged structs in a oneof."""

    def __init__(self, kinds: Sequence[type[Struct]], descriptor: Any) -> None:
        if len(descriptor.oneofs) != 1 or len(descriptor.fields) != len(descriptor.oneofs[0].fields):
            raise TypeError(f"{descriptor.full_name} stands for a union and has to be one oneof, nothing else")
        self._oneof = descriptor.oneofs[0].name
        self._by_type: dict[type, tuple[str, _MessageCodec]] = {}
        for kind in kinds:
            name = re.sub(r"(?=[A-Z])", "_", str(kind.__struct_config__.tag)).lower()
            if name not in descriptor.fields_by_name:
                raise TypeError(f"{descriptor.full_name} has no field {name} for {kind.__name__}")
            self._by_type[kind] = (name, _of_message(kind, descriptor.fields_by_name[name].message_type))
        self._by_name = dict(self._by_type.values())
        if self._by_name.keys() != set(descriptor.fields_by_name):
            raise TypeError(f"{descriptor.full_name} has more kinds than {sorted(self._by_name)}")

    def write(self, message: Any, value: Any) -> None:
        name, codec = self._by_type[type(value)]
        inner = getattr(message, name)
        inner.SetInParent()
        try:
            codec.write(inner, value)
        except WireError as error:
            error.at(name)
            raise

    def read(self, message: Any) -> Any:
        name = message.WhichOneof(self._oneof)
        if name is None:
            raise WireError("its kind is missing, or not known to this version", unknown=True)
        try:
            return self._by_name[name].read(getattr(message, name))
        except WireError as error:
            error.at(name)
            raise


class _TupleCodec:
    """A tuple of fixed length: its items are the message's scalar fields."""

    def __init__(self, items: Sequence[Any], descriptor: Any) -> None:
        described = sorted(descriptor.fields, key=lambda field: field.number)
        if len(items) != len(described):
            raise TypeError(f"{descriptor.full_name} stands for a tuple of {len(items)}, has {len(described)} fields")
        for item, field in zip(items, described, strict=True):
            _scalar(item, field)
        self._names = [field.name for field in described]

    def write(self, message: Any, value: Any) -> None:
        for name, item in zip(self._names, value, strict=True):
            try:
                setattr(message, name, item)
            except ValueError as error:
                raise WireError(str(error)).at(name) from error

    def read(self, message: Any) -> tuple[Any, ...]:
        return tuple(getattr(message, name) for name in self._names)


class _ItemsCodec:
    """A tuple that may be absent: the message around its items."""

    def __init__(self, item: Any, descriptor: Any) -> None:
        if [field.name for field in descriptor.fields] != ["items"]:
            raise TypeError(f"{descriptor.full_name} stands for an optional list and has to have one field, `items`")
        self._items = _repeated(item, descriptor.fields[0])

    def write(self, message: Any, value: Any) -> None:
        self._items.put(message, value)

    def read(self, message: Any) -> tuple[Any, ...]:
        return self._items.get(message.items)


def _field(hint: Any, described: Any) -> _Field:
    """Return the codec of one struct field; TypeError when the message's field has another shape."""
    optional, hint = _without_none(hint)
    if optional and not (described.has_presence and not described.is_repeated):
        raise TypeError(f"{described.full_name} may be None and needs presence: mark it `optional`")
    if _is_list(hint):
        item = typing.get_args(hint)[0]
        if optional:
            return _MessageField(described.name, _ItemsCodec(item, described.message_type))
        return _repeated(item, described)
    if described.is_repeated:
        raise TypeError(f"{described.full_name} is repeated, its struct's field is {hint}")
    if described.type == FieldDescriptor.TYPE_MESSAGE:
        return _MessageField(described.name, _of_message(hint, described.message_type))
    return _ScalarField(described.name, _scalar(hint, described))


def _repeated(item: Any, described: Any) -> _RepeatedScalarField | _RepeatedMessageField:
    if not described.is_repeated:
        raise TypeError(f"{described.full_name} has to be repeated")
    if described.type == FieldDescriptor.TYPE_MESSAGE:
        return _RepeatedMessageField(described.name, _of_message(item, described.message_type))
    return _RepeatedScalarField(described.name, _scalar(item, described))


def _scalar(hint: Any, described: Any) -> _Scalar | _Enum:
    kind = getattr(hint, "__supertype__", hint)  # a NewType is its base
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if described.type != FieldDescriptor.TYPE_ENUM:
            raise TypeError(f"{described.full_name} has to be an enum for {kind.__name__}")
        return _Enum(kind, described.enum_type)
    if described.type not in _SCALARS.get(kind, ()):
        raise TypeError(f"{described.full_name} does not fit {hint}")
    return _Scalar()


def _of_message(hint: Any, descriptor: Any) -> _MessageCodec:
    """Return the codec of a message; TypeError for an annotation that is none."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _StructCodec(hint, descriptor)
    if _is_union(hint):
        return _UnionCodec(typing.get_args(hint), descriptor)
    if typing.get_origin(hint) is tuple and not _is_list(hint):
        return _TupleCodec(typing.get_args(hint), descriptor)
    raise TypeError(f"{descriptor.full_name} does not fit {hint}")


def _check_default(default: Any, described: Any) -> None:
    """Raise TypeError where "not on the wire" would not say what the struct's default is."""
    if described.has_presence or described.is_repeated or described.type == FieldDescriptor.TYPE_ENUM:
        return
    if default != described.default_value:
        raise TypeError(f"{described.full_name} has the default {default!r} and needs presence: mark it `optional`")


def _without_none(hint: Any) -> tuple[bool, Any]:
    """Return whether the annotation allows None, and what is left of it."""
    arguments = typing.get_args(hint)
    if not _is_union(hint) or types.NoneType not in arguments:
        return False, hint
    left = tuple(argument for argument in arguments if argument is not types.NoneType)
    return True, left[0] if len(left) == 1 else typing.Union[left]  # noqa: UP007 - built from values, not written


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}


def _is_list(hint: Any) -> bool:
    """Whether it is `tuple[X, ...]`."""
    return typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (Ellipsis,)
