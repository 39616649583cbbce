"""Where a container's variables come from (k8s.io/api/core/v1, v1.37).

Names are the API's, in snake case; the rules of model/pod.py hold here too.
"""

from __future__ import annotations

from provider.model.api_object import ApiObject


class KeySelector(ApiObject, frozen=True):
    """ConfigMapKeySelector and SecretKeySelector."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class FieldSelector(ApiObject, frozen=True):
    """ObjectFieldSelector."""

    api_version: str = "v1"
    field_path: str = ""


class ResourceSelector(ApiObject, frozen=True):
    """ResourceFieldSelector; `divisor` a quantity."""

    container_name: str = ""
    resource: str = ""
    divisor: str | int | float = "0"


class EnvVarSource(ApiObject, frozen=True):
    """Exactly one source is set."""

    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvEntry(ApiObject, frozen=True):
    """EnvVar of the API."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ObjectReference(ApiObject, frozen=True):
    """A name in the pod's namespace."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(ApiObject, frozen=True):
    """All keys of a ConfigMap or Secret, with a prefix."""

    prefix: str = ""
    config_map_ref: ObjectReference | None = None
    secret_ref: ObjectReference | None = None
