"""What a hub or a sidecar says to the service manager that started it (systemd's notify): ready, alive, stopping.

Where nobody listens, nothing is said. Signs of life come from the event loop, so that a loop that hangs gives none and
the manager starts the process anew. Standard library only: hub and sidecar both stand on this.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

#: How long one word may take when the manager does not read, in seconds; it is then not said.
_PATIENCE_S = 0.5


def notify(address: str, text: str) -> None:
    """Send one datagram to the manager's socket; ``@`` in front is one without a file (sd_notify(3))."""
    where = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.settimeout(_PATIENCE_S)
        link.sendto(text.encode(), where)


class Herald:
    """Speaks for one process. ``address`` is the manager's socket, empty for none; ``watchdog`` is in seconds.

    A sign of life is given at least twice in ``watchdog`` seconds; None: nobody waits for one.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._beating: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, environ: MutableMapping[str, str] = os.environ) -> "Herald":
        """Return who speaks for this process, and take the variables away: no git and no agent speaks in its name."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if ours else None)

    def ready(self, status: str) -> None:
        """Say that the process does its work now, and from now on that it is alive. Call it on the loop."""
        self._say(f"READY=1\nSTATUS={status}")
        if self._address and self._watchdog is not None and self._beating is None:
            self._beating = asyncio.create_task(self._beat(self._watchdog), name="watchdog")

    def stopping(self) -> None:
        """Say that the process ends by its own will; signs of life go on until ``close``."""
        self._say("STOPPING=1")

    async def close(self) -> None:
        """Say nothing more."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat(self, watchdog: float) -> None:
        while True:
            self._say("WATCHDOG=1")
            await asyncio.sleep(watchdog / 2)

    def _say(self, text: str) -> None:
        if self._address:
            notify(self._address, text)
