"""What a pod may do, what it is called, and what it wants of its node."""

from __future__ import annotations

from tests.compatibility import cases
from tests.compatibility.mutation import DROP, UNPROBED, Mutation, tells

_M = Mutation

_OWN = "main/securityContext"
_PODS = "spec/securityContext"
_ID = tells("id -u; id -g; id -G")
_NOBODYS_POD = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["nobody"]}]}
        ]
    }
}

SECURITY: tuple[Mutation, ...] = (
    _M("user-unknown", {f"{_OWN}/runAsUser": 12345, **_ID}),
    _M("user-and-group", {f"{_OWN}/runAsUser": 12345, f"{_OWN}/runAsGroup": 54321, **_ID}),
    _M("group-without-user", {f"{_OWN}/runAsGroup": 54321, **_ID}),
    _M("not-root-image-is", {f"{_OWN}/runAsNonRoot": True}),
    _M("not-root-but-root", {f"{_PODS}/runAsNonRoot": True, f"{_OWN}/runAsUser": 0}),
    _M("not-root-by-number", {f"{_PODS}/runAsNonRoot": True, f"{_OWN}/runAsUser": 5, **_ID}),
    _M("groups", {f"{_PODS}/supplementalGroups": [1, 4294967294 // 2], **_ID}),
    _M(
        "groups-strict",
        {f"{_PODS}/supplementalGroupsPolicy": "Strict"},
        refused="spec.securityContext.supplementalGroupsPolicy",
    ),
    _M("fs-group", {f"{_PODS}/fsGroup": 777, **tells("ls -nd /scratch /config /secret | cut -c1-35")}),
    _M("fs-group-policy", {f"{_PODS}/fsGroupChangePolicy": "OnRootMismatch"}),
    _M("capability-unknown", {f"{_OWN}/capabilities": {"add": ["NOTHING"]}}),
    _M("capability-drop-unknown", {f"{_OWN}/capabilities": {"drop": ["NOTHING"]}}),
    _M(
        "capability-prefixed",
        {f"{_OWN}/capabilities": {"add": ["CAP_NET_ADMIN"]}, **tells("grep CapEff /proc/self/status")},
    ),
    _M(
        "capability-lower-case",
        {f"{_OWN}/capabilities": {"add": ["net_admin"]}, **tells("grep CapEff /proc/self/status")},
    ),
    _M("capabilities-none", {f"{_OWN}/capabilities": {"drop": ["ALL"]}, **tells("grep CapEff /proc/self/status")}),
    _M("privileges-kept", {f"{_OWN}/allowPrivilegeEscalation": True, **tells("grep NoNewPrivs /proc/self/status")}),
    _M("privileges-given-up", tells("grep NoNewPrivs /proc/self/status")),
    _M("root-read-only", {f"{_OWN}/readOnlyRootFilesystem": True, **tells("touch /x; touch /scratch/x && echo yes")}),
    _M(
        "seccomp-profile-absent",
        {f"{_OWN}/seccompProfile": {"type": "Localhost", "localhostProfile": "nothing.json"}},
        refused="spec.containers[0].securityContext.seccompProfile",
        until=cases.ended_or_refused,
    ),
    _M("seccomp-none", {f"{_OWN}/seccompProfile": {"type": "Unconfined"}, **tells("grep Seccomp: /proc/self/status")}),
    _M(
        "seccomp-default",
        {f"{_OWN}/seccompProfile": {"type": "RuntimeDefault"}, **tells("grep Seccomp: /proc/self/status")},
    ),
    _M(
        "apparmor-profile-absent",
        {f"{_OWN}/appArmorProfile": {"type": "Localhost", "localhostProfile": "nothing"}},
        refused="spec.containers[0].securityContext.appArmorProfile",
    ),
    _M("apparmor-default", {f"{_PODS}/appArmorProfile": {"type": "RuntimeDefault"}}),
    _M("selinux-level", {f"{_PODS}/seLinuxOptions": {"level": "s0:c1,c2"}}),
    _M("sysctl-unsafe", {f"{_PODS}/sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
    _M("sysctl-unknown", {f"{_PODS}/sysctls": [{"name": "net.ipv4.nothing", "value": "1"}]}),
    _M("sysctl-of-the-host", {f"{_PODS}/sysctls": [{"name": "vm.swappiness", "value": "1"}]}),
    _M("sysctl-bad-value", {f"{_PODS}/sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "many"}]}, lasts=6),
    _M(
        "sysctl-safe",
        {
            f"{_PODS}/sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"}],
            **tells("cat /proc/sys/net/ipv4/ip_local_port_range"),
        },
    ),
    _M("proc-mount", {f"{_OWN}/procMount": "Unmasked", "spec/hostUsers": False}, refused="procMount", lasts=6),
    _M(
        "windows-options",
        {f"{_OWN}/windowsOptions": {"runAsUserName": "x"}},
        refused="spec.containers[0].securityContext.windowsOptions",
    ),
    _M("system-windows", {"spec/os": {"name": "windows"}, "spec/securityContext": DROP, _OWN: DROP}, refused="spec.os"),
)

NAMES: tuple[Mutation, ...] = (
    _M("alias-bad-address", {"spec/hostAliases/0/ip": "nowhere"}),
    _M(
        "alias-twice",
        {
            "spec/hostAliases": [
                {"ip": "192.0.2.1", "hostnames": ["one"]},
                {"ip": "192.0.2.1", "hostnames": ["three"]},
            ],
            **tells("grep 192.0.2.1 /etc/hosts"),
        },
    ),
    _M("alias-without-names", {"spec/hostAliases/0/hostnames": [], **tells("tail -n 2 /etc/hosts")}),
    _M(
        "dns-many-searches",
        {
            "spec/dnsConfig/searches": [f"domain-{n}.example.com" for n in range(32)],
            **tells("grep -c . /etc/resolv.conf; wc -w < /etc/resolv.conf"),
        },
    ),
    _M("dns-too-many-searches", {"spec/dnsConfig/searches": [f"domain-{n}.example.com" for n in range(33)]}),
    _M("dns-odd-search", {"spec/dnsConfig/searches": ["."], **tells("cat /etc/resolv.conf")}),
    _M(
        "dns-odd-options",
        {
            "spec/dnsConfig/options": [{"name": "nothing", "value": "much"}, {"name": "edns0"}],
            **tells("cat /etc/resolv.conf"),
        },
    ),
    _M("dns-nobody", {"spec/dnsConfig": {"searches": ["x"]}}),
    _M(
        "dns-of-the-host",
        {"spec/dnsPolicy": "Default", **tells("grep -c ^nameserver /etc/resolv.conf; tail -n 1 /etc/resolv.conf")},
    ),
    _M("hostname-longest", {"spec/hostname": "h" * 63, **tells("hostname")}),
    _M("hostname-of-the-pod", {"spec/hostname": DROP, "spec/subdomain": DROP, **tells("hostname")}),
    _M("hostname-cut", {"metadata/name": "hostname-cut" + "-x" * 60, "spec/hostname": DROP, **tells("hostname")}),
    _M("hostname-full", {"spec/setHostnameAsFQDN": True, **tells("hostname | wc -c")}),
    _M(
        "hostname-full-too-long",
        {"spec/setHostnameAsFQDN": True, "spec/hostname": "h" * 40, "spec/subdomain": "s" * 40},
        lasts=6,
    ),
    _M(
        "hostname-overridden",
        {"spec/hostnameOverride": "other.example.com", **tells("hostname; grep -c other /etc/hosts")},
    ),
    _M("links-off", {"spec/enableServiceLinks": False, **tells("env | grep -c KUBERNETES_")}),
)

NODE: tuple[Mutation, ...] = (
    _M("selector-of-another-node", {"spec/nodeSelector": {"kubernetes.io/hostname": "nobody"}}),
    _M("affinity-to-another-node", {"spec/affinity": {"nodeAffinity": _NOBODYS_POD}}),
    _M("scheduler-unknown", {"spec/schedulerName": "nobody"}),
    _M("priority-class-unknown", {"spec/priorityClassName": "nothing"}),
    _M("gates-and-a-node", {"spec/schedulingGates": [{"name": "example.com/gate"}]}),
    _M("runtime-class-unknown", {"spec/runtimeClassName": "nothing"}),
    _M("runtime-class-without-handler", {"spec/runtimeClassName": "odd"}, refused="spec.runtimeClassName", lasts=6),
    _M("overhead-without-class", {"spec/overhead": {"cpu": "1"}}),
    _M("account-absent", {"spec/serviceAccountName": "nothing"}),
    _M(
        "host-network",
        {"spec/hostNetwork": True, "spec/hostname": DROP, "spec/subdomain": DROP},
        refused="hostPort",
    ),
    _M("host-processes", {"spec/hostPID": True}, refused="spec.hostPID"),
    _M("host-ipc", {"spec/hostIPC": True}, refused="spec.hostIPC"),
    _M("users-of-its-own", {"spec/hostUsers": False}, refused="spec.hostUsers", lasts=6),
    _M("host-port", {"main/ports/0/hostPort": 18080}, refused="spec.containers[0].ports[0].hostPort"),
    _M("processes-shared", {"spec/shareProcessNamespace": True, **tells("cat /proc/1/comm")}),
    _M("gate-of-readiness", {"spec/readinessGates": [{"conditionType": "example.com/gate"}]}, until=cases.running),
    _M(
        "claims-of-devices",
        {"spec/resourceClaims": [{"name": "gpu", "resourceClaimName": "nothing"}]},
        refused="spec.resourceClaims",
        lasts=6,
    ),
    _M("too-much-cpu", {"main/resources/requests/cpu": "9000"}),
    _M("too-much-memory", {"main/resources": {"requests": {"memory": "90000Gi"}}}),
    _M("too-much-storage", {"main/resources/requests/ephemeral-storage": "90000Gi"}),
    _M("resource-unknown", {"main/resources/limits/example.com~1gadget": "1"}, refused="example.com/gadget"),
    _M("huge-pages", {"main/resources/limits/hugepages-2Mi": "2Mi"}, refused="hugepages-2Mi", until=cases.ended),
    _M("memory-tiny", {"main/resources": {"limits": {"memory": "100Ki"}}}, lasts=12),
    _M("memory-one-byte", {"main/resources": {"limits": {"memory": "1"}}}, lasts=12),
    _M(
        "memory-small",
        {"main/resources": {"limits": {"memory": "8Mi"}}, **UNPROBED, "main/args": ["tail /dev/zero"]},
        until=cases.ended,
    ),
    _M("cpu-tiny", {"main/resources": {"limits": {"cpu": "1m"}}, **UNPROBED}, until=cases.running),
    _M("resources-of-the-pod", {"spec/resources": {"limits": {"memory": "64Mi"}}}, refused="spec.resources"),
)
