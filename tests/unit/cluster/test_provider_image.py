"""The provider's image as far as it can be told without an engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from provider.cluster.build import local_sources
from provider.cluster.image_catalog import load_catalog
from provider.cluster.provider_image import BASE_IMAGE, build_context, context_hash

if TYPE_CHECKING:
    from pathlib import Path

ROOT = local_sources().parent.parent


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_base_is_in_the_catalogue() -> None:
    assert BASE_IMAGE in {tag for image in load_catalog().selected(["base"]) for tag in image.tags}


def test_what_builds_the_package_is_pinned_as_for_developers() -> None:
    build = pinned("requirements-build.lock")
    assert "hatchling" in build
    assert build.items() <= pinned("requirements-dev.lock").items()


def test_the_context_is_what_the_dockerfile_copies(tmp_path: Path) -> None:
    (tmp_path / "some-1-py3-none-any.whl").write_bytes(b"wheel")
    context = build_context(ROOT, tmp_path)
    tops = {name.split("/")[0] for name in context}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {word.rstrip("*") for line in copied for word in line.split()} == tops - {"Dockerfile"}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == tops
    assert not [name for name in context if "__pycache__" in name]


@pytest.mark.parametrize("change", ["base", "content", "mode", "name", "wheel"])
def test_the_hash_tells_every_change_that_makes_another_image(tmp_path: Path, change: str) -> None:
    source = tmp_path / "provider.py"
    source.write_text("one")
    context = {"provider/a.py": source, "wheels/b-1.whl": source}
    before = context_hash("sha256:base", context)
    assert context_hash("sha256:base", context) == before
    base = "sha256:base"
    if change == "base":
        base = "sha256:other"
    elif change == "content":
        source.write_text("two")
    elif change == "mode":
        source.chmod(0o755)
    elif change == "name":
        context = {"provider/c.py": source, "wheels/b-1.whl": source}
    else:
        context = {"provider/a.py": source, "wheels/b-2.whl": source}
    assert context_hash(base, context) != before
