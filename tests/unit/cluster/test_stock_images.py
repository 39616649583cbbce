from __future__ import annotations

import pytest

from provider.cluster.image_catalog import load_catalog
from provider.cluster.stock_images import default_images, reference


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("zonelet/pause:1", "docker.io/zonelet/pause:1"),
        ("quay.io/argoproj/argoexec:v3.7.3", "quay.io/argoproj/argoexec:v3.7.3"),
        ("localhost/own:1", "localhost/own:1"),
        ("registry:5000/own:1", "registry:5000/own:1"),
    ],
)
def test_names_are_as_containerd_keeps_them(name: str, whole: str) -> None:
    assert reference(name) == whole


def test_every_image_that_is_given_is_made_here() -> None:
    made = {tag for image in load_catalog().images for tag in image.tags}
    assert set(default_images()) <= made
