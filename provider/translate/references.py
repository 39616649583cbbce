"""What a pod refers to, already fetched: a key that is absent here is an object that does not exist."""

from __future__ import annotations

from msgspec import Struct


class Service(Struct, frozen=True):
    """A service with a cluster IP; ports are (name, number, protocol) in the order of the spec."""

    namespace: str
    name: str
    cluster_ip: str
    ports: tuple[tuple[str, int, str], ...]


class References(Struct, frozen=True, kw_only=True):
    """Objects of the pod's namespace by name, and facts of its node.

    Content of ConfigMaps is `data` and `binaryData` in one mapping of bytes; `binary_keys` names those of `binaryData`,
    which volumes show and variables do not. Tokens are by (audience, seconds); `token_errors` says why one is missing.
    `cpu` in milli-cores, `memory` and `ephemeral_storage` in bytes are the node's allocatable.
    """

    config_maps: dict[str, dict[str, bytes]] = {}
    binary_keys: dict[str, frozenset[str]] = {}
    secrets: dict[str, dict[str, bytes]] = {}
    tokens: dict[tuple[str, int], str] = {}
    token_errors: dict[tuple[str, int], str] = {}
    services: tuple[Service, ...] = ()
    host_ip: str = ""
    cpu: int = 0
    memory: int = 0
    ephemeral_storage: int = 0
