"""What the integration tests need before they start: an engine, the built programs, images. `python -m` runs it."""

from __future__ import annotations

import asyncio
import sys

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.build_command import BuildError
from provider.cluster.engine import ensure_engine, open_engine
from provider.cluster.images import ensure_images
from provider.cluster.steps import Steps


async def prepare(steps: Steps) -> None:
    """Find or start the engine; build what the cache lacks."""
    with steps.step("find a Docker engine, or install and start one") as report:
        await ensure_engine(cache_root() / "engine", SystemClock(), report)
    with steps.step("build Kubernetes, etcd and Argo, or take them from the cache") as report:
        binaries = build_all(cache_root(), report)
    with steps.step("make the images, or find them in the engine") as report:
        client = open_engine()
        try:
            ensure_images(client, binaries, cache_root(), report)
        finally:
            client.close()


def main() -> int:
    """Prepare; return the exit code."""
    steps = Steps()
    try:
        asyncio.run(prepare(steps))
    except BuildError as error:
        steps.failure(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
