from __future__ import annotations

from typing import Any

import pytest

from provider.model.errors import Rejection
from provider.model.ids import ZoneId
from provider.model.pod import pod_from_json
from provider.model.probe import Action, BrokenAction, ExecAction, GrpcAction, HttpAction, SleepAction
from provider.model.request import ContainerKind, InstanceRequest, RestartPolicy, RestartRule
from provider.translate.references import References
from provider.translate.request import Placement, instance_request


def made(container: dict[str, Any] | None = None, **spec: Any) -> InstanceRequest:
    first = {"name": "c", "image": "i", **(container or {})}
    pod = pod_from_json(
        {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [first], **spec}}
    )
    return instance_request(pod, References(), Placement(zone=ZoneId("zone-a"), cluster_dns=("10.96.0.10",)))


def test_init_and_sidecar_come_first() -> None:
    request = made(initContainers=[{"name": "a"}, {"name": "b", "restartPolicy": "Always"}])
    assert [one.kind for one in request.containers] == [ContainerKind.INIT, ContainerKind.SIDECAR, ContainerKind.APP]
    assert (request.uid, request.zone, request.grace, request.hostname) == ("u", "zone-a", 30, "p")


def test_a_grace_of_zero_stays_zero() -> None:
    assert made(terminationGracePeriodSeconds=0).grace == 0


def test_container_security_overrides_the_pods() -> None:
    request = made(
        {"securityContext": {"runAsUser": 0}}, securityContext={"runAsUser": 7, "runAsGroup": 8, "fsGroup": 9}
    )
    security = request.containers[0].security
    assert (security.user, security.group, request.fs_group) == (0, 8, 9)


def test_a_named_probe_port_is_resolved_or_told_at_each_try() -> None:
    probe = {"readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}}}
    request = made({**probe, "ports": [{"name": "web", "containerPort": 80}]})
    assert request.containers[0].readiness is not None
    assert request.containers[0].readiness.action == HttpAction(80, "/ok")
    assert probe_action({"httpGet": {"port": "web"}}) == BrokenAction('port "web" not found')
    (container,) = made({"lifecycle": {"preStop": {"httpGet": {"port": "web"}}}}).containers
    assert container.pre_stop == BrokenAction('port "web" not found')


def test_a_grpc_probe_names_its_service() -> None:
    assert probe_action({"grpc": {"port": 50051, "service": "shop"}}) == GrpcAction(50051, "shop")
    assert probe_action({"grpc": {"port": 50051}}) == GrpcAction(50051)


def test_a_probes_command_knows_the_literal_variables_only() -> None:
    env = [{"name": "A", "value": "a"}, {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    action = probe_action({"exec": {"command": ["sh", "$(A)$$(A)", "$(N)", "$(KUBERNETES_PORT)"]}}, env=env)
    assert action == ExecAction(("sh", "a$(A)", "", "$(KUBERNETES_PORT)"))


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_a_probe_port_out_of_range_is_told_at_each_try(port: int) -> None:
    assert probe_action({"tcpSocket": {"port": port}}) == BrokenAction(f"invalid port number: {port}")


def probe_action(probe: dict[str, Any], **container: Any) -> Action:
    readiness = made({"readinessProbe": probe, **container}).containers[0].readiness
    assert readiness is not None
    return readiness.action


def test_hostname_and_domain() -> None:
    plain = made()
    assert (plain.hostname, plain.domain, plain.fqdn) == ("p", "", False)
    request = made(hostname="h", subdomain="s", setHostnameAsFQDN=True, shareProcessNamespace=True)
    assert (request.hostname, request.domain, request.fqdn) == ("h", "s.ns.svc.cluster.local", True)
    assert request.share_processes
    assert made(setHostnameAsFQDN=True).fqdn is False  # without a subdomain there is no FQDN
    over = made(hostnameOverride="a" * 70, hostname="h", subdomain="s", setHostnameAsFQDN=True)
    assert (over.hostname, over.domain, over.fqdn) == ("a" * 63, "", False)


def test_an_fqdn_that_the_kernel_cannot_hold_waits() -> None:
    name = "h" * 50
    with pytest.raises(Rejection) as refused:
        made(hostname=name, subdomain="s", setHostnameAsFQDN=True)
    assert (refused.value.reason, refused.value.terminal) == ("FailedCreatePodSandBox", False)
    assert refused.value.message == (
        "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, "
        f"FQDN {name}.s.ns.svc.cluster.local is too long (64 characters is the max, 73 characters requested)"
    )


def test_a_stop_signal_and_an_expanded_sub_path() -> None:
    mount = {"name": "v", "mountPath": "/v", "subPathExpr": "$(A)"}
    (one,) = made({"lifecycle": {"stopSignal": "SIGUSR1"}, "volumeMounts": [mount]}).containers
    assert one.stop_signal == "SIGUSR1"
    assert [(each.sub_path, each.expand) for each in one.mounts] == [("$(A)", True)]


def test_hooks_are_taken_as_they_are() -> None:
    lifecycle = {
        "postStart": {"exec": {"command": ["echo", "$(A)"]}},
        "preStop": {"httpGet": {"port": "web", "path": "/bye", "httpHeaders": [{"name": "X", "value": "1"}]}},
    }
    ports = [{"name": "web", "containerPort": 80}]
    (container,) = made({"lifecycle": lifecycle, "ports": ports, "env": [{"name": "A", "value": "a"}]}).containers
    assert container.post_start == ExecAction(("echo", "$(A)"))
    assert container.pre_stop == HttpAction(80, "/bye", headers=(("X", "1"),))
    (container,) = made({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}).containers
    assert (container.post_start, container.pre_stop) == (None, SleepAction(5))


def test_a_hook_without_a_handler_is_refused() -> None:
    with pytest.raises(Rejection, match=r"spec\.containers\[0\]\.lifecycle\.preStop has no handler"):
        made({"lifecycle": {"preStop": {}}})


def test_restart_rules_of_a_container() -> None:
    rules = [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [42, 43]}},
        {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1]}},
        {"action": "Restart"},
    ]
    (container,) = made({"restartPolicy": "Never", "restartPolicyRules": rules}).containers
    assert container.restart_policy is RestartPolicy.NEVER
    assert container.restart_rules == (RestartRule((42, 43)), RestartRule((1,), others=True))
    assert made().containers[0].restart_policy is None
