"""Volumes of a pod and their mounts (k8s.io/api/core/v1, v1.37).

Names are the API's, in snake case; the rules of model/pod.py hold here too.
"""

from __future__ import annotations

from msgspec import field

from provider.model.api_object import ApiObject
from provider.model.pod_environment import FieldSelector, ResourceSelector


class Mount(ApiObject, frozen=True):
    """VolumeMount of the API."""

    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False


class KeyToPath(ApiObject, frozen=True):
    """One key of a ConfigMap or Secret as a file."""

    key: str
    path: str
    mode: int | None = None


class EmptyDirSource(ApiObject, frozen=True):
    """emptyDir; `medium` is "" or "Memory"."""

    medium: str = ""
    size_limit: str | int | float | None = None


class HostPathSource(ApiObject, frozen=True):
    """hostPath; `type` empty: not checked."""

    path: str = ""
    type: str | None = None


class ConfigMapSource(ApiObject, frozen=True):
    """configMap, as a volume or a projection."""

    name: str = ""
    items: list[KeyToPath] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class SecretSource(ApiObject, frozen=True):
    """secret, as a volume; a projection writes `name` and is a ConfigMapSource in shape."""

    secret_name: str = ""
    items: list[KeyToPath] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class DownwardFile(ApiObject, frozen=True):
    """One file of the downward API."""

    path: str
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    mode: int | None = None


class DownwardSource(ApiObject, frozen=True):
    """downwardAPI, as a volume or a projection."""

    items: list[DownwardFile] | None = None
    default_mode: int | None = None


class TokenSource(ApiObject, frozen=True):
    """serviceAccountToken of a projection; seconds."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(ApiObject, frozen=True):
    """One source of a projected volume."""

    secret: ConfigMapSource | None = None
    config_map: ConfigMapSource | None = None
    downward_api: DownwardSource | None = field(name="downwardAPI", default=None)
    service_account_token: TokenSource | None = None


class ProjectedSource(ApiObject, frozen=True):
    """projected."""

    sources: list[Projection] | None = None
    default_mode: int | None = None


class VolumeEntry(ApiObject, frozen=True):
    """Volume of the API; one source is set, none means emptyDir."""

    name: str
    empty_dir: EmptyDirSource | None = None
    host_path: HostPathSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    projected: ProjectedSource | None = None
    downward_api: DownwardSource | None = field(name="downwardAPI", default=None)
