"""Image names as Docker and the kubelet read them. Pure.

Rules: github.com/distribution/reference (regexp.go, normalize.go) and k8s.io/kubernetes/pkg/kubelet/images/helpers.go
(a name without tag and digest means `latest`; of tag and digest only the digest counts).
"""

from __future__ import annotations

import re

from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault

_DEFAULT_DOMAIN, _LEGACY_DOMAIN = "docker.io", "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_NAME = 255
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

_WORD = r"[a-z0-9]+"
_COMPONENT = rf"{_WORD}(?:(?:[._]|__|[-]+){_WORD})*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<domain>{_HOST})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class Reference(Struct, frozen=True):
    """A full image name: exactly one of `tag` and `digest` is set."""

    domain: str
    """registry, `docker.io` where none is named."""
    path: str
    """repository in it, `library/…` for Docker's official ones."""
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and repository: what credentials are looked up by."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository as people and Docker's API write it, without what goes without saying."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.repository
        return self.path.removeprefix(_OFFICIAL) if self.path.count("/") == 1 else self.path

    def __str__(self) -> str:
        return f"{self.familiar}@{self.digest}" if self.digest else f"{self.familiar}:{self.tag}"


def parse(image: str) -> Reference:
    """Return the reference that this text names. ValueError with the words of distribution/reference."""
    if _IDENTIFIER.fullmatch(image):
        raise ValueError(f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(image)
    remote = remainder.partition(":")[0]
    if remote.lower() != remote:
        raise ValueError(f"invalid reference format: repository name ({remote}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise ValueError("invalid reference format")
    if len(match["path"]) > _LONGEST_NAME:
        raise ValueError(f"repository name must not be more than {_LONGEST_NAME} characters")
    digest = match["digest"] or ""
    if digest:
        _check_digest(digest)
    return Reference(match["domain"], match["path"], "" if digest else match["tag"] or "latest", digest)


def named_image(image: str) -> Reference:
    """Return the reference that a container names. RuntimeFault INVALID_IMAGE_NAME with the kubelet's words."""
    try:
        return parse(image)
    except ValueError as error:
        text = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error}'
        raise RuntimeFault(FaultKind.INVALID_IMAGE_NAME, text) from error


def _check_digest(digest: str) -> None:
    algorithm, _, text = digest.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise ValueError("unsupported digest algorithm")
    if len(text) != _DIGEST_LENGTHS[algorithm]:
        raise ValueError("invalid checksum digest length")
    if text.lower() != text:
        raise ValueError("invalid checksum digest format")


def _split_domain(name: str) -> tuple[str, str]:
    """Return registry and rest: a first part is a registry if it looks like a host, or has a capital letter."""
    first, slash, rest = name.partition("/")
    if not slash:
        return _DEFAULT_DOMAIN, _OFFICIAL + name
    if first == _LEGACY_DOMAIN:
        domain, remote = _DEFAULT_DOMAIN, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = _DEFAULT_DOMAIN, name
    if domain == _DEFAULT_DOMAIN and "/" not in remote:
        remote = _OFFICIAL + remote
    return domain, remote
