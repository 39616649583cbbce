"""A real control plane on this machine: etcd, API server, controller manager, scheduler, CSR approver, as processes.

One more process, the keeper, starts again which of them ends by itself.

Layout below the state directory: pki/, run/ (pid files, commands and logs), etcd/, ports.json, *.kubeconfig. Ports are
chosen once and kept, so that kubeconfigs stay valid over a restart. The API server listens on all addresses, for the
zones reach it over the cluster network; etcd listens on the loopback only and asks for a client certificate.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from provider.cluster.keeper import KEEPER
from provider.cluster.pki import Pair, Pki, write_kubeconfig
from provider.cluster.processes import Process, python_module
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from provider.clock import Clock
    from provider.cluster.build import Binaries
    from provider.cluster.steps import Steps

__all__ = ["COMPONENTS", "CONTROL_PLANE", "LocalCluster"]

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
APPROVER = "csr-approver"
PROVIDER_USER = "zonelet-provider"
APPROVER_USER = "zonelet-csr-approver"
COMPONENTS = (*CONTROL_PLANE, APPROVER, KEEPER)
"""in the order of their start: the keeper is stopped first"""
SERVICE_CIDR = "10.96.0.0/16"
_READY_SECONDS = 90.0
_PROBE_SECONDS = 5.0
_CLIENT_RATE = 1000
_PORT_NAMES = ("etcd", "etcd-peer", *CONTROL_PLANE[1:])


@dataclass(frozen=True)
class _Credentials:
    ca: Pair
    etcd_ca: Pair
    front_ca: Pair
    etcd: Pair
    etcd_client: Pair
    server: Pair
    kubelet_client: Pair
    front_client: Pair
    service_accounts: Pair
    admin: Pair
    provider: Pair
    approver: Pair
    managers: dict[str, Pair]


@dataclass(frozen=True)
class LocalCluster:
    """The control plane `name`, whose everything is below `state`."""

    name: str
    state: Path
    clock: Clock

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.state / "admin.kubeconfig"

    @property
    def provider_kubeconfig(self) -> Path:
        """Return the provider's kubeconfig: user `zonelet-provider`, who has the role of deploy/kustomize/base."""
        return self.state / "provider.kubeconfig"

    def status(self) -> dict[str, int | None]:
        """Return each component's pid, None for one that does not run."""
        return {name: self._process(name).pid() for name in COMPONENTS}

    async def start(self, binaries: Binaries, steps: Steps, advertise: str = "") -> None:
        """Start what does not run and wait until it is ready; on failure undo what this call made.

        `advertise`: the address at which pods reach the API server (the EndpointSlice of `kubernetes` has it); it
        stands in the serving certificate. Empty: the address that this host has towards others.
        """
        fresh = not self.state.exists()
        started: list[Process] = []
        ports = self._ports()
        advertise = advertise or _host_address()
        credentials = self._credentials(advertise)
        self._kubeconfigs(credentials, ports)
        try:
            for name in CONTROL_PLANE:
                process = self._process(name)
                program = binaries.etcd if name == "etcd" else binaries.control_plane(name)
                with steps.step(f"start {name}"):
                    argv = [str(program), *self._arguments(name, ports, credentials, advertise)]
                    if process.start(argv, kept=True):
                        started.append(process)
                    context = _context(credentials.etcd_ca if name == "etcd" else credentials.ca, credentials, name)
                    path = "health" if name == "etcd" else "readyz" if name != "kube-controller-manager" else "healthz"
                    url = f"https://127.0.0.1:{ports[name]}/{path}"
                    await process.ready(self.clock, partial(_answers, url, context), _READY_SECONDS)
            with steps.step(f"give provider and {APPROVER} their roles, start {APPROVER}"):
                await self._grant()
                if await self._start_approver():
                    started.append(self._process(APPROVER))
                if self._start_keeper():
                    started.append(self._process(KEEPER))
        except BaseException:
            for process in reversed(started):
                await process.stop(self.clock)
            if fresh:  # nothing was here before: leave nothing
                await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the components and remove what `start` made below the state directory; nothing else there."""
        await self.stop_processes()
        self.remove_files()

    async def stop_processes(self) -> None:
        """Stop the components; SetupError when one does not end."""
        for name in reversed(COMPONENTS):
            await self._process(name).stop(self.clock)
        for name, pid in self.status().items():
            if pid is not None:
                raise SetupError(
                    f"{name} does not end", f"process {pid} outlives SIGKILL", "see why by ps, run down again"
                )

    def remove_files(self) -> None:
        """Remove what `start` made below the state directory; nothing else there."""
        for directory in ("pki", "run", "etcd"):
            if (self.state / directory).exists():
                shutil.rmtree(self.state / directory)
        for file in (
            "ports.json",
            *(f"{name}.kubeconfig" for name in ("admin", "provider", APPROVER, *CONTROL_PLANE[2:])),
        ):
            (self.state / file).unlink(missing_ok=True)
        if self.state.exists() and not any(self.state.iterdir()):
            self.state.rmdir()

    def _process(self, name: str) -> Process:
        return Process(name, self.state / "run")

    @property
    def _approver_kubeconfig(self) -> Path:
        return self.state / f"{APPROVER}.kubeconfig"

    async def _start_approver(self) -> bool:
        process, ready = self._process(APPROVER), self.state / "run" / f"{APPROVER}.ready"
        if process.pid() is None:
            ready.unlink(missing_ok=True)
        options = ["--kubeconfig", str(self._approver_kubeconfig), "--ready-file", str(ready)]
        argv, environment = python_module("provider.cluster.approver", *options)
        began = process.start(argv, environment, kept=True)
        await process.ready(self.clock, ready.exists, _READY_SECONDS)
        return began

    def _start_keeper(self) -> bool:
        argv, environment = python_module("provider.cluster.keeper", str(self.state / "run"))
        return self._process(KEEPER).start(argv, environment)

    async def _grant(self) -> None:
        from provider.cluster.local_roles import grant_roles
        from provider.kube.client import HttpKubeApi, KubeError

        api = await HttpKubeApi.from_kubeconfig(str(self.kubeconfig))
        try:
            await grant_roles(api)
        except KubeError as error:
            raise SetupError("provider and approver have no roles", str(error), "run up again") from error
        finally:
            await api.close()

    def _ports(self) -> dict[str, int]:
        file = self.state / "ports.json"
        if file.exists():
            kept: dict[str, int] = json.loads(file.read_text())
            return kept
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in _PORT_NAMES]  # all at once: no port twice
        ports = {name: each.getsockname()[1] for name, each in zip(_PORT_NAMES, sockets, strict=True)}
        for each in sockets:
            each.close()
        file.write_text(json.dumps(ports))
        return ports

    def _credentials(self, advertise: str) -> _Credentials:
        pki = Pki(self.state / "pki", self.clock)
        ca, etcd_ca, front_ca = (pki.authority(name) for name in ("ca", "etcd-ca", "front-proxy-ca"))
        service = str(ipaddress.ip_network(SERVICE_CIDR)[1])
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        addresses = ["127.0.0.1", service, advertise, _host_address()]
        return _Credentials(
            ca=ca,
            etcd_ca=etcd_ca,
            front_ca=front_ca,
            etcd=pki.server(etcd_ca, "etcd", ["localhost"], ["127.0.0.1"]),
            etcd_client=pki.client(etcd_ca, "apiserver-etcd-client", "kube-apiserver"),
            server=pki.server(ca, "apiserver", [*names, "localhost"], list(dict.fromkeys(addresses))),
            kubelet_client=pki.client(
                ca, "apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]
            ),
            front_client=pki.client(front_ca, "front-proxy-client", "front-proxy-client"),
            service_accounts=pki.service_account_key(),
            admin=pki.client(ca, "admin", "kubernetes-admin", ["system:masters"]),
            provider=pki.client(ca, PROVIDER_USER, PROVIDER_USER),
            approver=pki.client(ca, APPROVER_USER, APPROVER_USER),
            managers={name: pki.client(ca, name, f"system:{name}") for name in CONTROL_PLANE[2:]}
            | {
                f"{name}-serving": pki.server(ca, f"{name}-serving", ["localhost"], ["127.0.0.1"])
                for name in CONTROL_PLANE[2:]
            },
        )

    def _kubeconfigs(self, credentials: _Credentials, ports: dict[str, int]) -> None:
        server = f"https://127.0.0.1:{ports['kube-apiserver']}"
        write_kubeconfig(self.kubeconfig, server, credentials.ca, credentials.admin, self.name)
        write_kubeconfig(self.provider_kubeconfig, server, credentials.ca, credentials.provider, self.name)
        write_kubeconfig(self._approver_kubeconfig, server, credentials.ca, credentials.approver, self.name)
        for name in CONTROL_PLANE[2:]:
            path = self.state / f"{name}.kubeconfig"
            write_kubeconfig(path, server, credentials.ca, credentials.managers[name], self.name)

    def _arguments(self, name: str, ports: dict[str, int], credentials: _Credentials, advertise: str) -> list[str]:
        if name == "etcd":
            return _etcd(self.state / "etcd", ports, credentials)
        if name == "kube-apiserver":
            return _apiserver(ports, credentials, advertise)
        config, serving = self.state / f"{name}.kubeconfig", credentials.managers[f"{name}-serving"]
        common = {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": "127.0.0.1",
            "secure-port": ports[name],
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "leader-elect": "false",  # one of each
        }
        # Their own limits (50 and 20 requests a second) are for a cluster that others share.
        common |= {"kube-api-qps": _CLIENT_RATE, "kube-api-burst": _CLIENT_RATE}
        if name == "kube-scheduler":
            return _flags(common)
        return _flags(
            common
            | {
                "controllers": "*,bootstrapsigner,tokencleaner",
                "use-service-account-credentials": "true",
                "service-account-private-key-file": credentials.service_accounts.key,
                "root-ca-file": credentials.ca.certificate,
                "cluster-signing-cert-file": credentials.ca.certificate,
                "cluster-signing-key-file": credentials.ca.key,
            }
        )


def _etcd(data: Path, ports: dict[str, int], credentials: _Credentials) -> list[str]:
    client, peer = f"https://127.0.0.1:{ports['etcd']}", f"http://127.0.0.1:{ports['etcd-peer']}"
    return _flags(
        {
            "name": "local",
            "data-dir": data,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"local={peer}",
            "cert-file": credentials.etcd.certificate,
            "key-file": credentials.etcd.key,
            "client-cert-auth": "true",
            "trusted-ca-file": credentials.etcd_ca.certificate,
        }
    )


def _apiserver(ports: dict[str, int], credentials: _Credentials, advertise: str) -> list[str]:
    return _flags(
        {
            "etcd-servers": f"https://127.0.0.1:{ports['etcd']}",
            "etcd-cafile": credentials.etcd_ca.certificate,
            "etcd-certfile": credentials.etcd_client.certificate,
            "etcd-keyfile": credentials.etcd_client.key,
            "secure-port": ports["kube-apiserver"],
            "advertise-address": advertise,
            "service-cluster-ip-range": SERVICE_CIDR,
            "tls-cert-file": credentials.server.certificate,
            "tls-private-key-file": credentials.server.key,
            "client-ca-file": credentials.ca.certificate,
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",  # as kubeadm and kind have it
            "enable-admission-plugins": "NodeRestriction",
            "kubelet-client-certificate": credentials.kubelet_client.certificate,
            "kubelet-client-key": credentials.kubelet_client.key,
            "kubelet-certificate-authority": credentials.ca.certificate,
            "kubelet-preferred-address-types": "InternalIP",
            "proxy-client-cert-file": credentials.front_client.certificate,
            "proxy-client-key-file": credentials.front_client.key,
            "requestheader-client-ca-file": credentials.front_ca.certificate,
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": credentials.service_accounts.certificate,
            "service-account-signing-key-file": credentials.service_accounts.key,
        }
    )


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _context(ca: Pair, credentials: _Credentials, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.certificate))
    client = credentials.etcd_client if name == "etcd" else credentials.admin
    context.load_cert_chain(client.certificate, client.key)
    return context


def _answers(url: str, context: ssl.SSLContext) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=_PROBE_SECONDS) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP
    except (urllib.error.URLError, OSError):
        return False


def _host_address() -> str:
    """Return the address that this host has towards others; no packet is sent. The loopback when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
