"""Tables for people, and the same rows as JSON or YAML for programs."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Output", "render", "render_sections"]


class Output(StrEnum):
    """What -o takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def render(rows: Sequence[Mapping[str, object]], output: Output, wide_only: Sequence[str] = ()) -> str:
    """Return the rows as `output` says; columns in `wide_only` are left out of the plain table."""
    if output is Output.JSON:
        return json.dumps(list(rows), indent=2)
    if output is Output.YAML:
        return yaml.safe_dump([dict(row) for row in rows], sort_keys=False).rstrip()
    columns = [name for name in (rows[0] if rows else ()) if output is Output.WIDE or name not in wide_only]
    lines = [[name.upper() for name in columns], *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def render_sections(
    sections: Mapping[str, Sequence[Mapping[str, object]]], output: Output, wide_only: Sequence[str] = ()
) -> str:
    """Return several tables, each under its rows' columns, an empty line between; one mapping in JSON and YAML."""
    if output is Output.JSON:
        return json.dumps({name: list(rows) for name, rows in sections.items()}, indent=2)
    if output is Output.YAML:
        document = {name: [dict(row) for row in rows] for name, rows in sections.items()}
        return yaml.safe_dump(document, sort_keys=False).rstrip()
    return "\n\n".join(render(rows, output, wide_only) for rows in sections.values() if rows)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
