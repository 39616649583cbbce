"""Reads the configuration and tells every mistake in it at once, each with its path in the file.

The document is walked field by field, so that one wrong key does not hide the next; a field that is wrong counts as
left out (its default) while the rest is checked. `checks.py` holds what a value must mean, this module what it must be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import msgspec
import yaml

from provider.config.checks import mistakes_of
from provider.config.schema import ProviderConfig, StockConfig, ZoneConfig
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId, ZoneId
from provider.model.quantity import milli, whole

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

_S = TypeVar("_S", bound=msgspec.Struct)


class ConfigError(Exception):
    """A configuration that cannot be used; `mistakes` holds one line each, `<path in the file>: <what is wrong>`."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe subset, refusing a mapping that names a key twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's own signature
        """See yaml.SafeLoader; raises ConstructorError for a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        "while reading a mapping",
                        node.start_mark,
                        f"the key {key.value!r} stands here twice",
                        key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load(path: Path | str) -> ProviderConfig:
    """Return the configuration in a file; ConfigError for a file that cannot be read or used."""
    return parse(text_of(path))


def text_of(path: Path | str) -> str:
    """Return the text of a file, which is read once: it may be a pipe. ConfigError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error


def parse(text: str) -> ProviderConfig:
    """Return the configuration in a YAML text; an empty one is all defaults. ConfigError with every mistake."""
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.YAMLError as error:
        raise ConfigError([f"$: not YAML: {' '.join(str(error).split())}"]) from error
    mistakes: list[str] = []
    config = _struct({} if document is None else document, ProviderConfig, "", mistakes)
    mistakes += mistakes_of(config)
    if mistakes:
        raise ConfigError(mistakes)
    return config


def zones_of(config: ProviderConfig, free_blocks: Sequence[str] = ()) -> tuple[Zone, ...]:
    """Return the zones of a checked configuration; CPU in milli-cores, memory and disk in bytes.

    `free_blocks`: CIDRs for the zones that name no vSwitch, one each, in the order of the file (see
    `zones_without_vswitch` for how many). ValueError when they are fewer than needed.
    """
    needed = len(zones_without_vswitch(config))
    if len(free_blocks) < needed:
        raise ValueError(f"{needed} zones name no vSwitch, and only {len(free_blocks)} blocks are given for them")
    blocks = iter(free_blocks)
    return tuple(_zone(zone, blocks) for zone in config.zones)


def zones_without_vswitch(config: ProviderConfig) -> tuple[ZoneId, ...]:
    """Return the zones that are to get a free block, in the order of the file."""
    return tuple(ZoneId(zone.name) for zone in config.zones if not zone.v_switches)


def node_name(zone: ZoneConfig) -> str:
    """Return the name of the zone's Node."""
    return zone.node_name or f"virtual-kubelet-{zone.name}"


def _zone(zone: ZoneConfig, blocks: Iterator[str]) -> Zone:
    named = [(switch.id, switch.cidr) for switch in zone.v_switches] or [("", next(blocks))]
    return Zone(
        id=ZoneId(zone.name),
        cpu=milli(zone.stock.cpu),
        memory=whole(zone.stock.memory),
        ephemeral_storage=whole(zone.stock.ephemeral_storage),
        instances=zone.stock.instances,
        vswitches=tuple(
            VSwitch(id=VSwitchId(name or f"vsw-{zone.name}-{index}"), cidr=cidr)
            for index, (name, cidr) in enumerate(named)
        ),
    )


def _struct(value: Any, kind: type[_S], path: str, mistakes: list[str]) -> _S:
    """Return a struct of `kind`. What is wrong is noted and takes its default, or is empty where there is none.

    Required fields are all strings; `checks.py` passes over empty ones, so that a mistake has one line and the entries
    of a list keep their index.
    """
    if not isinstance(value, dict):
        mistakes.append(f"{path or '$'}: expected a mapping, got {_called(value)}")
        return _struct({}, kind, path, [])
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    known = ", ".join(sorted(fields))
    mistakes += [f"{_join(path, str(key))}: unknown key (known: {known})" for key in value if key not in fields]
    given: dict[str, Any] = {}
    for name, field in fields.items():
        here = _join(path, name)
        before = len(mistakes)
        got = None
        if name in value:
            raw = value[name]
            if kind is StockConfig and isinstance(raw, int | float) and not isinstance(raw, bool) and field.type is str:
                raw = str(raw)  # `cpu: 200` is a quantity too, as in a pod
            got = _value(raw, field.type, here, mistakes)
        if field.required and not got and len(mistakes) == before:
            mistakes.append(f"{here}: {'empty' if name in value else 'missing'}")
        if got is not None or (name in value and len(mistakes) == before):
            given[field.name] = got
        elif field.required:
            given[field.name] = ""
    return kind(**given)


def _value(value: Any, kind: Any, path: str, mistakes: list[str]) -> Any:
    """Return the value as `kind`; None with a mistake noted if it is none."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(value, kind, path, mistakes)
    item = get_args(kind)[0] if get_origin(kind) is tuple else None
    if item is not None:
        if not isinstance(value, list):
            mistakes.append(f"{path}: expected a list, got {_called(value)}")
            return None
        read = [_value(entry, item, f"{path}[{index}]", mistakes) for index, entry in enumerate(value)]
        return tuple("" if entry is None else entry for entry in read)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        mistakes.append(f"{path}: {error}")
        return None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _called(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
