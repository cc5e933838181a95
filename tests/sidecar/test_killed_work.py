"""What becomes of work in git that an agent had finished when its attempt was ended early."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from support.gitplace import Place
from support.repo import git_env
from support.waiting import SOON, until

from coordinator.wire.frames import TaskAssign
from sidecar.events import Ended
from sidecar.gitwork import Gitwork, Repos
from sidecar.outbox import Outbox
from sidecar.outcome import Success
from sidecar.runner import Runner, RunSettings
from sidecar.runtimes.catalogue import Runtime, find
from sidecar.values import Key

TASK = TaskAssign(task_id="t-1", title="Write seven", generation=1, assigned_at=0, repo="app")
BRANCH = "loash/t-1-write-seven"
#: Finishes, says so, and goes on living, as an agent that cleans up.
AGENT = """
echo 7 >seven.txt
echo '{"status": "success", "summary": "written"}' >"$AGENTCOM_RESULT_FILE.part"
mv "$AGENTCOM_RESULT_FILE.part" "$AGENTCOM_RESULT_FILE"
echo reported
exec sleep 600
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in git_env().items():
        monkeypatch.setenv(name, value)
    return Place(tmp_path)


async def killed(place: Place, folder: Path, *wishes: bool) -> Ended:
    """Let an agent finish and then end its attempt; ``wishes`` say, in turn, whether the task is still ours."""
    shell = find("shell", folder)
    assert shell is not None
    git = Gitwork("loash", Repos(folder / "repos", {"app": place.clone.path}), os.environ)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    outbox = Outbox(folder)
    outbox.prepare()
    runner = Runner(outbox, Runtime(shell, ("sh", "-c", AGENT)), RunSettings(git=git, kill_grace=0.1), ended.set_result)
    runner.start(TASK)
    key = Key(TASK.task_id, 1)
    result = outbox.folder(key) / "result.json"
    await asyncio.to_thread(until, result.exists)
    for ours in wishes:
        runner.kill(key, ours=ours)
    async with asyncio.timeout(SOON):
        return await ended


@pytest.mark.parametrize("wishes", [(False,), (True, False), (False, True)])
def test_nothing_is_submitted_for_a_task_that_the_hub_took_back_and_the_result_says_where_it_is(
    place: Place, tmp_path: Path, wishes: tuple[bool, ...]
) -> None:
    outcome = asyncio.run(killed(place, tmp_path / "state", *wishes)).outcome
    assert isinstance(outcome, Success)
    assert (outcome.result["summary"], outcome.result["branch"]) == ("written", BRANCH)
    (remark,) = outcome.result["git_remarks"]
    path = remark.removeprefix("not submitted, because the hub took the task back: the work is in ")
    assert (Path(path) / "seven.txt").read_text() == "7\n"
    assert place.tip(BRANCH) == ""
    assert "pr_url" not in json.dumps(outcome.result)


def test_what_was_finished_before_the_sidecar_stops_is_submitted(place: Place, tmp_path: Path) -> None:
    outcome = asyncio.run(killed(place, tmp_path / "state", True)).outcome
    assert isinstance(outcome, Success)
    assert outcome.result["commit"] == place.tip(BRANCH) != ""
