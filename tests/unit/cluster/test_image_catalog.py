"""deploy/local/images.yaml: it holds together, and covers what upstream's examples name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provider.cluster.build_cache import cache_root
from provider.cluster.build_command import BuildError
from provider.cluster.image_catalog import entrypoints, load_catalog, with_tag

SURVEY = Path(__file__).parent / "example_images.txt"
UPSTREAMS = {"argo": Path("argo-k1"), "kubernetes": Path("kubernetes-k1")}


def surveyed() -> dict[str, bool]:
    """Return the images of the examples -> whether a template uses it without a command."""
    lines = [line.split() for line in SURVEY.read_text().splitlines() if not line.startswith("#")]
    return {fields[0]: len(fields) > 1 for fields in lines}


@pytest.mark.parametrize("name", surveyed())
def test_an_image_of_the_examples_is_made_or_its_absence_explained(name: str) -> None:
    catalog = load_catalog()
    made = {tag for image in catalog.images for tag in image.tags}
    assert with_tag(name) in made or len(catalog.unavailable.get(name, "")) > 10


def test_the_argo_controller_never_has_to_ask_a_registry() -> None:
    known = entrypoints()
    unavailable = load_catalog().unavailable
    without = [name for name, no_command in surveyed().items() if no_command and name not in unavailable]
    assert [name for name in without if not known.get(name)] == []
    assert known["argoproj/argosay:v2"] == {"entrypoint": ["/argosay"]}
    assert known["alpine:latest"] == {"cmd": ["/bin/sh"]}


@pytest.mark.integration
def test_the_survey_names_every_image_of_the_built_examples() -> None:
    examples = max(cache_root().glob("upstream/argo-*/module/examples"))  # the set-up of these tests has built it
    text = "\n".join(path.read_text() for path in examples.rglob("*.yaml"))
    named = set(re.findall(r"""^[ -]*image: *["']?([^\s"'{}]+)["']?(?: *#.*)?$""", text, re.MULTILINE))
    assert named - surveyed().keys() == set()


def test_the_tag_is_the_one_the_stock_controller_asks_for() -> None:
    tags = {tag for image in load_catalog().images for tag in image.tags}
    assert "quay.io/argoproj/argoexec:v3.7.3" in tags


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("alpine", "alpine:latest"),
        ("alpine:3.6", "alpine:3.6"),
        ("registry:5000/alpine", "registry:5000/alpine:latest"),
        ("quay.io/argoproj/argoexec:v3", "quay.io/argoproj/argoexec:v3"),
    ],
)
def test_names_get_their_tag(name: str, tag: str) -> None:
    assert with_tag(name) == tag


def test_the_hash_follows_the_layers_and_the_programs_but_not_other_images() -> None:
    catalog = load_catalog()
    by_name = {image.names[0]: image for image in catalog.images}
    busybox, executor = by_name["busybox"], by_name["quay.io/argoproj/argoexec:v3.7.3"]
    newer = UPSTREAMS | {"argo": Path("argo-k2")}
    assert catalog.image_hash(busybox, UPSTREAMS) == catalog.image_hash(busybox, newer)
    assert catalog.image_hash(executor, UPSTREAMS) != catalog.image_hash(executor, newer)
    assert len({catalog.image_hash(image, UPSTREAMS) for image in catalog.images}) == len(catalog.images)


def test_the_path_is_always_set() -> None:
    assert all(image.environment[0].startswith("PATH=/") for image in load_catalog().images)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("layers: {}\nimages: [{names: [x], layers: [b]}]", "there is no layer 'b'"),
        ("layers: {a: {over: b}}\nimages: []", "there is no layer 'b'"),
        ("layers: {a: {}}\nimages: [{names: [x], layers: [a], cmd: [sh]}]", "'sh' is not an absolute path"),
        ("layers: {a: {}}\nimages: [{names: [x, y], layers: [a]}, {names: ['x:latest'], layers: [a]}]", "listed twice"),
        ("layers: {a: {}}\nimages: [{names: [x], layers: [a]}]\nunavailable: {x: why}", "made all the same"),
        ("layers: {a: {colour: red}}\nimages: []", "unknown field `colour`"),
        ("layers: [", "is not a list of images"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, mistake: str) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(BuildError) as caught:
        load_catalog(path)
    assert mistake in str(caught.value)
