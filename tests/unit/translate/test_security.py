"""securityContext of pod and container, and sysctls."""

from __future__ import annotations

from typing import Any

import pytest

from provider.model.errors import Rejection
from provider.model.pod import Pod, pod_from_json
from provider.model.request import SecurityContext
from provider.translate.security import security, sysctls, wants_apparmor


def pod(own: dict[str, Any] | None = None, **common: Any) -> Pod:
    containers = [{"name": "c", "image": "i", "securityContext": own or {}}]
    spec = {"containers": containers, "securityContext": common}
    return pod_from_json({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec})


def made(own: dict[str, Any] | None = None, **common: Any) -> SecurityContext:
    one = pod(own, **common)
    return security(one, one.spec.containers[0])


def test_the_containers_word_is_the_last() -> None:
    common = {
        "runAsUser": 1,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "Unconfined"},
        "appArmorProfile": {"type": "RuntimeDefault"},
        "seLinuxOptions": {"type": "t", "level": "l"},
    }
    assert made(**common) == SecurityContext(
        user=1, run_as_non_root=True, seccomp="unconfined", apparmor="default", selinux=("type:t", "level:l")
    )
    own = {
        "runAsNonRoot": False,
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Unconfined"},
        "seLinuxOptions": {"user": "u"},
    }
    assert made(own, **common) == SecurityContext(user=1, apparmor="unconfined", selinux=("user:u",))


@pytest.mark.parametrize(
    ("common", "own", "wanted"),
    [
        (None, None, False),
        ("Unconfined", None, False),
        ("RuntimeDefault", None, True),
        ("Unconfined", "RuntimeDefault", True),
        ("RuntimeDefault", "Unconfined", True),  # upstream looks at the pod's word alone
    ],
)
def test_who_needs_apparmor(common: str | None, own: str | None, *, wanted: bool) -> None:
    def said(kind: str | None) -> dict[str, Any]:
        return {} if kind is None else {"appArmorProfile": {"type": kind}}

    assert wants_apparmor(pod(said(own), **said(common))) is wanted


@pytest.mark.parametrize("name", ["net.ipv4.ip_unprivileged_port_start", "net/ipv4/ip_unprivileged_port_start"])
def test_a_safe_sysctl(name: str) -> None:
    assert sysctls(pod(sysctls=[{"name": name, "value": "1"}])) == (("net.ipv4.ip_unprivileged_port_start", "1"),)


def test_an_unsafe_sysctl_is_forbidden_as_by_the_kubelet() -> None:
    with pytest.raises(Rejection) as refused:
        sysctls(pod(sysctls=[{"name": "kernel.msgmax", "value": "1"}]))
    assert (refused.value.reason, refused.value.terminal) == ("SysctlForbidden", True)
    assert refused.value.message == 'forbidden sysctl: "kernel.msgmax" not allowlisted'
