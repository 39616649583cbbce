"""Ends a process of a container with everything it has started, from the engine's host. Linux; root.

What belongs to it: its session (an exec's process leads one of its own: runc), and whoever descends from it, so that a
child in a session of its own goes too. Each process is held by a pidfd and must be in the container's cgroup before it
is killed: the number of one that has ended can come to mean another. Blocking.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PROC = Path("/proc")
_PASSES = 20
"""A process may fork between the look and the kill; its child is found at the next look."""


class _Row(NamedTuple):
    parent: int
    session: int


def kill_tree(pid: int, container: str) -> bool:
    """Kill `pid` and all that belongs to it, if it is in the container of this ID; False when there was nothing."""
    killed: set[int] = set()
    for _ in range(_PASSES):
        found = [each for each in sorted(members({pid, *killed}, _table())) if send(each, container)]
        if not found or killed.issuperset(found):
            break
        killed.update(found)
    return bool(killed)


def members(roots: Iterable[int], table: Mapping[int, tuple[int, int]]) -> set[int]:
    """Return the processes of `table` (pid -> parent, session) that are a root, in its session, or descend from one."""
    roots = set(roots)
    found = {pid for pid, (_, session) in table.items() if pid in roots or session in roots}
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    waiting = list(found | roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _table() -> dict[int, _Row]:
    rows: dict[int, _Row] = {}
    for directory in _PROC.iterdir():
        if directory.name.isdigit():
            try:
                # proc(5): pid (name) state ppid pgrp session ...; the name may hold anything, also parentheses.
                words = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if words[0] not in "ZX":
                rows[int(directory.name)] = _Row(int(words[1]), int(words[3]))
    return rows


def send(pid: int, container: str, number: signal.Signals = signal.SIGKILL) -> bool:
    """Signal a process if it is in the container of this ID; False when it is not there."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if container not in (_PROC / str(pid) / "cgroup").read_text():
            return False
        signal.pidfd_send_signal(held, number)
    except (ProcessLookupError, FileNotFoundError):
        return False
    finally:
        os.close(held)
    return True
