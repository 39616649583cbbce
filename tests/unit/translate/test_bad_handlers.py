"""Probes, hooks and images with any content: a request that can be sent, or a refusal that names the field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.instances.http_get import AGENT_PROBE, _request, url_of
from provider.model.errors import Rejection
from provider.model.ids import ZoneId
from provider.model.probe import HttpAction
from provider.rpc.convert import INSTANCE_REQUEST
from provider.translate.admission import admit
from provider.translate.references import References
from provider.translate.request import Placement, instance_request

if TYPE_CHECKING:
    from provider.model.request import ContainerSpec

NUMBERS = st.integers(-3, 70_000)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["$(A)", "$$(A)", "a b", "x\r\ny: z", "%", "%zz", "//", "?#", "ü", "\x00"]
)
PORTS = NUMBERS | st.sampled_from(["web", "none", "0", "-1", "99999"])
HTTP = st.fixed_dictionaries(
    {"port": PORTS},
    optional={
        "path": TEXTS,
        "host": TEXTS,
        "scheme": st.sampled_from(["HTTP", "HTTPS", ""]),
        "httpHeaders": st.lists(st.fixed_dictionaries({"name": TEXTS, "value": TEXTS}), max_size=3),
    },
)
EXEC = st.fixed_dictionaries({}, optional={"command": st.lists(TEXTS, max_size=3)})
TCP = st.fixed_dictionaries({"port": PORTS}, optional={"host": TEXTS})
GRPC = st.fixed_dictionaries({"port": NUMBERS}, optional={"service": TEXTS | st.none()})
PROBE = st.fixed_dictionaries(
    {},
    optional={
        "exec": EXEC,
        "httpGet": HTTP,
        "tcpSocket": TCP,
        "grpc": GRPC,
        "initialDelaySeconds": NUMBERS,
        "periodSeconds": NUMBERS,
        "timeoutSeconds": NUMBERS,
        "successThreshold": NUMBERS,
        "failureThreshold": NUMBERS,
        "terminationGracePeriodSeconds": NUMBERS,
    },
)
HOOK = st.fixed_dictionaries(
    {},
    optional={
        "exec": EXEC,
        "httpGet": HTTP,
        "tcpSocket": TCP,
        "sleep": st.fixed_dictionaries({"seconds": NUMBERS}),
    },
)
RULE = st.fixed_dictionaries(
    {"action": st.sampled_from(["Restart", "RestartAllContainers", "Dance"])},
    optional={
        "exitCodes": st.fixed_dictionaries(
            {"operator": st.sampled_from(["In", "NotIn"])},
            optional={"values": st.lists(st.integers(0, 255), max_size=3)},
        )
    },
)
CONTAINER = st.fixed_dictionaries(
    {"name": st.just("c"), "image": TEXTS},
    optional={
        "livenessProbe": PROBE,
        "readinessProbe": PROBE,
        "startupProbe": PROBE,
        "lifecycle": st.fixed_dictionaries({}, optional={"postStart": HOOK, "preStop": HOOK}),
        "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never", "", "Sometimes"]),
        "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never", "", "Twice"]),
        "restartPolicyRules": st.lists(RULE, max_size=2),
        "terminationMessagePath": TEXTS,
        "terminationMessagePolicy": st.sampled_from(["File", "FallbackToLogsOnError", "Other"]),
        "ports": st.just([{"name": "web", "containerPort": 80}]),
    },
)


def translated(container: dict[str, Any]) -> ContainerSpec | Rejection:
    raw = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [container]}}
    try:
        request = instance_request(admit(raw), References(), Placement(zone=ZoneId("z")))
    except Rejection as rejection:
        return rejection
    assert INSTANCE_REQUEST.decode(INSTANCE_REQUEST.encode(request)) == request
    return request.containers[0]


@given(CONTAINER)
def test_any_container_is_translated_or_refused_by_name(container: dict[str, Any]) -> None:
    found = translated(container)
    if isinstance(found, Rejection):
        assert found.field.startswith("spec.containers[0].")
        assert found.field in found.message
        return
    for probe in (found.readiness, found.liveness, found.startup):
        if probe is not None:
            assert probe.period >= 1
            assert probe.timeout >= 1
            assert min(probe.success_threshold, probe.failure_threshold) >= 1


def url_or_refusal(action: HttpAction, address: str) -> tuple[str, str]:
    try:
        return url_of(action, address), ""
    except ValueError as refused:
        return "", str(refused)


@given(HTTP, TEXTS)
def test_a_url_is_one_word_whatever_is_in_it(http: dict[str, Any], address: str) -> None:
    action = HttpAction(80, http.get("path", "/"), http.get("scheme", ""), http.get("host", ""))
    url, refused = url_or_refusal(action, address)
    if refused:
        assert "in host name" in refused
        return
    assert url.isprintable()
    assert url.isascii()
    assert " " not in url
    assert url.partition("://")[0] in {"http", "https"}


@given(HTTP)
def test_an_http_request_is_one_request_whatever_is_in_its_headers(http: dict[str, Any]) -> None:
    headers = tuple((one["name"], one["value"]) for one in http.get("httpHeaders", ()))
    try:
        sent = _request("/", "", "host:80", headers, AGENT_PROBE).decode()
    except Exception as refused:
        if "invalid header field" in str(refused):
            return
        raise
    head, _, body = sent.partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert (lines[0], body) == ("GET / HTTP/1.1", "")
    assert len(lines) <= 5 + len(headers)
    assert all(":" in line and "\n" not in line and "\r" not in line for line in lines[1:])
