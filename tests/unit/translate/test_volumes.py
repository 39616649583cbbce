from __future__ import annotations

from typing import Any

import pytest

from provider.model.errors import Rejection
from provider.model.pod import pod_from_json
from provider.model.pod_volumes import HostPathSource, VolumeEntry
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume, HostPathVolume, Volume
from provider.translate.references import References
from provider.translate.volumes import host_path, volume

REFERENCES = References(
    config_maps={"cm": {"a": b"1", "b": b"2"}}, secrets={"s": {"k": b"v"}}, tokens={("", 3600): "jwt"}
)


def made(source: dict[str, Any]) -> Volume:
    spec = {"containers": [], "volumes": [{"name": "v", **source}]}
    pod = pod_from_json({"metadata": {"name": "p", "labels": {"b": "2", "a": '"'}}, "spec": spec})
    assert pod.spec.volumes is not None
    return volume(pod, pod.spec.volumes[0], REFERENCES, "spec.volumes[0]")


def test_empty_dir() -> None:
    assert made({}) == EmptyDirVolume("v")
    assert made({"emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}}) == EmptyDirVolume(
        "v", memory=True, size_limit=1024
    )
    with pytest.raises(Rejection, match="HugePages"):
        made({"emptyDir": {"medium": "HugePages"}})


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ({"configMap": {"name": "cm"}}, [FileEntry("a", b"1"), FileEntry("b", b"2")]),
        (
            {"configMap": {"name": "cm", "items": [{"key": "b", "path": "x/y", "mode": 0o400}]}},
            [FileEntry("x/y", b"2", 0o400)],
        ),
        ({"secret": {"secretName": "s", "defaultMode": 0o600}}, [FileEntry("k", b"v", 0o600)]),
        ({"secret": {"secretName": "no", "optional": True}}, []),
        (
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            [FileEntry("l", b'a="\\""\nb="2"')],
        ),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token"}},
                        {"configMap": {"name": "cm"}},
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "a"}]}},
                    ]
                }
            },
            [FileEntry("token", b"jwt"), FileEntry("a", b"v"), FileEntry("b", b"2")],
        ),
    ],
)
def test_files(source: dict[str, Any], files: list[FileEntry]) -> None:
    assert made(source) == FilesVolume("v", tuple(files))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        (
            {"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "x"}}]}},
            "failed to fetch token",
        ),
        (
            {
                "downwardAPI": {
                    "items": [{"path": "x", "resourceFieldRef": {"containerName": "no", "resource": "limits.cpu"}}]
                }
            },
            "container no not found",
        ),
    ],
)
def test_what_is_missing_waits(source: dict[str, Any], text: str) -> None:
    with pytest.raises(Rejection) as refused:
        made(source)
    assert refused.value.message == f'MountVolume.SetUp failed for volume "v" : {text}'
    assert (refused.value.terminal, refused.value.reason) == (False, "FailedMount")


def test_why_a_token_is_missing() -> None:
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}
    spec = {"containers": [], "volumes": [{"name": "v", **source}]}
    pod = pod_from_json({"metadata": {"name": "p"}, "spec": spec})
    references = References(token_errors={("", 600): 'serviceaccounts "x" not found'})
    assert pod.spec.volumes is not None
    with pytest.raises(Rejection) as refused:
        volume(pod, pod.spec.volumes[0], references, "spec.volumes[0]")
    assert refused.value.message == (
        'MountVolume.SetUp failed for volume "v" : failed to fetch token: serviceaccounts "x" not found'
    )


def test_labels_are_quoted_as_go_quotes_them() -> None:
    source = {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.annotations"}}]}}
    spec = {"containers": [], "volumes": [{"name": "v", **source}]}
    text = 'tab\t bell\a del\x7f nul\0 back\\ quote" ü \u200b \U000e0001'
    pod = pod_from_json({"metadata": {"name": "p", "annotations": {"k": text}}, "spec": spec})
    assert pod.spec.volumes is not None
    made = volume(pod, pod.spec.volumes[0], References(), "spec.volumes[0]")
    assert isinstance(made, FilesVolume)
    assert made.files[0].content.decode() == (r'k="tab\t bell\a del\x7f nul\x00 back\\ quote\" ü \u200b \U000e0001"')


def test_a_host_path_needs_the_operators_word() -> None:
    entry = VolumeEntry("v", host_path=HostPathSource("/data/x", "Directory"))
    assert host_path(entry, ("/other", "/data"), "spec.volumes[0]") == HostPathVolume("v", "/data/x", "Directory")
    assert host_path(VolumeEntry("v"), (), "spec.volumes[0]") is None
    for allowed, path in (((), "/data/x"), (("/data",), "/database"), (("/data",), "/data/../etc")):
        with pytest.raises(Rejection) as refused:
            host_path(VolumeEntry("v", host_path=HostPathSource(path)), allowed, "spec.volumes[0]")
        assert (refused.value.field, refused.value.terminal) == ("spec.volumes[0].hostPath", True)
        assert "pods.hostPath.allowedPaths" in refused.value.message
