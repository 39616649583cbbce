"""The variables of a container, in the order that `$(NAME)` is resolved: services, envFrom, env (kubelet_pods.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.errors import Rejection
from provider.model.request import EnvVar
from provider.translate.downward import ADDRESS_PATHS, field_value, resource_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.model.pod import Container, Pod
    from provider.model.pod_environment import EnvVarSource, KeySelector
    from provider.translate.references import References, Service

CONFIG_ERROR = "CreateContainerConfigError"


def environment(pod: Pod, container: Container, references: References, path: str) -> tuple[EnvVar, ...]:
    """Return the variables; a later one of the same name wins.

    Raises Rejection with the path below `path` (the container's) as its field, not terminal for what is missing.
    """
    found = list(service_variables(pod, references))
    texts = _texts(references)
    for source in container.env_from or ():
        for kind, reference, objects in (
            ("configmap", source.config_map_ref, texts),
            ("secret", source.secret_ref, references.secrets),
        ):
            if reference is not None:
                data = _object(kind, reference.name, objects, path, optional=reference.optional)
                names = ((source.prefix + key, value) for key, value in sorted((data or {}).items()))
                found += [EnvVar(name, value.decode(errors="replace")) for name, value in names if _usable(name)]
    for index, entry in enumerate(container.env or ()):
        if entry.value_from is None:
            found.append(EnvVar(entry.name, entry.value, expand=True))
            continue
        variable = _from_source(entry.name, entry.value_from, pod, container, references, f"{path}.env[{index}]")
        if variable is not None:
            found.append(variable)
    return tuple(found)


def service_variables(pod: Pod, references: References) -> Iterator[EnvVar]:
    """Yield what pkg/kubelet/envvars makes of services; enableServiceLinks false leaves `kubernetes` of default."""
    chosen: dict[str, Service] = {}
    for service in references.services:
        linked = service.namespace == pod.metadata.namespace and pod.spec.enable_service_links is not False
        master = (service.namespace, service.name) == ("default", "kubernetes") and service.name not in chosen
        if (linked or master) and service.cluster_ip not in ("", "None") and service.ports:
            chosen[service.name] = service
    for name, service in sorted(chosen.items()):
        prefix = name.upper().replace("-", "_")
        first = service.ports[0]
        yield EnvVar(f"{prefix}_SERVICE_HOST", service.cluster_ip)
        yield EnvVar(f"{prefix}_SERVICE_PORT", str(first[1]))
        for label, port, _ in service.ports:
            if label:
                yield EnvVar(f"{prefix}_SERVICE_PORT_{label.upper().replace('-', '_')}", str(port))
        host = f"[{service.cluster_ip}]" if ":" in service.cluster_ip else service.cluster_ip
        yield EnvVar(f"{prefix}_PORT", f"{first[2].lower()}://{host}:{first[1]}")
        for _, port, protocol in service.ports:
            base = f"{prefix}_PORT_{port}_{protocol.upper()}"
            yield EnvVar(base, f"{protocol.lower()}://{host}:{port}")
            yield EnvVar(f"{base}_PROTO", protocol.lower())
            yield EnvVar(f"{base}_PORT", str(port))
            yield EnvVar(f"{base}_ADDR", service.cluster_ip)


def _from_source(
    name: str, source: EnvVarSource, pod: Pod, container: Container, references: References, where: str
) -> EnvVar | None:
    if source.field_ref is not None:
        path = source.field_ref.field_path
        if path in ADDRESS_PATHS:
            return EnvVar(name, from_address=True)
        return EnvVar(name, field_value(pod, references, path, where))
    if source.resource_field_ref is not None:
        return EnvVar(name, resource_value(pod, references, source.resource_field_ref, container, where))
    for kind, label, selector, objects in (
        ("configmap", "ConfigMap", source.config_map_key_ref, _texts(references)),
        ("secret", "Secret", source.secret_key_ref, references.secrets),
    ):
        if selector is not None:
            value = _key(kind, label, selector, objects, pod.metadata.namespace, where)
            return None if value is None else EnvVar(name, value.decode(errors="replace"))
    raise Rejection("UnsupportedPodSpec", f"{where}.valueFrom has no source", field=where)


def _texts(references: References) -> dict[str, dict[str, bytes]]:
    """Return the ConfigMaps without `binaryData`, which is no source of variables."""
    if not any(references.binary_keys.values()):
        return references.config_maps
    return {
        name: {key: value for key, value in data.items() if key not in references.binary_keys.get(name, ())}
        for name, data in references.config_maps.items()
    }


def _key(
    kind: str, label: str, selector: KeySelector, objects: dict[str, dict[str, bytes]], namespace: str, where: str
) -> bytes | None:
    data = _object(kind, selector.name, objects, where, optional=selector.optional)
    if data is None or selector.key in data:
        return None if data is None else data[selector.key]
    if selector.optional:
        return None
    message = f"couldn't find key {selector.key} in {label} {namespace}/{selector.name}"
    raise Rejection(CONFIG_ERROR, message, field=where, terminal=False, waiting=CONFIG_ERROR)


def _object(
    kind: str, name: str, objects: dict[str, dict[str, bytes]], where: str, *, optional: bool | None
) -> dict[str, bytes] | None:
    if name in objects or optional:
        return objects.get(name)
    raise Rejection(CONFIG_ERROR, f'{kind} "{name}" not found', field=where, terminal=False, waiting=CONFIG_ERROR)


def _usable(name: str) -> bool:
    # upstream skips such keys too (InvalidEnvironmentVariableNames), since a process could not be given them
    return bool(name) and "=" not in name and name.isascii() and name.isprintable()
