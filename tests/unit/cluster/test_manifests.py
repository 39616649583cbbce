from __future__ import annotations

import pytest

from provider.clock import LoopClock
from provider.cluster.manifests import Manifests, documents, is_available, is_established, wait_for
from provider.kube.client import KubeError
from tests.unit.cluster.kube_fake import FakeKubeApi

DEPLOYMENT = "/apis/apps/v1/namespaces/argo/deployments/server"


def _object(kind: str, name: str, version: str = "v1", namespace: str = "") -> dict[str, object]:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def test_empty_documents_are_left_out() -> None:
    assert documents("a: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


async def test_objects_are_applied_in_order_at_their_paths_and_removed_in_reverse() -> None:
    api = FakeKubeApi()
    manifests = Manifests(api)
    objects = [
        _object("Namespace", "argo"),
        _object("ConfigMap", "c", namespace="argo"),
        _object("ConfigMap", "d"),
        _object("Deployment", "server", "apps/v1", "argo"),
    ]
    await manifests.apply(objects)
    paths = [
        "/api/v1/namespaces/argo",
        "/api/v1/namespaces/argo/configmaps/c",
        "/api/v1/namespaces/default/configmaps/d",
        DEPLOYMENT,
    ]
    assert [path for verb, path in api.seen if verb == "apply"] == paths
    assert api.seen.count(("get", "/api/v1")) == 1
    await manifests.remove([*objects, _object("Unknown", "x")])
    assert [path for verb, path in api.seen if verb == "delete"] == paths[::-1]
    await manifests.remove(objects)  # nothing is there any more


async def test_an_unknown_kind_is_told_by_name() -> None:
    with pytest.raises(KubeError, match="serves no Unknown in v1"):
        await Manifests(FakeKubeApi()).apply([_object("Unknown", "x")])


def _deployment(status: str, generation: int = 1, seen: int = 1) -> dict[str, object]:
    conditions = [{"type": "Progressing", "status": "True"}, {"type": "Available", "status": status}]
    return {
        "metadata": {"name": "server", "generation": generation},
        "status": {"observedGeneration": seen, "conditions": conditions},
    }


def test_a_deployment_counts_when_its_newest_generation_is_available() -> None:
    assert is_available(_deployment("True"))
    assert not is_available(_deployment("False"))
    assert not is_available(_deployment("True", generation=2))
    assert not is_available({"metadata": {"generation": 1}})


def test_a_crd_is_established_by_its_condition() -> None:
    assert is_established({"status": {"conditions": [{"type": "Established", "status": "True"}]}})
    assert not is_established({})


@pytest.mark.looptime
async def test_waiting_watches_through_the_end_of_a_watch_until_it_holds() -> None:
    api = FakeKubeApi({DEPLOYMENT: _deployment("False")})
    api.events.put_nowait({"type": "END"})
    api.events.put_nowait({"type": "MODIFIED", "object": _deployment("False")})
    api.events.put_nowait({"type": "DELETED", "object": _deployment("True")})
    api.events.put_nowait({"type": "MODIFIED", "object": _deployment("True")})
    found = await wait_for(api, DEPLOYMENT, is_available, clock=LoopClock(), seconds=30)
    assert is_available(found)
    assert api.seen.count(("list", DEPLOYMENT.rpartition("/")[0])) == 2


@pytest.mark.looptime
async def test_waiting_ends_after_its_time() -> None:
    api = FakeKubeApi({DEPLOYMENT: _deployment("False")})
    with pytest.raises(TimeoutError):
        await wait_for(api, DEPLOYMENT, is_available, clock=LoopClock(), seconds=30)


@pytest.mark.looptime
@pytest.mark.parametrize(("code", "raised"), [(403, KubeError), (0, TimeoutError), (500, TimeoutError)])
async def test_a_refusal_is_told_at_once_and_an_absent_server_is_waited_for(code: int, raised: type[Exception]) -> None:
    class Refusing(FakeKubeApi):
        async def list(self, path: str, query: object = None) -> dict[str, object]:
            raise KubeError(code, "Reason", "message")

    with pytest.raises(raised):
        await wait_for(Refusing(), DEPLOYMENT, is_available, clock=LoopClock(), seconds=30)
