"""Stages for crashes: every process of them ends with the test, by its id."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crashes import CrashStage


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[CrashStage]:
    """A stage for one test alone, not set up yet."""
    stage = CrashStage(tmp_path / "stage", delay=0.05)
    yield stage
    stage.close()
