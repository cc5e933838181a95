"""A hub as people start it: ``agentcom hub`` as a process of its own, on a free port."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from coordinator.reading import HubClient
from support.repo import git_env

#: Longest wait for a process to end, in seconds.
SOON = 60.0


@dataclass
class HubProcess:
    """One ``agentcom hub``; ``start`` returns when it is ready or has ended, and ``said`` is its standard error."""

    repo: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def log(self) -> Path:
        return self.repo.with_name(f"{self.repo.name}.hub.log")

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def start(self) -> "HubProcess":
        argv = (sys.executable, "-m", "coordinator", "hub", "--listen", "127.0.0.1:0", "--repo", str(self.repo))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (*argv, *self.options), stdout=subprocess.PIPE, stderr=log, env={**git_env(), "PYTHONUNBUFFERED": "1"}
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline().decode()
        self.url = first.split()[3] if first.startswith("hub ready at ") else ""
        return self

    @property
    def ready(self) -> bool:
        return bool(self.url)

    def ended(self) -> int:
        """Wait until it has ended; return its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout:
            code = self.process.wait(SOON)
        self.process = None
        return code

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; return its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End it as a power cut would, as far as the process is concerned."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.ended()

    @property
    def token(self) -> str:
        """The admin's token."""
        return next(self.repo.glob("**/agentcom/admin.token")).read_text(encoding="ascii").strip()

    @property
    def client(self) -> HubClient:
        return HubClient(self.url, self.token)

    def __enter__(self) -> "HubProcess":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
