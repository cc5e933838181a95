"""A stage of real processes for each test; every process that it starts ends with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.demo.stage import Stage


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(agents: int, **options: object) -> Stage:
        stage = Stage(tmp_path / "stage", **options)
        stages.append(stage)
        stage.open()
        for number in range(1, agents + 1):
            stage.add_agent(f"mind-{number}")
        stage.start_hub()
        for name in stage.sidecars:
            stage.start_sidecar(name)
        stage.wait_for_agents()
        return stage

    yield make
    for stage in stages:
        stage.close()
