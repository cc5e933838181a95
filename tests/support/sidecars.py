"""A real sidecar process with an identity on disk, for tests against a scripted hub."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from support.fakehub import PATIENCE_S, FakeHub


class Sidecar:
    """One identity on disk, and its process while there is one."""

    def __init__(self, home: Path, hub: FakeHub, **config: Any) -> None:
        self.home = home
        self.work = home / "work"
        self.work.mkdir(parents=True)
        self.log = home / "fake.log"
        runtime = config.pop("runtime", {"name": "fake"})
        env = {"AGENTCOM_FAKE_LOG": str(self.log), **runtime.pop("env", {})}
        self.config = {
            "agent_id": "loash",
            "token": hub.token,
            "hub_url": hub.url,
            "reconnect_max": "200ms",
            "kill_grace": "200ms",
            "runtime": {"cwd": str(self.work), "env": env, **runtime},
            **config,
        }
        self.file = home / "config.json"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> None:
        self.file.touch(mode=0o600)
        self.file.write_text(json.dumps(self.config))
        argv = (sys.executable, "-m", "sidecar.cli", "run", "--config", str(self.file), *options)
        self.process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)

    async def end(self, number: int | None = None) -> tuple[int, str]:
        """Signal it if asked to, wait for its end, and return exit code and stderr."""
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            _, stderr = await self.process.communicate()
        code = self.process.returncode
        self.process = None
        assert code is not None
        return code, stderr.decode()

    def ends(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("end ")]

    def queue(self) -> dict[str, Any]:
        return json.loads((self.home / "queue.json").read_text())


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def until(condition: Any) -> None:
    """Wait for something outside this process that cannot be awaited."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)
