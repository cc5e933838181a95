"""A hub whose repository has a remote: a real bare repository, other clones of it, and whatever they do to it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo
from support.state import let_a_hub_look

from coordinator import joining, syncing
from coordinator.core.agent import Session
from coordinator.core.events import Accepted, Complete, Connected, Said
from coordinator.core.machine import State
from coordinator.core.task import Task
from coordinator.git.lock import HubLock
from coordinator.git.repo import STATE_REF
from coordinator.hub import Hub
from coordinator.joining import adopt, arrive, settle
from coordinator.ports import Answer, Conflict, End
from coordinator.service import CannotStart, HubView
from coordinator.starting import part, start
from coordinator.sync import Syncer

pytestmark = pytest.mark.slow

#: Longest wait for something that must happen soon.
SOON = 30.0
READY = "# Backlog\n\n## Ready\n\n"
ONE = READY + "- [ ] first thing\n"
REFUSE = "#!/bin/sh\necho 'You are not allowed to push to protected branches' >&2\nexit 1\n"


@pytest.fixture(autouse=True)
def quick_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's git configuration out; let minutes be moments."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name, seconds in (("FETCH_EVERY_S", 0.3), ("PUSH_AFTER_S", 0.1), ("RETRY_FIRST_S", 0.1), ("RETRY_MOST_S", 0.4)):
        monkeypatch.setattr(syncing, name, seconds)


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    return Clone(make_bare(tmp_path / "remote.git"))


@pytest.fixture
def person(tmp_path: Path, bare: Clone) -> Clone:
    """A person's clone, with what they have pushed."""
    made = make_repo(tmp_path / "person", {"BACKLOG.md": ONE, "a.txt": "a\n"})
    made.git("remote", "add", "origin", str(bare.path))
    made.git("push", "--quiet", "-u", "origin", "main")
    return made


class NoChores:
    """A housekeeping without troubles."""

    troubles = ()


@dataclass
class Running:
    """A hub at work over a clone of the remote."""

    hub: Hub
    syncer: Syncer
    view: HubView
    clone: Clone
    syncing: "asyncio.Task[None]"

    async def look(self) -> None:
        async with asyncio.timeout(SOON):
            await self.syncer.fetch()
            await self.hub.reconcile()

    async def pushed(self) -> None:
        await eventually(lambda: self.syncer.json()["unpushed"] == 0 and self.syncer.json()["push_error"] is None)

    @property
    def said(self) -> str:
        return "\n".join(f"{p['path']}: {p['what']}, {p['hint']}" for p in self.view.problem_list())

    @property
    def tasks(self) -> dict[str, Task]:
        return {task.spec.title: task for task in self.hub.core.memory.tasks.values() if task.open}


async def eventually(check: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not check():  # noqa: ASYNC110 - what is waited for happens in other processes too
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    path: Path, remote: Path | None = None, *, take_over: bool = False, beat: bool = True
) -> AsyncIterator[Running]:
    """Start a hub as ``agentcom hub`` does, without its door; an error of hub or remote is the test's."""
    if remote is not None:
        settle(path, str(remote))
    ground, arrival = arrive(path, None)
    with HubLock(ground.repo) as lock, ExitStack() as stack:
        hub, syncer, _ = await start(ground, arrival, lock, stack, take_over=take_over)
        assert syncer is not None
        working = asyncio.create_task(hub.run())
        syncing_now = asyncio.create_task(syncer.run())

        async def heart() -> None:
            while beat:
                syncer.beat()
                await asyncio.sleep(0.02)

        beating = asyncio.create_task(heart())
        try:
            yield Running(hub, syncer, HubView(hub, ground, 0, None, NoChores(), syncer), Clone(path), syncing_now)  # type: ignore[arg-type]
        finally:
            beating.cancel()
            hub.stop()
            ended = await asyncio.wait_for(asyncio.gather(working, return_exceptions=True), SOON)
            ended += await part({syncing_now}, syncer, well=not any(ended))
        for error in ended:
            if error is not None:
                raise error


def install(bare: Clone, hook: str | None) -> None:
    path = bare.path / "hooks" / "pre-receive"
    if hook is None:
        path.unlink()
    else:
        path.write_text(hook)
        path.chmod(0o755)


def by_person(person: Clone, tip: str) -> str:
    """Commit on top of ``tip`` as a person would who has the state branch checked out."""
    person.git("fetch", "--quiet", "origin", "+refs/heads/agentcom/*:refs/remotes/origin/agentcom/*")
    return person.git("commit-tree", "-p", tip, "-m", "edit by hand", f"{tip}^{{tree}}")


async def test_an_absent_folder_becomes_a_clone_whose_trail_goes_to_the_remote(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        assert at.tasks.keys() == {"first thing"}
        assert bare.head(STATE_REF) == at.hub.tip, "the claim is there before anybody is served"
        before = at.clone.snapshot()
        tip = person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        person.git("push", "--quiet")
        await at.look()
        assert at.hub.observed == tip
        assert at.tasks.keys() == {"first thing", "second thing"}
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip
        assert at.clone.snapshot() == before
    assert "\n\n[skip ci]\n\nAgentcom-" in bare.git("log", "-1", "--format=%B", STATE_REF)
    assert bare.head("main") == tip
    assert bare.fsck() == at.clone.fsck() == ""


async def test_what_is_committed_and_not_pushed_does_not_count_yet(tmp_path: Path, bare: Clone, person: Clone) -> None:
    async with running(person.path, bare.path) as at:
        observed = at.hub.observed
        person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        await at.look()
        assert at.hub.observed == observed
        person.git("push", "--quiet")
        await at.look()
        assert at.tasks.keys() == {"first thing", "second thing"}


async def test_the_default_branch_is_the_remotes_and_recorded_as_everybody_calls_it(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    person.git("push", "--quiet", "origin", "main:trunk")
    bare.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    other = make_repo(tmp_path / "other", {"x": "x"})
    async with running(other.path, bare.path) as at:
        assert at.tasks.keys() == {"first thing"}
    assert "source: refs/heads/trunk" in other.show("status/hub.yaml", STATE_REF)


async def test_no_trail_begins_on_a_remote_that_has_no_source_yet(tmp_path: Path) -> None:
    empty = Clone(make_bare(tmp_path / "empty.git"))
    with pytest.raises(CannotStart, match=r"has no branch main.*push there what people work on first") as refused:
        async with running(tmp_path / "hub", empty.path):
            raise AssertionError("served")
    assert refused.value.exit_code == 78
    assert empty.git("for-each-ref") == "", "the first branch of a forge becomes its default one"


async def test_a_commit_that_changes_nothing_of_peoples_part_is_not_observed(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        tip = at.hub.tip
        person.git("commit", "--quiet", "--allow-empty", "-m", "nothing")
        person.git("push", "--quiet")
        await at.look()
        assert at.hub.tip == tip


async def test_a_source_rewritten_to_almost_nothing_is_held(tmp_path: Path, bare: Clone, person: Clone) -> None:
    root = person.head()
    person.commit({"BACKLOG.md": READY + "".join(f"- [ ] thing number {n}\n" for n in range(12))})
    person.git("push", "--quiet")
    async with running(tmp_path / "hub", bare.path) as at:
        assert len(at.tasks) == 12
        person.git("reset", "--quiet", "--hard", root)
        person.commit({"BACKLOG.md": "# Backlog\n"}, "rewritten")
        person.git("push", "--quiet", "--force")
        await at.look()
        assert at.hub.observed == person.head()
        assert len(at.tasks) == 12
        assert "confirm" in at.said


async def test_a_source_deleted_there_leaves_the_last_one_in_force_and_is_reported(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        bare.git("update-ref", "-d", "refs/heads/main")
        await at.look()
        assert at.tasks.keys() == {"first thing"}
        assert "origin has no branch main" in at.said
        person.git("push", "--quiet", "origin", "main")
        await at.look()
        assert "no branch" not in at.said


async def test_a_remote_that_is_away_stops_nothing_and_is_caught_up_with(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    away = bare.path.with_name("away.git")
    async with running(tmp_path / "hub", bare.path):
        pass
    bare.path.rename(away)
    async with running(tmp_path / "hub") as at:  # the last claimant serves at once
        await eventually(lambda: at.syncer.json()["push_error"])
        lag = at.syncer.json()
        assert lag["unpushed"] == 1
        assert lag["unpushed_since"]
        assert "does not appear to be a git repository" in lag["push_error"]
        assert "origin: cannot be reached" in at.said
        assert "1 commit is not pushed" in at.said
        away.rename(bare.path)
        await at.pushed()
        await at.look()
        assert at.said == ""
        assert bare.head(STATE_REF) == at.hub.tip


async def test_tasks_are_done_while_the_remote_is_away_and_their_trail_follows(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    more = "".join(f"- [ ] thing {n}\n" for n in range(5))
    person.commit({"BACKLOG.md": ONE + more, "agents/mind.yaml": "name: Mind\n"})
    person.git("push", "--quiet")
    away = bare.path.with_name("away.git")
    async with running(tmp_path / "hub", bare.path) as at:
        bare.path.rename(away)
        await at.hub.settle(Connected("mind", Session("s", (), frozenset(), frozenset())))
        for _ in range(6):
            (task,) = (task for task in at.tasks.values() if task.state is State.ASSIGNED)
            await at.hub.settle(Said("mind", "s", Accepted(task.id, 1)))
            await at.hub.settle(Said("mind", "s", Complete(task.id, 1, {})))
        assert not at.tasks
        await eventually(lambda: "commits are not pushed" in at.said)
        away.rename(bare.path)
        await at.pushed()
        assert bare.git("log", "--format=%s", STATE_REF).count("working -> done (mind)") == 6
        assert at.clone.fsck() == bare.fsck() == ""


async def test_somebody_who_asks_for_the_status_keeps_no_push_from_its_time(
    tmp_path: Path, bare: Clone, person: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "FETCH_EVERY_S", 3600.0)
    async with running(tmp_path / "hub", bare.path, beat=False) as at:
        person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        person.git("push", "--quiet")
        await at.look()
        assert at.syncer.json()["unpushed"]
        await eventually(lambda: bare.head(STATE_REF) == at.hub.tip)


async def test_a_remote_that_never_answers_keeps_no_hub_from_serving(
    tmp_path: Path, bare: Clone, person: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "hub", bare.path):
        pass
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 600\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(ssh))
    monkeypatch.setattr(joining, "FIRST_WORDS_S", 0.5)
    Clone(tmp_path / "hub").git("remote", "set-url", "origin", "git@forge.example:remote.git")
    async with running(tmp_path / "hub") as at:
        assert "took longer than 0.5 s" in at.said
        assert at.tasks.keys() == {"first thing"}


async def test_a_refusal_is_shown_in_the_words_of_the_forge_and_heals(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        install(bare, REFUSE)
        bare.git("fetch", "--quiet", str(person.path), f"{person.commit({'BACKLOG.md': READY})}:refs/heads/main")
        await at.look()
        await eventually(lambda: "You are not allowed to push to protected branches" in at.said)
        install(bare, None)
        await at.pushed()
        assert at.said == ""


async def test_a_new_hub_that_may_not_push_its_claim_does_not_serve(tmp_path: Path, bare: Clone, person: Clone) -> None:
    install(bare, REFUSE)
    for _ in range(2):
        with pytest.raises(CannotStart, match="You are not allowed to push to protected branches"):
            async with running(tmp_path / "hub", bare.path):
                raise AssertionError("served")
    install(bare, None)
    async with running(tmp_path / "hub", bare.path):
        pass


async def test_a_new_hub_does_not_start_while_the_remote_is_away(tmp_path: Path, bare: Clone, person: Clone) -> None:
    bare.path.rename(bare.path.with_name("away.git"))
    with pytest.raises(CannotStart, match="origin cannot be reached, and a hub that is new to it"):
        async with running(person.path, bare.path):
            raise AssertionError("served")
    assert person.git("branch", "--list", "agentcom/*") == ""


@pytest.mark.parametrize("rewound", [False, True])
async def test_a_state_branch_deleted_or_rewound_there_is_put_back_and_reported(
    tmp_path: Path, bare: Clone, person: Clone, rewound: bool
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        old = bare.git("rev-list", "--first-parent", "--skip=1", "-1", STATE_REF)
        bare.git("update-ref", STATE_REF, old) if rewound else bare.git("update-ref", "-d", STATE_REF)
        person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        person.git("push", "--quiet")
        await at.look()
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip
        assert ("set back to" if rewound else "deleted") in at.syncer.json()["notice"]


async def test_a_persons_commit_on_the_state_branch_there_is_kept_in_history_and_undone(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        slip = by_person(person, bare.head(STATE_REF))
        person.git("push", "--quiet", "origin", f"{slip}:{STATE_REF}")
        person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        person.git("push", "--quiet", "origin", "main")
        await at.look()
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip
        assert "edit by hand" in bare.git("log", "--format=%s", STATE_REF)
        assert "edit by hand" not in bare.git("log", "--first-parent", "--format=%s", STATE_REF)
        assert "Ada Lovelace" in at.said
    async with running(tmp_path / "hub") as at:
        assert at.tasks.keys() == {"first thing", "second thing"}


async def test_a_slip_there_while_no_hub_ran_is_undone_by_the_next_one(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path):
        pass
    slip = by_person(person, bare.head(STATE_REF))
    person.git("push", "--quiet", "origin", f"{slip}:{STATE_REF}")
    async with running(tmp_path / "hub") as at:
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip
        assert "edit by hand" in bare.git("log", "--format=%s", STATE_REF)


@pytest.mark.parametrize("noted", [True, False])
async def test_an_earlier_hub_that_pushes_late_costs_the_later_one_nothing(
    tmp_path: Path, bare: Clone, person: Clone, noted: bool
) -> None:
    async with running(tmp_path / "one", bare.path):
        pass
    early = bare.head(STATE_REF)
    who = ("-c", "user.name=AgentCom hub", "-c", "user.email=hub@agentcom.invalid")
    text = "late\n\nAgentcom-Epoch: 1/h-00000000"
    late = bare.git(*who, "commit-tree", "-p", early, "-m", text, f"{early}^{{tree}}")
    async with running(tmp_path / "two", bare.path):
        pass
    bare.git("update-ref", STATE_REF, late)
    ours = Clone(tmp_path / "two").head(STATE_REF)
    if not noted:
        (tmp_path / "two" / ".git" / "agentcom" / "state-tip").unlink()
    async with running(tmp_path / "two") as at:
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip
        assert ours in bare.git("rev-list", "--first-parent", STATE_REF)
        assert late in bare.git("rev-list", STATE_REF)
        assert late not in bare.git("rev-list", "--first-parent", STATE_REF)
        assert "of an earlier hub (epoch 1/h-00000000)" in at.said


async def test_a_hub_on_a_fresh_clone_goes_on_with_the_trail_and_the_other_one_stops(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async def first() -> None:
        async with running(tmp_path / "one", bare.path) as at:
            names.append(at.tasks["first thing"].id)
            async with running(tmp_path / "two", bare.path) as other:
                assert other.tasks["first thing"].id == names[0]
                assert other.tasks["first thing"].status.generation == 1000
                assert other.hub.claim.epoch == 2
                assert bare.head(STATE_REF) == other.hub.tip
            person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
            person.git("push", "--quiet")
            await at.syncer.fetch()
            await eventually(at.syncing.done)

    names: list[str] = []
    with pytest.raises(Conflict, match=r"origin/agentcom/state .* by another hub \(epoch 2/h-.*--take-over"):
        await first()
    with pytest.raises(Conflict, match="--take-over"):
        async with running(tmp_path / "one"):
            raise AssertionError("served")
    lost = Clone(tmp_path / "one").head(STATE_REF)
    async with running(tmp_path / "one", take_over=True) as at:
        assert at.tasks["first thing"].status.generation == 2000
        assert at.hub.claim.epoch == 3
        assert at.tasks.keys() == {"first thing", "second thing"}
        assert bare.head(STATE_REF) == at.hub.tip
        assert at.clone.head(f"refs/heads/agentcom/lost/{at.hub.claim.hub_id}") == lost
    with pytest.raises(Conflict, match="--take-over"):
        async with running(tmp_path / "two"):
            raise AssertionError("served")


async def test_a_claim_that_came_too_late_is_made_anew_on_what_the_old_hub_wrote_meanwhile(
    tmp_path: Path, bare: Clone, person: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "one", bare.path) as old:
        settle(tmp_path / "two", str(bare.path))
        ground, arrival = arrive(tmp_path / "two", None)
        assert arrival is not None
        person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
        person.git("push", "--quiet")
        await old.look()
        await old.pushed()
        with HubLock(ground.repo) as lock, ExitStack() as stack:
            hub, _, _ = await start(ground, arrival, lock, stack)
            titles = {task.spec.title for task in hub.core.memory.tasks.values()}
            assert titles == {"first thing", "second thing"}
            assert bare.head(STATE_REF) == hub.tip
            assert hub.claim.epoch == 2
    assert "is not a hub's" not in bare.git("log", "--format=%B", STATE_REF)


async def test_of_two_new_hubs_the_one_whose_claim_came_too_late_stops(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    settle(tmp_path / "two", str(bare.path))
    ground, arrival = arrive(tmp_path / "two", None)
    async with running(tmp_path / "one", bare.path) as first:
        tip = first.hub.tip
        with HubLock(ground.repo) as lock, ExitStack() as stack, pytest.raises(Conflict, match="another hub"):
            await start(ground, arrival, lock, stack)
        assert bare.head(STATE_REF) == tip


async def test_a_broken_branch_is_restored_from_what_the_remote_has(tmp_path: Path, bare: Clone, person: Clone) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        tip = at.hub.tip
    clone = Clone(tmp_path / "hub")
    clone.git("config", "user.name", "Bo")
    clone.git("config", "user.email", "bo@example.org")
    later = clone.git("commit-tree", "-p", STATE_REF, "-m", "never whole", f"{STATE_REF}^{{tree}}")
    clone.git("update-ref", STATE_REF, later)
    (clone.path / ".git" / "agentcom" / "state-tip").unlink()
    (clone.path / ".git" / "objects" / later[:2] / later[2:]).unlink()
    async with running(tmp_path / "hub") as at:
        assert at.tasks["first thing"].status.generation == 1000
        assert at.clone.git("merge-base", "--is-ancestor", str(tip), STATE_REF) == ""
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip


@pytest.mark.parametrize("ref", ["refs/heads/agentcom/state", "refs/remotes/origin/agentcom/state"])
async def test_a_ref_that_holds_garbage_is_mended_at_the_next_start(
    tmp_path: Path, bare: Clone, person: Clone, ref: str
) -> None:
    async with running(tmp_path / "hub", bare.path):
        pass
    (tmp_path / "hub" / ".git" / ref).write_text("garbage\n")
    async with running(tmp_path / "hub") as at:
        await at.pushed()
        assert bare.head(STATE_REF) == at.hub.tip == at.clone.head(ref)
        assert at.tasks.keys() == {"first thing"}


async def test_a_trail_that_grew_without_a_remote_goes_there_whole(tmp_path: Path, bare: Clone, person: Clone) -> None:
    await asyncio.to_thread(let_a_hub_look, person)
    before = person.head(STATE_REF)
    async with running(person.path, bare.path) as at:
        assert bare.git("merge-base", "--is-ancestor", before, STATE_REF) == ""
        assert at.hub.claim.epoch == 2
        assert at.tasks["first thing"].status.generation == 0
    settle(person.path, "none")
    assert arrive(person.path, None)[1] is None


async def test_a_remote_named_while_a_hub_runs_is_refused_and_the_choice_stays(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    async with running(tmp_path / "hub", bare.path) as at:
        for other in ("none", str(tmp_path / "other.git")):
            with pytest.raises(CannotStart, match="stop that one first") as refused:
                settle(at.clone.path, other)
            assert refused.value.exit_code == 75
            assert at.clone.git("config", "agentcom.remote") == "origin"
            assert at.clone.git("remote") == "origin"


async def test_a_trail_that_grew_without_a_remote_waits_until_the_remote_has_what_was_read(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    person.commit({"BACKLOG.md": ONE + "- [ ] second thing\n"})
    await asyncio.to_thread(let_a_hub_look, person)
    with pytest.raises(CannotStart, match="`git push origin main` first"):
        async with running(person.path, bare.path):
            raise AssertionError("served")
    person.git("push", "--quiet")
    async with running(person.path) as at:
        assert at.tasks.keys() == {"first thing", "second thing"}


def test_a_remote_that_answers_nothing_good_at_adoption_changes_nothing(
    tmp_path: Path, bare: Clone, person: Clone
) -> None:
    settle(tmp_path / "hub", str(bare.path))
    ground, arrival = arrive(tmp_path / "hub", None)
    assert arrival is not None
    assert arrival.state == Answer(End.GONE, words=arrival.state.words)
    assert adopt(ground, arrival, "h-00000000")
    assert Clone(tmp_path / "hub").git("branch", "--list", "agentcom/*") == ""
