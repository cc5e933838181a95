"""Frozen values: another one with some fields changed."""

from dataclasses import replace

import pytest

from coordinator.core.agent import Live
from coordinator.core.machine import State
from coordinator.core.task import Status
from coordinator.core.values import evolve


def test_a_value_evolves_as_dataclasses_would_replace_it() -> None:
    status = Status(status=State.WORKING, generation=3, excluded=("gcu",), result={"summary": "x"})

    assert evolve(status, generation=4, reason="again") == replace(status, generation=4, reason="again")
    assert evolve(status) == status
    assert evolve(Live(), slot="t-1") == replace(Live(), slot="t-1")


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="Status has no field state"):
        evolve(Status(), state=State.DONE)
