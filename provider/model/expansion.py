"""The kubelet's `$(NAME)` expansion of one text. Pure.

Rule: k8s.io/kubernetes/third_party/forked/golang/expansion. `$(NAME)` becomes the variable's value, or stays as written
when there is no such variable; `$$` becomes `$` and so shields what follows; any other `$` stays. Results are not
expanded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its references resolved in one pass, left to right."""
    return _replaced(text, lambda name: variables.get(name, f"$({name})"))


def missing(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the names that a text refers to and that have no value, sorted (kubelet ExpandContainerVolumeMounts)."""
    asked: set[str] = set()

    def note(name: str) -> str:
        asked.add(name)
        return name

    _replaced(text, note)
    return sorted(name for name in asked if not variables.get(name))


def _replaced(text: str, value: Callable[[str], str]) -> str:
    if "$" not in text:
        return text
    pieces: list[str] = []
    cursor = 0
    while (dollar := text.find("$", cursor)) >= 0:
        pieces.append(text[cursor:dollar])
        follower = text[dollar + 1 : dollar + 2]
        if follower == "$":
            pieces.append("$")
            cursor = dollar + 2
        elif follower == "(":
            close = text.find(")", dollar + 2)
            if close < 0:
                # Unclosed: upstream keeps `$(` as written and reads on right behind it.
                pieces.append("$(")
                cursor = dollar + 2
            else:
                name = text[dollar + 2 : close]
                pieces.append(value(name))
                cursor = close + 1
        else:
            # Upstream reads the follower as an ordinary character, so it is part of what stays.
            pieces.append("$" + follower)
            cursor = dollar + 1 + len(follower)
    pieces.append(text[cursor:])
    return "".join(pieces)
