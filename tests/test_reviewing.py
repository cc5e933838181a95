"""A hub sees by itself that work in review was merged, in its own repository and in others; or says why it cannot."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.hubs import SOON, look
from support.repo import Clone, make_bare, make_repo
from support.reviews import AGENT, BRANCH, in_review, seven, until

from coordinator import reviewing
from coordinator.core.machine import State
from coordinator.core.policy import Policy, RepoTarget
from coordinator.core.task import Spec, Status, Task
from coordinator.files.problem import Problem
from coordinator.reviewing import Work, work_of


async def test_work_merged_in_the_hubs_own_repository_is_done_by_who_merged_it(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {**AGENT, "tasks/t-1.yaml": "title: seven\nrepo: .\n"})
    commit = seven(clone)
    async with in_review(clone, {"branch": BRANCH, "commit": commit, "base": "main"}) as (hub, reviewer):
        await reviewer.once()
        await look(hub)
        assert (await until(hub, State.IN_REVIEW)).status.merged is None
        assert reviewer.problems == ()

        clone.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
        await reviewer.once()
        task = await until(hub, State.DONE)
        assert task.status.merged == clone.head()
        said = clone.git("log", "-1", "--format=%an %s", "agentcom/state", "--grep=approved")
        assert said == "Ada Lovelace t-1: in_review -> done (Ada Lovelace)"


async def test_work_squashed_elsewhere_is_seen_through_a_mirror(tmp_path: Path) -> None:
    app = make_repo(tmp_path / "app", {"a.txt": "a\n"})
    bare = Clone(make_bare(tmp_path / "app.git"))
    app.git("remote", "add", "origin", str(bare.path))
    commit = seven(app)
    app.git("push", "--quiet", "origin", "main", BRANCH)
    policy = f"repos: {{app: {{url: '{bare.path}', base: main}}}}\n"
    clone = make_repo(tmp_path / "r", {**AGENT, "agentcom.yaml": policy, "tasks/t-1.yaml": "title: seven\nrepo: app\n"})
    async with in_review(clone, {"branch": BRANCH, "commit": commit}) as (hub, reviewer):
        await reviewer.once()
        assert (await until(hub, State.IN_REVIEW)).status.merged is None

        app.git("merge", "--quiet", "--squash", BRANCH)
        app.git("commit", "--quiet", "-m", "Seven (#1)")
        app.git("push", "--quiet", "origin", "main")
        app.git("push", "--quiet", "origin", "--delete", BRANCH)
        await reviewer.once()
        assert (await until(hub, State.DONE)).status.merged == app.head()


async def test_a_branch_that_is_gone_unmerged_and_a_remote_that_is_away_are_problems(tmp_path: Path) -> None:
    app = make_repo(tmp_path / "app", {"a.txt": "a\n"})
    policy = f"repos: {{app: {{url: '{app.path}', base: main}}}}\n"
    clone = make_repo(tmp_path / "r", {**AGENT, "agentcom.yaml": policy, "tasks/t-1.yaml": "title: seven\nrepo: app\n"})
    async with in_review(clone, {"branch": BRANCH, "commit": "c" * 40}) as (hub, reviewer):
        await reviewer.once()
        assert [str(one) for one in reviewer.problems] == [
            "t-1: loash/t-1-seven is not in app and not merged as it was, "
            "`agentcom task approve t-1` or `agentcom task reject t-1 --note WHY` decides"
        ]
        app.path.rename(tmp_path / "away")
        await reviewer.once()
        assert "cannot be seen" in reviewer.problems[0].what
        assert (await until(hub, State.IN_REVIEW)).status.merged is None


async def test_a_mirror_stands_in_its_folder_whatever_the_repository_is_called(tmp_path: Path) -> None:
    app = make_repo(tmp_path / "app", {"a.txt": "a\n"})
    commit = seven(app)
    name = "../../../outside"
    policy = f"repos: {{'{name}': {{url: '{app.path}', base: main}}}}\n"
    task = f"title: seven\nrepo: '{name}'\n"
    clone = make_repo(tmp_path / "r", {**AGENT, "agentcom.yaml": policy, "tasks/t-1.yaml": task})
    async with in_review(clone, {"branch": BRANCH, "commit": commit}) as (_, reviewer):
        await reviewer.once()
        assert reviewer.problems == ()
    assert len(list((clone.path / ".git/agentcom/mirrors").iterdir())) == 1
    assert not list(tmp_path.rglob("outside*"))  # noqa: ASYNC240 - nothing else runs


async def test_a_look_that_fails_is_said_and_tried_again_and_ends_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewing, "PAUSE_S", 0.0)
    clone = make_repo(tmp_path / "r", {**AGENT, "tasks/t-1.yaml": "title: seven\nrepo: .\n"})
    async with in_review(clone, {"branch": BRANCH, "commit": "c" * 40}) as (_, reviewer):
        looks = asyncio.Semaphore(0)

        async def explode() -> None:
            looks.release()
            raise ValueError("nobody thought of this")

        monkeypatch.setattr(reviewer, "once", explode)
        running = asyncio.create_task(reviewer.run())
        try:
            for _ in range(2):
                reviewer.look()
                await asyncio.wait_for(looks.acquire(), SOON)
            assert not running.done()
            assert [problem.path for problem in reviewer.problems] == ["reviews"]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


# --- what is looked for -----------------------------------------------------------------------------------------------

APP = RepoTarget("https://example.org/app.git", "main")
RESULT = {"branch": BRANCH, "commit": "c" * 40}


def reviewed(result: dict[str, object] | None, **spec: object) -> Task:
    made = replace(Spec("t-1", "one", repo="app"), **spec)
    return Task(made, Status(State.IN_REVIEW, 3, assigned_at=5, result=result))


def test_work_is_looked_for_where_the_policy_says_and_from_when_it_began() -> None:
    found = work_of(reviewed(RESULT), Policy(repos={"app": APP}), None)
    assert found == Work("t-1", 3, "app", BRANCH, "c" * 40, APP.url, "main", 5)
    own = work_of(reviewed({**RESULT, "base": "next"}, repo="."), Policy(), "https://example.org/this.git")
    assert own == Work("t-1", 3, ".", BRANCH, "c" * 40, "https://example.org/this.git", "next", 5)


@pytest.mark.parametrize("result", [None, {}, {"branch": BRANCH}, {"branch": 7, "commit": "c" * 40}])
def test_a_result_that_left_nothing_in_git_is_not_looked_for(result: dict[str, object] | None) -> None:
    assert work_of(reviewed(result), Policy(repos={"app": APP}), None) is None


@pytest.mark.parametrize(
    "result",
    [
        {"branch": "--upload-pack=touch pwned", "commit": "c" * 40},
        {"branch": "a..b", "commit": "c" * 40},
        {"branch": "a:refs/heads/main", "commit": "c" * 40},
        {"branch": "a\nb", "commit": "c" * 40},
        {"branch": BRANCH, "commit": "HEAD"},
        {"branch": BRANCH, "commit": "--all"},
    ],
)
def test_a_result_that_names_no_branch_and_commit_of_git_reaches_no_command(result: dict[str, object]) -> None:
    assert isinstance(work_of(reviewed(result), Policy(repos={"app": APP}), None), Problem)


def test_a_repository_that_the_policy_does_not_know_is_said() -> None:
    found = work_of(reviewed(RESULT), Policy(), None)
    assert isinstance(found, Problem)
    assert "app stands not under repos" in found.what
