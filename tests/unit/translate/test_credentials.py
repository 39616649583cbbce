from __future__ import annotations

import base64
import json

import pytest

from provider.model.pod import PodSpec
from provider.model.pod_environment import ObjectReference
from provider.model.request import RegistryCredential
from provider.translate.credentials import credentials
from provider.translate.references import References

AUTHS = {"r.example": {"auth": base64.b64encode(b"u:p:q").decode()}}


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({".dockerconfigjson": json.dumps({"auths": AUTHS}).encode()}, (RegistryCredential("r.example", "u", "p:q"),)),
        ({".dockercfg": json.dumps(AUTHS).encode()}, (RegistryCredential("r.example", "u", "p:q"),)),
        ({".dockerconfigjson": b"no json"}, ()),
        ({}, ()),
    ],
)
def test_logins(secret: dict[str, bytes], expected: tuple[RegistryCredential, ...]) -> None:
    spec = PodSpec(containers=[], image_pull_secrets=[ObjectReference(name="s"), ObjectReference(name="missing")])
    assert credentials(spec, References(secrets={"s": secret})) == expected
