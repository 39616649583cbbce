"""All mutations of the valid pod. The API server takes most of them: what it refuses is no node's affair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compatibility.mutations_of_lives import ENDS, HOOKS, PROBES
from tests.compatibility.mutations_of_places import NAMES, NODE, SECURITY
from tests.compatibility.mutations_of_programs import PROGRAMS, VARIABLES
from tests.compatibility.mutations_of_volumes import MOUNTS, VOLUMES

if TYPE_CHECKING:
    from tests.compatibility.mutation import Mutation

__all__ = ["MUTATIONS"]

MUTATIONS: tuple[Mutation, ...] = (
    *PROGRAMS, *VARIABLES, *MOUNTS, *VOLUMES, *SECURITY, *NAMES, *NODE, *PROBES, *HOOKS, *ENDS,
)  # fmt: skip
