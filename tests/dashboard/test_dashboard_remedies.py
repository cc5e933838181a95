"""Which command ends the waiting of a task, by its reason."""

from dataclasses import replace

import pytest
from support.sights import a_task, an_agent

from coordinator.core.agent import PARKED_FOR_GOOD, Agent, AgentRecord
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from dashboard.remedies import against, of_task


@pytest.mark.parametrize(
    ("why", "more", "commands"),
    [
        (Why("held", ""), {"hold": True}, ["agentcom task release t-1"]),
        (Why("held", ""), {"held": True}, ["agentcom confirm --show", "agentcom confirm"]),
        (Why("cycle", "", ("t-1", "t-2")), {}, ["agentcom task edit t-1"]),
        (Why("no_agent", ""), {}, ["agentcom agent add NAME"]),
        (
            Why("no_agent", ""),
            {"needed_capabilities": ("a", "b")},
            ["agentcom agent add NAME --capabilities a,b"],
        ),
        (Why("agents_offline", "", ("loash",)), {}, ["agentcom-sidecar run --config FILE"]),
        (Why("agents_parked", "", ("gcu", "loash")), {}, ["agentcom agent resume gcu", "agentcom agent resume loash"]),
        (Why("pinned", "", ("gcu",)), {"assignee": "gcu"}, ["agentcom task edit t-1"]),
        (Why("orphaned", ""), {}, ["agentcom task cancel t-1"]),
        (Why("agents_busy", "", ("loash",)), {}, []),
        (Why("not_before", ""), {}, []),
    ],
)
def test_each_reason_has_the_command_that_ends_it(why: Why, more: dict[str, object], commands: list[str]) -> None:
    assert [one.command for one in against(why, a_task("t-1", **more), {}, {})] == commands


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.QUEUED, "agentcom task why other"),
        (State.WORKING, None),
        (State.BLOCKED, 'agentcom task answer other "YOUR ANSWER"'),
        (State.IN_REVIEW, "agentcom task approve other"),
        (State.FAILED, "agentcom task rerun other"),
        (State.CANCELLED, "agentcom task rerun other"),
    ],
)
def test_who_waits_for_another_task_is_shown_what_that_one_needs(state: State, command: str | None) -> None:
    why = Why("dependency", "waits for other", ("other",))
    found = against(why, a_task("t-1", depends_on=("other",)), {"other": a_task("other", state)}, {})
    assert [one.command for one in found][:1] == ([] if command is None else [command])


@pytest.mark.parametrize(
    ("agent", "command"),
    [
        (an_agent("gcu", online=False), "agentcom-sidecar run --config FILE"),
        (replace(an_agent("gcu"), record=AgentRecord("gcu", PARKED_FOR_GOOD, "no")), "agentcom agent resume gcu"),
        (an_agent("gcu"), None),
    ],
)
def test_who_waits_for_one_agent_is_shown_what_that_one_needs(agent: Agent, command: str | None) -> None:
    found = against(Why("pinned", "", ("gcu",)), a_task("t-1", assignee="gcu"), {}, {"gcu": agent})
    assert [one.command for one in found] == [*([] if command is None else [command]), "agentcom task edit t-1"]


def test_who_waits_for_a_task_that_nobody_knows_is_shown_how_to_wait_for_another() -> None:
    found = against(Why("dependency", "", ("gone",)), a_task("t-1", depends_on=("gone",)), {}, {})
    assert [one.command for one in found] == ["agentcom task edit t-1"]


def test_an_open_task_can_be_changed_and_given_up_and_a_finished_one_run_again() -> None:
    commands = {state: [one.command for one in of_task(a_task("t-1", state))] for state in State}
    for state, found in commands.items():
        assert ("agentcom task cancel t-1" in found) is (state not in (*ENDED,))
        assert ("agentcom task rerun t-1" in found) is (state in ENDED)
        assert found[-1] == "agentcom log t-1"


ENDED = (State.DONE, State.FAILED, State.REJECTED, State.CANCELLED)
