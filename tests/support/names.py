"""Names of what a test run makes on the engine: two runs do not meet, and a run that was killed is known by them."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

__all__ = ["own_name", "run_of"]

_MARK = "zt"
_FORM = re.compile(rf"{_MARK}-[a-z0-9-]+?-(?P<pid>\d+)-(?P<token>[0-9a-f]{{6}})(?![0-9a-z])")


def own_name(prefix: str) -> str:
    """Return a new name, for an installation, a network or a container, that tells which process has it."""
    return f"{_MARK}-{prefix}-{os.getpid()}-{secrets.token_hex(3)}"


def run_of(text: str) -> tuple[str, bool] | None:
    """Return the name of a test run that `text` (the name of an object) begins with, and whether the run goes on.

    None for what no test made. A run goes on while its process is a Python program.
    """
    found = _FORM.match(text.lstrip("/"))
    if found is None:
        return None
    try:
        program = Path(f"/proc/{found['pid']}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        program = ""
    return found[0], program.startswith(("python", "pytest"))
