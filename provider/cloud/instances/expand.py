"""The kubelet's `$(NAME)` expansion of env, command and args. Pure.

Rule: k8s.io/kubernetes/third_party/forked/golang/expansion. `$(NAME)` becomes the variable's value, or stays as written
when there is no such variable; `$$` becomes `$` and so shields what follows; any other `$` stays. Results are not
expanded again. In env a variable sees those before it (kubelet makeEnvironmentVariables); in command and args all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provider.model.instance import EnvVar


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its references resolved in one pass, left to right."""
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
                pieces.append(variables.get(name, f"$({name})"))
                cursor = close + 1
        else:
            # Upstream reads the follower as an ordinary character, so it is part of what stays.
            pieces.append("$" + follower)
            cursor = dollar + 1 + len(follower)
    pieces.append(text[cursor:])
    return "".join(pieces)


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
