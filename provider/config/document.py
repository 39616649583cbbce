"""Reads a YAML document into frozen structs and tells every mistake in it at once, each with its path in the file.

The document is walked field by field, so that one wrong key does not hide the next; a field that is wrong counts as
left out (its default) while the rest is checked.
"""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import msgspec
import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

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


def text_of(path: Path | str) -> str:
    """Return the text of a file, which is read once: it may be a pipe. ConfigError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error


def document_of(text: str) -> Any:
    """Return what a YAML text says; an empty one is an empty mapping. ConfigError when it is no YAML."""
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.YAMLError as error:
        raise ConfigError([f"$: not YAML: {' '.join(str(error).split())}"]) from error
    return {} if document is None else document


def documents_of(text: str) -> list[Any]:
    """Return what each document of a YAML text says. ConfigError when it is no YAML."""
    try:
        return list(yaml.load_all(text, Loader=_UniqueKeyLoader))
    except yaml.YAMLError as error:
        raise ConfigError([f"$: not YAML: {' '.join(str(error).split())}"]) from error


def read(value: Any, kind: type[_S], path: str, mistakes: list[str]) -> _S:
    """Return a struct of `kind`. What is wrong is noted and takes its default, or is empty where there is none.

    Required fields are all strings; whoever checks values passes over empty ones, so that a mistake has one line and
    the entries of a list keep their index.
    """
    if not isinstance(value, dict):
        mistakes.append(f"{path or '$'}: expected a mapping, got {_called(value)}")
        return read({}, kind, path, [])
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
            if field.type is str and _has_quantities(kind) and isinstance(raw, int | float):
                raw = raw if isinstance(raw, bool) else str(raw)  # `cpu: 200` is a quantity too, as in a pod
            got = _value(raw, field.type, here, mistakes)
        if field.required and not got and len(mistakes) == before:
            mistakes.append(f"{here}: {'empty' if name in value else 'missing'}")
        if got is not None or (name in value and len(mistakes) == before):
            given[field.name] = got
        elif field.required:
            given[field.name] = ""
    return kind(**given)


def _has_quantities(kind: type) -> bool:
    """Tell whether texts of the struct are quantities, and may be written as numbers."""
    return bool(getattr(kind, "QUANTITIES", False))


def _nested(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct that is wanted: `kind`, or the one beside None in it."""
    options = [one for one in get_args(kind) if one is not NoneType] if get_origin(kind) is UnionType else [kind]
    only = options[0] if len(options) == 1 else None
    return only if isinstance(only, type) and issubclass(only, msgspec.Struct) else None


def _value(value: Any, kind: Any, path: str, mistakes: list[str]) -> Any:
    """Return the value as `kind`; None with a mistake noted if it is none."""
    nested = _nested(kind)
    if nested is not None:
        if value is None and kind is not nested:
            return None
        return read(value, nested, path, mistakes)
    item = get_args(kind)[0] if get_origin(kind) is tuple else None
    if item is not None:
        if not isinstance(value, list):
            mistakes.append(f"{path}: expected a list, got {_called(value)}")
            return None
        entries = [_value(entry, item, f"{path}[{index}]", mistakes) for index, entry in enumerate(value)]
        return tuple("" if entry is None else entry for entry in entries)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        mistakes.append(f"{path}: {error}")
        return None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _called(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
