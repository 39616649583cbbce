"""Where the API server is and as whom we speak to it: a kubeconfig, or the service account of our own pod.

The order is the one of controllers (controller-runtime's `GetConfig`): an explicit file, $KUBECONFIG, the pod's service
account, ~/.kube/config. Tokens that expire (exec plugins, service accounts) are refreshed while they are in use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from msgspec import Struct

from provider.kube.library import ConfigException, Configuration, kube_config, load_incluster_config
from provider.kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_CLUSTER = "in-cluster"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeConfigError(Exception):
    """No usable kubeconfig or service account; the text says which, why, and what to do."""


class Connection(Struct, frozen=True, kw_only=True):
    """What a client speaks to, without its secrets."""

    source: str
    """The kubeconfig's path, or `in-cluster`."""
    context: str
    """The kubeconfig's context, or `in-cluster`."""
    server: str
    """`https://host:port`."""
    ca: bytes = b""
    """PEM of the CAs that sign the server's certificate; empty: those of the system."""
    tls_server_name: str = ""
    insecure: bool = False
    proxy: str = ""

    def kubeconfig(self, name: str, user: Mapping[str, str], ca_file: Path) -> bytes:
        """Return a kubeconfig for the same server; `user` as in a kubeconfig, `ca_file` holds (or is to hold) `ca`."""
        cluster: dict[str, Any] = {"server": self.server}
        optional = {
            "certificate-authority": str(ca_file) if self.ca else "",
            "tls-server-name": self.tls_server_name,
            "insecure-skip-tls-verify": self.insecure,
            "proxy-url": self.proxy,
        }
        cluster |= {key: value for key, value in optional.items() if value}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": dict(user)}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        return yaml.safe_dump(document, sort_keys=False).encode()


async def connect(
    kubeconfig: str | None = None, context: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Connection, Transport]:
    """Return the connection and a way to use it; KubeConfigError when there is none."""
    named = kubeconfig or environ.get("KUBECONFIG")
    if named:
        return await _by_kubeconfig(named, context)
    if environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return _in_cluster(environ)
    return await _by_kubeconfig(f"{environ.get('HOME') or '~'}/.kube/config", context)


async def _by_kubeconfig(path: str, context: str | None) -> tuple[Connection, Transport]:
    if not _exists(path):
        raise KubeConfigError(
            f"{path} is not there; pass --kubeconfig, set KUBECONFIG, or write ~/.kube/config (this is no pod either)"
        )
    configuration = Configuration()
    try:
        loader = await kube_config.load_kube_config(path, context, configuration, persist_config=False)
        connection = _connection(configuration, path, (loader.current_context or {}).get("name", ""))
        transport = Transport(configuration)
    except (ConfigException, OSError, ValueError, TypeError, AssertionError, KeyError, yaml.YAMLError) as error:
        # The library answers a malformed file with whatever its code meets first.
        raise KubeConfigError(f"{path} cannot be used: {error}; check it with: kubectl config view") from error
    finally:
        # The library copies inline keys to /tmp and keeps them until a clean exit; the TLS context has them by now.
        kube_config._cleanup_temp_files()  # noqa: SLF001 - the only way to be rid of them
    if hasattr(loader, "exec_plugin_expiry"):
        configuration.refresh_api_key_hook = _exec_refresh(loader)
    return connection, transport


def _exists(path: str) -> bool:
    """Say whether one of the files is there: $KUBECONFIG may name several, which are merged."""
    return any(Path(each).expanduser().is_file() for each in path.split(os.pathsep) if each)


def _in_cluster(environ: Mapping[str, str]) -> tuple[Connection, Transport]:
    configuration = Configuration()
    try:
        load_incluster_config(  # type: ignore[no-untyped-call]
            configuration,
            token_filename=str(SERVICE_ACCOUNT / "token"),
            cert_filename=str(SERVICE_ACCOUNT / "ca.crt"),
            environ=environ,
        )
        return _connection(configuration, IN_CLUSTER, IN_CLUSTER), Transport(configuration)
    except (ConfigException, OSError) as error:
        raise KubeConfigError(
            f"the service account below {SERVICE_ACCOUNT} cannot be used: {error}; "
            "check the pod's serviceAccountName and automountServiceAccountToken"
        ) from error


def _connection(configuration: Any, source: str, context: str) -> Connection:
    ca = configuration.ssl_ca_cert
    return Connection(
        source=source,
        context=context,
        server=configuration.host,
        ca=Path(ca).read_bytes() if ca else b"",
        tls_server_name=configuration.tls_server_name or "",
        insecure=not configuration.verify_ssl,
        proxy=configuration.proxy or "",
    )


def _exec_refresh(loader: Any) -> Any:
    async def refresh(configuration: Any) -> None:
        await loader.load_from_exec_plugin()  # returns at once while the token is good
        configuration.api_key["BearerToken"] = loader.token

    return refresh
