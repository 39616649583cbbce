"""What acts on the host itself needs root."""

from __future__ import annotations

from provider.cluster.steps import SetupError

__all__ = ["require_root"]


def require_root(command: str, user: int) -> None:
    """Raise SetupError for any user (effective ID) but root, before anything is done."""
    if user != 0:
        raise SetupError(
            f"zonelet {command} needs root",
            f"this is user {user}; volumes, cgroups and network namespaces of pods are handled on the host itself",
            f'run: sudo -E "$(command -v zonelet)" {command} (-E keeps KUBECONFIG)',
        )
