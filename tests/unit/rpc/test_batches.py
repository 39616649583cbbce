"""Everything ready in one list, nothing read ahead of the reader but one item."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from provider.rpc.batches import Batches


class Source:
    """Yields what is put; `taken` counts what was read."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.taken = 0

    def put(self, *items: int | Exception | None) -> None:
        for item in items:
            self.queue.put_nowait(item)

    async def read(self) -> AsyncGenerator[int, None]:
        while (item := await self.queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            self.taken += 1
            yield item


async def turns(count: int = 20) -> None:
    for _ in range(count):
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turned.set_result, None)
        await turned


def one(_: int) -> int:
    return 1


async def using(source: Source, weigh: Callable[[int], int], script: Callable[[Batches[int]], object]) -> None:
    async with asyncio.TaskGroup() as group:
        batches = Batches(source.read(), weigh)
        running = group.create_task(batches.run())
        await script(batches)  # type: ignore[misc]
        running.cancel()


async def test_all_that_is_ready_comes_at_once_up_to_the_weight() -> None:
    source = Source()
    source.put(*range(10))

    async def script(batches: Batches[int]) -> None:
        assert await batches.take(4) == [0, 1, 2, 3]
        assert await batches.take(100) == [4, 5, 6, 7, 8, 9]

    await using(source, one, script)


async def test_the_item_that_reaches_the_weight_is_the_last() -> None:
    source = Source()
    source.put(5, 5, 90, 5)

    async def script(batches: Batches[int]) -> None:
        assert await batches.take(20) == [5, 5, 90]
        assert await batches.take(20) == [5]

    await using(source, lambda item: item, script)


async def test_nothing_is_read_before_the_first_take() -> None:
    source = Source()
    source.put(1, 2)

    async def script(batches: Batches[int]) -> None:
        await turns()
        assert source.taken == 0
        assert await batches.take(10) == [1, 2]

    await using(source, one, script)


async def test_between_two_takes_one_item_is_read_at_most_and_comes_with_the_next() -> None:
    source = Source()
    source.put(1)

    async def script(batches: Batches[int]) -> None:
        assert await batches.take(10) == [1]
        source.put(*range(2, 9))
        await turns()
        assert source.taken == 2
        assert await batches.take(10) == [2, 3, 4, 5, 6, 7, 8]

    await using(source, one, script)


async def test_take_waits_for_the_first_item() -> None:
    source = Source()

    async def script(batches: Batches[int]) -> None:
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(batches.take(10))
            await turns()
            assert not taking.done()
            source.put(1)
        assert taking.result() == [1]

    await using(source, one, script)


async def test_the_end_is_an_empty_list_every_time() -> None:
    source = Source()
    source.put(1, None)

    async def script(batches: Batches[int]) -> None:
        assert await batches.take(10) == [1]
        assert await batches.take(10) == []
        assert await batches.take(10) == []

    await using(source, one, script)


async def test_a_failure_comes_after_what_was_before_it() -> None:
    source = Source()
    source.put(1, 2, KeyError("boom"))

    async def script(batches: Batches[int]) -> None:
        assert await batches.take(10) == [1, 2]
        for _ in range(2):
            with pytest.raises(KeyError, match="boom"):
                await batches.take(10)

    await using(source, one, script)
