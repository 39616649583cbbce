"""Builds the local cluster's programs from source: Kubernetes, etcd and Argo Workflows, unpatched, as Go modules.

Each upstream has a Go module in deploy/local that pins it and everything it needs by hash (go.mod, go.sum). Its
programs stand in `<cache>/upstream/<name>-<key>/bin`, where the key hashes that module and the build's flags, so a
second start builds nothing and does not even need Go.

Argo needs two repairs, because a module zip carries neither symbolic links nor generated files: signal_linux.go is
upstream's link to signal_darwin.go, and the server embeds ui/dist/app. The module is therefore built from a copy that
has both; go.sum has checked its content before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import provider
from provider.cluster.build_cache import cache_root, cached, content_key
from provider.cluster.build_command import BuildError, capture, run
from provider.cluster.build_toolchain import GoToolchain, find_go

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "KUBERNETES",
    "Binaries",
    "BuildError",
    "Upstream",
    "build_all",
    "build_upstreams",
    "cache_root",
    "cached_directory",
    "local_sources",
    "missing_programs",
]

_RECIPE = "1"  # raise it when this file builds differently from the same inputs
_ADVICE = "read the log; when a download failed, check the Go proxy settings (go env GOPROXY) and run it again"
_BUILD_SECONDS = 3600
_FETCH_SECONDS = 1800


@dataclass(frozen=True)
class Upstream:
    """One pinned Go module and what is built from it."""

    name: str
    module: str
    programs: Mapping[str, str]
    """File name -> Go package."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Further names -> program: a multi-call program goes by the name it is called under."""
    tags: str = ""
    stamps: tuple[str, ...] = ()
    """Link-time variables; {version}, {major}, {minor}, {time} and {commit} come from the module."""
    repaired: bool = False
    carried: tuple[str, ...] = ()
    """Files and directories of the module that are kept beside its programs."""


_ARGO = "github.com/argoproj/argo-workflows/v3"
_KUBERNETES_STAMPS = ("gitVersion={version}", "gitMajor={major}", "gitMinor={minor}", "gitTreeState=clean")

KUBERNETES = Upstream(
    name="kubernetes",
    module="k8s.io/kubernetes",
    programs={"kube": "./kube", "kubectl": "k8s.io/kubernetes/cmd/kubectl"},
    links=dict.fromkeys(("kube-apiserver", "kube-controller-manager", "kube-scheduler"), "kube"),
    tags="selinux,notest,grpcnotrace",  # upstream's own
    stamps=tuple(
        f"{package}.{stamp}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for stamp in (*_KUBERNETES_STAMPS, "buildDate={time}")
    ),
)
ETCD = Upstream(name="etcd", module="go.etcd.io/etcd/server/v3", programs={"etcd": "go.etcd.io/etcd/server/v3"})
ARGO = Upstream(
    name="argo",
    module=_ARGO,
    programs={name: f"{_ARGO}/cmd/{name}" for name in ("argo", "argoexec", "workflow-controller")},
    stamps=tuple(
        f"{_ARGO}.{stamp}"
        for stamp in (
            "version={version}",
            "gitTag={version}",
            "gitCommit={commit}",
            "gitTreeState=clean",
            "buildDate={time}",
        )
    ),
    repaired=True,
    carried=("manifests", "examples", "hack/nsswitch.conf", "hack/ssh_known_hosts", "test/e2e/images/argosay/v2"),
)


@dataclass(frozen=True)
class Binaries:
    """Where the programs are; `argo_module` has manifests/, examples/ and hack/ as Argo ships them."""

    kube: Path
    kubectl: Path
    etcd: Path
    argo: Path
    workflow_controller: Path
    argoexec: Path
    argosay: Path
    argo_module: Path

    def control_plane(self, name: str) -> Path:
        """Return the program `kube-apiserver`, `kube-controller-manager` or `kube-scheduler`."""
        return self.kube.with_name(name)


@dataclass(frozen=True)
class _Module:
    """What Go knows about the pinned module."""

    version: str
    directory: Path
    time: str
    commit: str


def build_all(cache: Path, report: Callable[[str], None]) -> Binaries:
    """Return the programs of all upstreams; build what the cache does not hold, and tell `report` how far it is."""
    built = build_upstreams((KUBERNETES, ETCD, ARGO), cache, report)
    kubernetes, argo = built["kubernetes"] / "bin", built["argo"] / "bin"
    module = built["argo"] / "module"
    return Binaries(
        kube=kubernetes / "kube",
        kubectl=kubernetes / "kubectl",
        etcd=built["etcd"] / "bin" / "etcd",
        argo=argo / "argo",
        workflow_controller=argo / "workflow-controller",
        argoexec=argo / "argoexec",
        argosay=module / "test" / "e2e" / "images" / "argosay" / "v2" / "argosay",
        argo_module=module,
    )


def build_upstreams(upstreams: Sequence[Upstream], cache: Path, report: Callable[[str], None]) -> dict[str, Path]:
    """Return each upstream's directory in the cache by its name; build those that are not there."""
    built: dict[str, Path] = {}
    toolchain: GoToolchain | None = None
    for upstream in upstreams:
        final = cached_directory(cache, upstream)
        if not final.is_dir():
            toolchain = toolchain or find_go(cache, local_sources() / "toolchain.txt", report)
            final = _build(cache, upstream, toolchain, report)
        built[upstream.name] = final
    return built


def missing_programs(cache: Path) -> list[str]:
    """Return the upstreams that the cache has not, as `build_all` would build them now."""
    return [each.name for each in (KUBERNETES, ETCD, ARGO) if not cached_directory(cache, each).is_dir()]


def local_sources() -> Path:
    """Return deploy/local: of the checkout, or as the installed package carries it."""
    package = Path(provider.__file__).parent
    candidates = (package.parent / "deploy" / "local", package / "_deploy" / "local")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise BuildError(
        "deploy/local is not there",
        f"neither {candidates[0]} nor {candidates[1]} exists",
        "install zonelet again, or run it from a checkout",
    )


def pinned_version(upstream: Upstream) -> str:
    """Return the version that the upstream's go.mod pins."""
    text = (local_sources() / upstream.name / "go.mod").read_text()
    match = re.search(rf"^\s*(?:require )?{re.escape(upstream.module)} (v\S+)", text, re.MULTILINE)
    if match is None:
        raise BuildError(
            f"deploy/local/{upstream.name}/go.mod does not require {upstream.module}",
            "without it there is nothing to build",
            "restore the file from version control",
        )
    return match.group(1)


def _key(upstream: Upstream) -> str:
    return content_key(_RECIPE, repr(upstream), tree=local_sources() / upstream.name)


def cached_directory(cache: Path, upstream: Upstream) -> Path:
    """Return where an upstream's programs are, or will be, in the cache."""
    return cache / "upstream" / f"{upstream.name}-{_key(upstream)}"


def _build(cache: Path, upstream: Upstream, go: GoToolchain, report: Callable[[str], None]) -> Path:
    label = f"{upstream.name} {pinned_version(upstream)}"
    log = cache / "logs" / f"build-{upstream.name}.log"

    def make(directory: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        report(f"{label}: fetching the source")
        sources = local_sources() / upstream.name
        module = _fetch(upstream, go, sources)
        workspace = _repair(module, sources, directory / "work") if upstream.repaired else sources
        packages = _compile(upstream, go, workspace, directory / "bin", module, log, report, label)
        shutil.rmtree(directory / "work", ignore_errors=True)
        for name, program in upstream.links.items():
            (directory / "bin" / name).symlink_to(program)
        for name in upstream.carried:
            _copy(module.directory / name, directory / "module" / name)
        report(f"{label}: built ({packages} packages)")

    return cached(cache, "upstream", upstream.name, _key(upstream), make, report)


def _fetch(upstream: Upstream, go: GoToolchain, sources: Path) -> _Module:
    """Download the upstream module itself, checked against go.sum."""
    answer = _download(go, ["mod", "download", "-json", upstream.module], f"downloading {upstream.module}", sources)
    about = json.loads(answer)
    info = json.loads(Path(about["Info"]).read_text())
    return _Module(
        version=about["Version"],
        directory=Path(about["Dir"]),
        time=info.get("Time", "1970-01-01T00:00:00Z"),
        commit=info.get("Origin", {}).get("Hash", "unknown"),
    )


def _repair(module: _Module, sources: Path, workspace: Path) -> Path:
    """Make a workspace in which the Argo module is a copy that has what its zip cannot carry."""
    copy = workspace / "src"
    shutil.copytree(module.directory, copy, copy_function=shutil.copyfile)
    for directory, _, _ in os.walk(copy):  # the module cache is read-only
        Path(directory).chmod(0o755)
    signals = copy / "workflow" / "executor" / "osspecific"
    shutil.copyfile(signals / "signal_darwin.go", signals / "signal_linux.go")
    pages = copy / "ui" / "dist" / "app"
    pages.mkdir(parents=True)
    shutil.copyfile(sources / "ui-placeholder.html", pages / "index.html")
    shutil.copyfile(sources / "go.sum", workspace / "go.sum")
    (workspace / "go.mod").write_text((sources / "go.mod").read_text() + f"\nreplace {_ARGO} => ./src\n")
    return workspace


def _compile(
    upstream: Upstream,
    go: GoToolchain,
    workspace: Path,
    bin_directory: Path,
    module: _Module,
    log: Path,
    report: Callable[[str], None],
    label: str,
) -> int:
    """Compile the programs into `bin_directory`; return how many packages they are made of."""
    common = ["-mod=readonly", f"-tags={upstream.tags}"]
    arguments = ["list", *common, "-deps", *upstream.programs.values()]
    listing = _download(go, arguments, f"fetching the modules of {label}", workspace)
    total = len(listing.splitlines())

    def progress() -> None:
        compiled = len(log.read_bytes().splitlines())
        report(f"{label}: compiled {min(compiled, total)} of {total} packages")

    for name, package in upstream.programs.items():
        argv = [str(go.go), "build", "-v", *common, "-trimpath", "-buildvcs=false"]
        run(
            [
                "nice",
                "-n",
                "10",
                *argv,
                f"-ldflags={link_flags(upstream, module)}",
                "-o",
                f"{bin_directory}/{name}",
                package,
            ],
            what=f"building {name} of {label}",
            log=log,
            timeout=_BUILD_SECONDS,
            next_step=_ADVICE,
            cwd=workspace,
            env=go.env,
            tick=progress,
        )
    return total


def _download(go: GoToolchain, arguments: list[str], what: str, cwd: Path) -> str:
    """Run a go command that downloads; once more if it fails, for Go itself gives up at the first lost connection."""

    def attempt() -> str:
        argv = [str(go.go), *arguments]
        return capture(argv, what=what, timeout=_FETCH_SECONDS, next_step=_ADVICE, cwd=cwd, env=go.env)

    try:
        return attempt()
    except BuildError:
        return attempt()


def link_flags(upstream: Upstream, module: _Module) -> str:
    """Return what is given to the linker: no symbols, and the version that the programs report."""
    major, minor = module.version.removeprefix("v").split(".")[:2]
    values = {"version": module.version, "major": major, "minor": minor, "time": module.time, "commit": module.commit}
    return " ".join(["-s", "-w", *(f"-X {stamp.format(**values)}" for stamp in upstream.stamps)])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        for directory, _, _ in os.walk(target):
            Path(directory).chmod(0o755)
    else:
        shutil.copyfile(source, target)
