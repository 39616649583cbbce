"""Options that several commands have."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from provider.cli.tables import Output

__all__ = ["Format", "Name"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def _valid_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise typer.BadParameter("at most 32 lower-case letters, digits and inner hyphens")
    return value


Name = Annotated[str, typer.Option("--name", help="Name of the installation.", callback=_valid_name)]
Format = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
