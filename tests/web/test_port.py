"""The listening port: what its connections are like."""

import asyncio
import contextlib
import socket
import subprocess
import sys

from coordinator.web.asgi import listen


async def test_a_small_frame_never_waits_for_the_one_before_it() -> None:
    without_delay: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            end = transport.get_extra_info("socket")
            without_delay.set_result(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        server = await asyncio.get_running_loop().create_server(Connection, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            async with asyncio.timeout(20):
                assert await without_delay
            writer.close()
            await writer.wait_closed()


def test_a_hub_may_open_as_many_sockets_as_the_system_allows() -> None:
    program = (
        "import resource as r; from coordinator.web.asgi import let_many_in;"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, 512)); let_many_in(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["512", "512"]
