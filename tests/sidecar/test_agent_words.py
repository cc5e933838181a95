"""What an agent says with agentcom-report while a real sidecar runs it, as a hub hears it."""

import signal
from typing import Any

import pytest
from support.sidecars import until

pytestmark = pytest.mark.slow


def agent(*commands: str) -> dict[str, Any]:
    """A runtime that runs these lines of shell, as an agent would; the command is on its path."""
    return {"name": "shell", "argv": ["sh", "-ec", "\n".join(commands)]}


async def at_work(hub: Any, sidecar: Any, *options: str) -> Any:
    await sidecar.start(*options)
    session = await hub.session()
    await session.assign("t-1", 1, "sweep the floor")
    await session.expect("task_accepted")
    await session.ack("t-1", "accepted", 1)
    return session


async def test_progress_and_the_last_word_reach_the_hub(hub, sidecars):
    go = "read line < go"
    sidecar = sidecars(runtime=agent("mkfifo go", "agentcom-report progress 40 half", go, "agentcom-report done swept"))
    session = await at_work(hub, sidecar)
    said = await session.expect("task_progress", task_id="t-1", generation=1)
    assert (said["progress"], said["note"]) == (40, "half")
    (sidecar.work / "go").write_text("\n")
    assert (await session.expect("task_complete"))["result"]["summary"] == "swept"


async def test_an_agent_asks_waits_and_goes_on_with_the_answer(hub, sidecars):
    sidecar = sidecars(runtime=agent('agentcom-report done "$(agentcom-report ask "which broom?" --wait)"'))
    session = await at_work(hub, sidecar)
    asked = await session.expect("task_blocked", task_id="t-1", generation=1)
    assert asked["question"] == "which broom?"
    await session.ack("t-1", "blocked", 1)
    await session.send("task_updated", task_id="t-1", generation=1, answer="the left one")
    assert (await session.expect("task_complete"))["result"]["summary"] == "the left one"
    assert "the left one" in (sidecar.home / "results/t-1.1/updates.jsonl").read_text()


@pytest.mark.parametrize("ending", ['agentcom-report block "which broom?"', 'agentcom-report ask "which broom?"'])
async def test_an_agent_that_ends_with_a_question_frees_its_sidecar_for_other_work(hub, sidecars, ending):
    sidecar = sidecars(
        resend_every="200ms", runtime=agent('[ "$AGENTCOM_TASK_ID" = t-2 ] && agentcom-report done', ending)
    )
    sidecar.config["runtime"]["argv"][1] = "-c"
    session = await at_work(hub, sidecar)
    await session.expect("task_blocked", question="which broom?")
    await session.expect("task_blocked", question="which broom?")
    await session.ack("t-1", "blocked", 1)
    await session.expect("task_released", task_id="t-1", generation=1, unfinished=False)
    assert session.said("task_failed") == []
    await session.assign("t-2")
    await session.expect("task_complete", task_id="t-2")


async def test_a_question_is_asked_again_by_a_sidecar_that_was_killed(hub, sidecars):
    sidecar = sidecars(runtime=agent('agentcom-report ask "which broom?" --wait'))
    session = await at_work(hub, sidecar)
    await session.expect("task_blocked")
    await sidecar.end(signal.SIGKILL)
    await sidecar.start()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 1}]
    await session.expect("task_blocked", task_id="t-1", generation=1, question="which broom?")
    await session.ack("t-1", "blocked", 1)
    await session.expect("task_released", task_id="t-1", unfinished=False)


async def test_a_changed_task_is_announced_by_the_agents_next_command(hub, sidecars):
    go = "read line < go"
    sidecar = sidecars(runtime=agent("mkfifo go", "agentcom-report started", go, "agentcom-report note x > said", go))
    session = await at_work(hub, sidecar)
    await until((sidecar.home / "results/t-1.1/confirmed").exists)
    await session.send("task_updated", task_id="t-1", generation=1, title="sweep it twice")
    await until((sidecar.home / "results/t-1.1/updates.jsonl").exists)
    (sidecar.work / "go").write_text("\n")
    await session.expect("task_progress", note="x")
    assert '"title": "sweep it twice"' in (sidecar.work / "said").read_text()


async def test_the_last_word_of_an_agent_outlives_its_sidecar(hub, sidecars):
    sidecar = sidecars(runtime=agent("agentcom-report done swept", "echo > written", "sleep 600"))
    session = await at_work(hub, sidecar)
    await until((sidecar.work / "written").exists)
    await sidecar.end(signal.SIGKILL)
    await sidecar.start()
    session = await hub.session()
    assert (await session.expect("task_complete"))["result"]["summary"] == "swept"
