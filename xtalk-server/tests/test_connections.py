"""The open connections come to their end."""

from __future__ import annotations

import anyio
import pytest

from xtalk.testing import virtual_time
from xtalk.testing.transport import MemoryTransport
from xtalk_server.connections import GOODBYE_S, Connections


def test_who_does_not_end_in_time_is_cancelled() -> None:
    async def main() -> None:
        connections, transport = Connections(), MemoryTransport()

        async def stubborn() -> None:
            with connections.holding(transport):
                await anyio.Event().wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stubborn)
            await anyio.sleep(1)
            began = anyio.current_time()
            await connections.end()
            assert transport.closed == (1001, "the server is stopping")
            assert anyio.current_time() - began == pytest.approx(GOODBYE_S)
        assert len(connections) == 0

    virtual_time.run(main())
