"""A hub with a token takes the forge's word on work in review where git shows nothing; each of its words once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fakeforge import FakeForge, forge_over
from support.repo import make_bare, make_repo
from support.reviews import AGENT, BRANCH, in_review, seven, until

from coordinator.core.events import Accepted, Complete, Said
from coordinator.core.machine import State
from coordinator.verdicts import API, TOKENS
from coordinator.web.translate import context_of

URL = "https://github.com/ada/app.git"
POLICY = f"repos: {{app: {{url: '{URL}', base: main}}}}\n"
FILES = {**AGENT, "agentcom.yaml": POLICY, "tasks/t-1.yaml": "title: seven\nrepo: app\n"}


class Place:
    def __init__(self, folder: Path, forge: FakeForge) -> None:
        self.forge = forge
        self.app = make_repo(folder / "app", {"a.txt": "a\n"})
        self.app.git("remote", "add", "origin", str(forge.origin))
        self.commit = seven(self.app)
        self.app.git("push", "--quiet", "origin", "main", BRANCH)
        forge.opened(BRANCH)
        self.clone = make_repo(folder / "r", FILES)

    @property
    def result(self) -> dict[str, Any]:
        return {"branch": BRANCH, "commit": self.commit, "pr_url": "https://github.com/ada/app/pull/1"}

    def squash_edited(self) -> str:
        """Squash the work with a change of one's own, and delete its branch."""
        commit = self.app.commit({"seven.txt": "seven\n"}, "Seven (#1)")
        self.app.git("push", "--quiet", "origin", "main")
        self.forge.merge(1, commit)
        self.app.git("push", "--quiet", "origin", "--delete", BRANCH)
        return commit


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The repository under its address at github.com, which git is told to find on this machine."""
    origin = make_bare(tmp_path / "app.git")
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "{origin}"]\n\tinsteadOf = {URL}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    with forge_over(origin) as forge:
        monkeypatch.setenv(API, forge.url)
        monkeypatch.setenv(TOKENS[0], forge.token)
        yield Place(tmp_path, forge)


async def test_a_squash_that_was_edited_is_approved_by_the_forges_word(place: Place) -> None:
    async with in_review(place.clone, place.result) as (hub, reviewer):
        commit = place.squash_edited()
        await reviewer.once()
        task = await until(hub, State.DONE)
        assert (task.status.merged, reviewer.problems) == (commit, ())
        said = place.clone.git("log", "-1", "--format=%an <%ae>", "agentcom/state", "--grep=approved")
        assert said == "grace <7+grace@users.noreply.github.com>"


async def test_without_a_token_nothing_is_asked_and_the_branch_that_is_gone_is_a_problem(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    async with in_review(place.clone, place.result) as (hub, reviewer):
        place.squash_edited()
        await reviewer.once()
        assert "not merged as it was" in reviewer.problems[0].what
        assert (await until(hub, State.IN_REVIEW)).status.merged is None
        assert place.forge.questions == []


async def test_a_review_gives_the_task_back_with_its_notes_in_the_next_packet_and_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.verdicts.ASK_EVERY_S", 0.0)
    async with in_review(place.clone, place.result) as (hub, reviewer):
        review = place.forge.review(1, "CHANGES_REQUESTED", "Seven is not enough.")
        place.forge.remark(1, review, "seven.txt", 1, "8, please")
        await reviewer.once()
        task = await until(hub, State.ASSIGNED)
        assert task.status.generation == 2
        decision = task.status.reviews[0]
        assert (decision.generation, decision.approve) == (1, False)
        assert "Seven is not enough.\n- seven.txt:1: 8, please" in decision.note
        assert context_of(task).review == [{"generation": 1, "approve": False, "note": decision.note}]
        await hub.settle(Said("loash", "s", Accepted("t-1", 2)))
        await hub.settle(Said("loash", "s", Complete("t-1", 2, place.result)))
        await until(hub, State.IN_REVIEW)
        await reviewer.once()
        await reviewer.once()
        assert reviewer.problems == ()
        assert (await until(hub, State.IN_REVIEW)).status.reviews == (decision,)


async def test_a_pull_request_closed_without_a_merge_gives_the_task_back(place: Place) -> None:
    async with in_review(place.clone, place.result) as (hub, reviewer):
        place.forge.close(1)
        await reviewer.once()
        task = await until(hub, State.ASSIGNED)
        assert task.status.reviews[0].note.startswith("https://github.com/ada/app/pull/1 was closed without a merge")


async def test_what_git_shows_needs_no_forge(place: Place) -> None:
    async with in_review(place.clone, place.result) as (hub, reviewer):
        place.app.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
        place.app.git("push", "--quiet", "origin", "main")
        await reviewer.once()
        assert (await until(hub, State.DONE)).status.merged == place.app.head()
        assert place.forge.questions == []
