"""Logins of imagePullSecrets (pkg/credentialprovider): `.dockerconfigjson` and the older `.dockercfg`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from provider.model.request import RegistryCredential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.model.pod import PodSpec
    from provider.translate.references import References


def credentials(spec: PodSpec, references: References) -> tuple[RegistryCredential, ...]:
    """Return the logins in order; a missing or unreadable secret gives none, as the kubelet pulls without it then."""
    return tuple(
        login
        for reference in spec.image_pull_secrets or ()
        for login in _logins(references.secrets.get(reference.name, {}))
    )


def _logins(secret: dict[str, bytes]) -> Iterator[RegistryCredential]:
    try:
        if ".dockerconfigjson" in secret:
            auths = json.loads(secret[".dockerconfigjson"])["auths"]
        else:
            auths = json.loads(secret.get(".dockercfg", b"{}"))
        for server, login in auths.items():
            user, password = login.get("username", ""), login.get("password", "")
            if login.get("auth"):
                user, _, password = base64.b64decode(login["auth"]).decode().partition(":")
            yield RegistryCredential(server, user, password)
    except (ValueError, KeyError, TypeError, AttributeError):
        return
