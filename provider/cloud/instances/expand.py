"""`$(NAME)` in env, command and args (model/expansion.py has the rule of one text). Pure.

In env a variable sees those before it (kubelet makeEnvironmentVariables); in command and args all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.expansion import expand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provider.model.request import EnvVar


def expand_env(env: Sequence[EnvVar], address: str) -> dict[str, str]:
    """Return name to value in order; a name given twice has the later value, as the kubelet's map has."""
    resolved: dict[str, str] = {}
    for variable in env:
        if variable.from_address:
            resolved[variable.name] = address
        elif variable.expand:
            resolved[variable.name] = expand(variable.value, resolved)
        else:
            resolved[variable.name] = variable.value
    return resolved


def expand_words(words: Sequence[str] | None, variables: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return command or args with references resolved; None (the image's own) stays None."""
    if words is None:
        return None
    return tuple(expand(word, variables) for word in words)
