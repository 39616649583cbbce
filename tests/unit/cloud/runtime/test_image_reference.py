"""Image names, against what github.com/distribution/reference makes of them."""

import pytest

from provider.cloud.runtime.image_reference import parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "repository", "text"),
    [
        ("busybox", "docker.io/library/busybox", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox:latest"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b:latest"),
        ("argoproj/argosay:v2", "docker.io/argoproj/argosay", "argoproj/argosay:v2"),
        ("library/x", "docker.io/library/x", "x:latest"),
        ("library/x/y", "docker.io/library/x/y", "library/x/y:latest"),
        ("quay.io/argoproj/argoexec:v3", "quay.io/argoproj/argoexec", "quay.io/argoproj/argoexec:v3"),
        ("localhost/x", "localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x:latest"),
        ("CORP/x", "CORP/x", "CORP/x:latest"),
        (f"busybox@{DIGEST}", "docker.io/library/busybox", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", "docker.io/library/busybox", f"busybox@{DIGEST}"),
        ("a__b/c-d.e_f", "docker.io/a__b/c-d.e_f", "a__b/c-d.e_f:latest"),
    ],
)
def test_names(image: str, repository: str, text: str) -> None:
    reference = parse(image)
    assert (reference.repository, str(reference)) == (repository, text)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("", "invalid reference format"),
        ("Busybox", r"invalid reference format: repository name \(library/Busybox\) must be lowercase"),
        ("a b", "invalid reference format"),
        ("busybox:", "invalid reference format"),
        ("busybox:" + "x" * 129, "invalid reference format"),
        ("http://x/y", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("-a/b", "invalid reference format"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("busybox@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("busybox@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("x/" + "y" * 256, "must not be more than 255 characters"),
    ],
)
def test_what_is_no_name(image: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(image)
