"""A scripted hub, and real sidecars that end with the test."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.fakehub import FakeHub
from support.sidecars import Sidecar


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub() as hub:
        yield hub


@pytest.fixture
async def sidecars(tmp_path: Path, hub: FakeHub) -> AsyncIterator[Any]:
    made: list[Sidecar] = []

    def make(name: str = "one", **config: Any) -> Sidecar:
        made.append(Sidecar(tmp_path / name, hub, **config))
        return made[-1]

    yield make
    for sidecar in made:
        if sidecar.process is not None:
            await sidecar.end(signal.SIGKILL)
