"""Tells somebody at a terminal, or a log, what the set-up does: one line a step.

On a terminal a step is a spinner that becomes a tick or a cross; elsewhere it is plain lines, which a log keeps.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from provider.cluster.build_command import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SetupError", "Steps"]


class SetupError(BuildError):
    """A step of the set-up failed: what, why, and what to do next."""


class Steps:
    """Reports the steps of one command."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Run one step; the value tells how far it is. An error passes on after its cross."""
        if self._console.is_terminal:
            with self._console.status(escape(title)) as status:
                try:
                    yield lambda text: status.update(escape(f"{title}: {text}"))
                except BaseException:
                    self._console.print(f"[red]✗[/red] {escape(title)}")
                    raise
            self._console.print(f"[green]✓[/green] {escape(title)}")
            return
        self._plain(f"==> {title}")
        try:
            yield lambda text: self._plain(f"    {text}")
        except BaseException:
            self._plain(f"==> {title}: failed")
            raise
        self._plain(f"==> {title}: done")

    def note(self, text: str) -> None:
        """Say something between steps."""
        self._plain(text)

    def failure(self, error: BuildError) -> None:
        """Say what failed, why, and the next step."""
        self._plain(f"Error: {error.what}")
        self._plain(f"  why:  {error.why}")
        self._plain(f"  next: {error.next_step}")

    def _plain(self, text: str) -> None:
        self._console.print(escape(text))
