"""The ear of a service manager: the datagram socket to which a service says READY, WATCHDOG and STOPPING."""

import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

#: How long a word may take, in seconds; only a failing test ever waits so long.
PATIENCE_S = 30.0


class Manager:
    """A real socket; ``heard`` are the datagrams so far. ``env`` is what a service started by it is told."""

    def __init__(self, folder: Path, watchdog: float | None = None) -> None:
        self._path = folder / "notify"
        self._watchdog = watchdog
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.heard: list[str] = []

    @property
    def env(self) -> dict[str, str]:
        told = {"NOTIFY_SOCKET": str(self._path)}
        return told if self._watchdog is None else told | {"WATCHDOG_USEC": str(int(self._watchdog * 1e6))}

    def until(self, true: Callable[[str], bool]) -> str:
        """Return the first datagram from now on of which this is true."""
        self._link.settimeout(PATIENCE_S)
        while True:
            said = self._link.recv(4096).decode()
            self.heard.append(said)
            if true(said):
                return said

    def __enter__(self) -> "Manager":
        self._link.bind(str(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()
