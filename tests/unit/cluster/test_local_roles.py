from __future__ import annotations

from provider.cluster.local import PROVIDER_USER
from provider.cluster.local_roles import approver_role, provider_role


def test_every_binding_names_the_user_and_no_service_account() -> None:
    bindings = [each for each in provider_role() if each["kind"].endswith("Binding")]
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PROVIDER_USER}
    assert len(bindings) == 3
    assert all(each["subjects"] == [subject] for each in bindings)


def test_the_role_reaches_no_secret_and_no_pod() -> None:
    rules = [rule for each in provider_role() if "rules" in each for rule in each["rules"]]
    resources = {resource for rule in rules for resource in rule["resources"]}
    assert resources.isdisjoint({"secrets", "configmaps", "pods", "pods/status", "serviceaccounts/token", "*"})
    assert all("*" not in (*rule["verbs"], *rule["apiGroups"]) for rule in rules)


def test_the_role_can_delete_no_node() -> None:
    rules = [rule for each in provider_role() for rule in each.get("rules", ()) if "nodes" in rule["resources"]]
    assert [rule["verbs"] for rule in rules] == [["patch"]]


def test_the_approver_approves_serving_certificates_only() -> None:
    role, binding = approver_role()
    signers = [rule["resourceNames"] for rule in role["rules"] if "signers" in rule["resources"]]
    assert signers == [["kubernetes.io/kubelet-serving"]]
    assert [each["kind"] for each in binding["subjects"]] == ["User"]
