"""Keeps one certificate of a node valid: asks for it, stores it, and asks again before it ends or says too little.

Failures are told in the log and tried again, first soon, then ever more slowly; what is in use stays in use.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.node.signing import SigningPendingError, SigningRefusedError, obtain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.node.certificate import Certificate, CertificateFile, Wanted

log = structlog.get_logger(__name__)

RETRY_FIRST_SECONDS = 2.0
RETRY_MAX_SECONDS = 300.0


class CertificateKeeper:
    """One certificate; `want` says what for, `ensure` waits for the first one, `run` renews it for ever."""

    def __init__(
        self,
        api: KubeApi,
        file: CertificateFile,
        *,
        clock: Clock,
        random: Random,
        told: Callable[[str], Awaitable[None]],
        use: Callable[[Certificate], Awaitable[None]],
    ) -> None:
        """Tell `told` what people must do when nobody approves; give `use` every certificate that comes into force."""
        self._api = api
        self._file = file
        self._clock = clock
        self._random = random
        self._told = told
        self._use = use
        self._wanted: Wanted | None = None
        self._held: Certificate | None = None
        self._renewal = 0.0
        self._scope: asyncio.Timeout | None = None
        self._changed = asyncio.Event()

    def want(self, wanted: Wanted) -> None:
        """Say what the certificate must say from now on; a wait for another one is given up."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._changed.set()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def ensure(self, seconds: float) -> None:
        """Have a certificate that is good now: the stored one, else a new one; raises as `signing.obtain` does."""
        wanted = self._required()
        if await self._take_stored(wanted):
            return
        fresh = await obtain(self._api, wanted, self._file, clock=self._clock, seconds=seconds, told=self._told)
        await self._take(fresh)

    async def run(self) -> None:
        """Renew until cancelled; waits for the first `want`."""
        failures = 0
        while True:
            try:
                async with self._until_changed():
                    await self._step()
                failures = 0
            except (KubeError, SigningRefusedError, SigningPendingError, OSError, ValueError) as error:
                seconds = min(RETRY_MAX_SECONDS, RETRY_FIRST_SECONDS * 2**failures) * self._random.uniform(0.8, 1.2)
                failures = min(failures + 1, 10)
                log.warning("certificate.failed", error=str(error), retry_seconds=round(seconds))
                async with self._until_changed():
                    await self._clock.sleep(seconds)

    async def _step(self) -> None:
        """Wait until something is due, and do it."""
        if self._wanted is None:
            await self._changed.wait()
            return
        wanted = self._required()
        now = self._clock.now()
        if self._held is None and await self._take_stored(wanted):
            return
        if self._held is not None and self._held.satisfies(wanted, now) and now < self._renewal:
            await self._clock.sleep(self._renewal - now)
            return
        fresh = await obtain(self._api, wanted, self._file, clock=self._clock, told=self._told)
        await self._take(fresh)

    def _required(self) -> Wanted:
        if self._wanted is None:
            raise RuntimeError("nothing is wanted yet: call want() first")
        return self._wanted

    async def _take_stored(self, wanted: Wanted) -> bool:
        stored = self._file.load()
        if stored is None or not stored.satisfies(wanted, self._clock.now()):
            return False
        await self._take(stored)
        return True

    async def _take(self, certificate: Certificate) -> None:
        await self._use(certificate)
        self._held = certificate
        self._renewal = certificate.renewal(self._random)

    @asynccontextmanager
    async def _until_changed(self) -> AsyncIterator[None]:
        """End the block early, and quietly, when `want` changes what is wanted."""
        self._changed.clear()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None
