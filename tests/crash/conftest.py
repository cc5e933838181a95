"""Stages for crashes: every process of them ends with the test, by its id."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support.crashes", "support.sidecardeaths")

from support.crashes import CrashStage  # noqa: E402  its claims are assertions


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[CrashStage]:
    """A stage for one test alone, not set up yet."""
    stage = CrashStage(tmp_path / "stage", delay=0.05)
    yield stage
    stage.close()
