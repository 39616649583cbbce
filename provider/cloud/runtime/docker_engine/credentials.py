"""Which login goes with which image: the kubelet's keyring (k8s.io/kubernetes/pkg/credentialprovider/keyring.go). Pure.

A server may be a host, a host with a path, a URL, and may have `*` in the parts of its host. Every login whose host
has as many parts, all of them matching, the same port, and a path that the image's repository begins with, is tried,
the longest path first. A login of `https://index.docker.io/v1/` goes with every image of the default registry.
"""

from __future__ import annotations

import base64
import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.model.request import RegistryCredential

_DEFAULT_REGISTRY = "index.docker.io"
_DEFAULT_HOSTS = frozenset({"docker.io", _DEFAULT_REGISTRY})


def lookup(credentials: Iterable[RegistryCredential], repository: str) -> list[RegistryCredential]:
    """Return the logins for `registry/path`, in the order in which they are tried."""
    indexed: dict[str, list[RegistryCredential]] = {}
    for credential in credentials:
        key = _key(credential.server)
        if key is not None:
            indexed.setdefault(key, []).append(credential)
    # Reverse order of text puts `quay.io/coreos` before `quay.io`.
    found = [one for key in sorted(indexed, reverse=True) if _matches(key, repository) for one in indexed[key]]
    if not found and repository.partition("/")[0] in _DEFAULT_HOSTS:
        return indexed.get(_DEFAULT_REGISTRY, [])
    return found


def auth_header(credential: RegistryCredential, domain: str) -> str:
    """Return the value of X-Registry-Auth for a pull from this registry."""
    login = {"username": credential.username, "password": credential.password, "serveraddress": domain}
    return base64.urlsafe_b64encode(json.dumps(login).encode()).decode()


def _key(server: str) -> str | None:
    """Return host and path of a server as a docker config.json writes it, None for one that is no URL."""
    url = server if server.startswith(("https://", "http://")) else f"https://{server}"
    try:
        parsed = urlsplit(url)
    except ValueError:
        return None
    path = parsed.path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return parsed.netloc + (path if path != "/" else "")


def _matches(pattern: str, repository: str) -> bool:
    pattern_host, pattern_slash, pattern_path = pattern.partition("/")
    host, slash, path = repository.partition("/")
    pattern_name, pattern_port = _split_port(pattern_host)
    name, port = _split_port(host)
    wanted, given = pattern_name.split("."), name.split(".")
    return (
        pattern_port == port
        and len(wanted) == len(given)
        and (slash + path).startswith(pattern_slash + pattern_path)
        and all(fnmatchcase(part, one) for part, one in zip(given, wanted, strict=True))
    )


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")
