"""deploy/kustomize/provider says what the provider is: its paths, its image, a configuration that it takes."""

from __future__ import annotations

from typing import Any

import yaml

from provider.cluster.build import local_sources
from provider.cluster.provider_image import PROVIDER_IMAGE
from provider.config.load import load, zones_without_vswitch

PROVIDER = local_sources().parent / "kustomize" / "provider"


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROVIDER / name).read_text())
    return loaded


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = document("deployment.yaml")["spec"]["template"]["spec"]
    return spec


def mounts() -> dict[str, dict[str, Any]]:
    (container,) = pod()["containers"]
    volumes = {each["name"]: each for each in pod()["volumes"]}
    return {each["mountPath"]: {**each, **volumes[each["name"]]} for each in container["volumeMounts"]}


def test_the_image_is_this_version() -> None:
    (image,) = document("kustomization.yaml")["images"]
    assert f"{image['name']}:{image['newTag']}" == PROVIDER_IMAGE


def test_the_configuration_is_taken_and_leaves_no_block_to_chance() -> None:
    config = load(PROVIDER / "provider.yaml")
    assert zones_without_vswitch(config) == ()
    socket = config.runtime.docker.host.removeprefix("unix://")
    assert mounts()["/host/run"]["hostPath"]["path"] == "/run"
    assert socket == "/host/run/docker.sock"


def test_state_has_the_hosts_own_path_and_its_mounts_are_seen_there() -> None:
    state = mounts()["/var/lib/zonelet"]
    assert state["hostPath"]["path"] == "/var/lib/zonelet"
    assert state["mountPropagation"] == "Bidirectional"
    name = load(PROVIDER / "provider.yaml").name
    (container,) = pod()["containers"]
    assert f'"/var/lib/zonelet/{name}/elastic.sock"' in container["readinessProbe"]["exec"]["command"][-1]


def test_there_is_one_at_a_time_and_never_on_a_node_of_its_own() -> None:
    spec = document("deployment.yaml")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    terms = pod()["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}]}]


def test_it_has_the_account_of_the_base_and_no_role_beside_it() -> None:
    assert pod()["serviceAccountName"] == "zonelet-provider"
    assert document("kustomization.yaml")["resources"] == ["../base", "deployment.yaml"]
