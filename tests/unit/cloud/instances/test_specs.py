"""From a request to what the runtime is told."""

from __future__ import annotations

from typing import Any

import pytest

from provider.cloud.instances.specs import run_spec, sandbox_spec
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec, EnvVar, InstanceRequest
from provider.model.size import InstanceSize
from provider.model.volume import VolumeMount


def request(container: ContainerSpec | None = None, **fields: Any) -> InstanceRequest:
    one = ContainerSpec(name="c", image="i") if container is None else container
    return InstanceRequest(
        uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(one,), hostname="h", **fields
    )


@pytest.mark.parametrize(("fqdn", "domain", "expected"), [(False, "s.n", ""), (True, "", ""), (True, "s.n", "h.s.n")])
def test_the_kernels_hostname(fqdn: bool, domain: str, expected: str) -> None:
    spec = sandbox_spec(request(fqdn=fqdn, domain=domain), VSwitchId("v"), "10.0.0.4")
    assert (spec.hostname, spec.kernel_hostname) == ("h", expected)


def test_the_size_limits_the_instance_where_the_cloud_has_sizes() -> None:
    box = ContainerSpec(name="c", image="i", cpu_limit=500, memory_limit=100)
    for sizes, expected in (((), (500, 100)), ((InstanceSize(2000, 4000),), (2000, 4000))):
        spec = sandbox_spec(request(box, cpu=2000, memory=4000, sizes=sizes), VSwitchId("v"), "10.0.0.4")
        assert (spec.cpu, spec.memory) == expected


def mounting(path: str, *, expand: bool = True) -> InstanceRequest:
    env = (EnvVar("IP", from_address=True), EnvVar("A", "a"), EnvVar("EMPTY", ""))
    mounts = (VolumeMount("v", "/v", path, expand=expand),)
    return request(ContainerSpec(name="c", image="i", env=env, mounts=mounts))


def test_a_sub_path_is_expanded_from_the_containers_variables() -> None:
    one = mounting("$(A)/$(IP)")
    assert run_spec(one, one.containers[0], 0, "", "10.0.0.4").container.mounts == (
        VolumeMount("v", "/v", "a/10.0.0.4"),
    )
    plain = mounting("$(A)", expand=False)
    assert run_spec(plain, plain.containers[0], 0, "", "10.0.0.4").container.mounts == plain.containers[0].mounts


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/$(A)", "error SubPath `/a` must not be an absolute path"),
        ("$(A)/../b", "unable to provision SubPath `a/../b`: must not contain '..'"),
    ],
)
def test_a_sub_path_that_leads_out_once_it_is_expanded_is_a_config_error(path: str, text: str) -> None:
    one = mounting(path)
    with pytest.raises(RuntimeFault) as fault:
        run_spec(one, one.containers[0], 0, "", "10.0.0.4")
    assert (fault.value.kind, fault.value.message) == (FaultKind.CONFIG, text)


def test_a_sub_path_of_a_variable_without_a_value_is_a_config_error() -> None:
    one = mounting("$(MISSING)/$(EMPTY)")
    with pytest.raises(RuntimeFault) as fault:
        run_spec(one, one.containers[0], 0, "", "10.0.0.4")
    assert (fault.value.kind, fault.value.message) == (FaultKind.CONFIG, "missing value for EMPTY, MISSING")
