"""Logins by longest match, after the tables of upstream's keyring_test.go."""

import base64
import json

import pytest

from provider.cloud.runtime.docker_engine.credentials import auth_header, lookup
from provider.model.request import RegistryCredential


def login(server: str, username: str = "u") -> RegistryCredential:
    return RegistryCredential(server, username, "p")


@pytest.mark.parametrize(
    ("server", "repository"),
    [
        ("quay.io", "quay.io/a/b"),
        ("https://quay.io", "quay.io/a"),
        ("http://quay.io/v2/", "quay.io/a"),
        ("quay.io/a", "quay.io/a/b"),
        ("*.kubernetes.io", "prefix.kubernetes.io/a"),
        ("k8s.*.io/a", "k8s.gcr.io/a/b"),
        ("localhost:5000", "localhost:5000/x"),
        ("https://index.docker.io/v1/", "docker.io/library/busybox"),
        ("docker.io", "docker.io/library/busybox"),
    ],
)
def test_matches(server: str, repository: str) -> None:
    assert lookup([login(server)], repository) == [login(server)]


@pytest.mark.parametrize(
    ("server", "repository"),
    [
        ("quay.io/a", "quay.io/b/a"),
        ("*.io", "a.quay.io/b"),
        ("quay.io:443", "quay.io/a"),
        ("quay.io", "quay.io:443/a"),
        ("https://index.docker.io/v1/", "quay.io/a"),
        ("https://[broken", "quay.io/a"),
    ],
)
def test_does_not_match(server: str, repository: str) -> None:
    assert lookup([login(server)], repository) == []


def test_the_longest_path_is_tried_first_and_all_of_a_server() -> None:
    wide, narrow, second = login("quay.io"), login("quay.io/team"), login("quay.io/team", "v")
    assert lookup([wide, narrow, second], "quay.io/team/image") == [narrow, second, wide]


def test_the_header_is_what_the_engine_decodes() -> None:
    decoded = json.loads(base64.urlsafe_b64decode(auth_header(login("quay.io"), "quay.io")))
    assert decoded == {"username": "u", "password": "p", "serveraddress": "quay.io"}
