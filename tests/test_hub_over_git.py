"""The hub over a real repository: odd sources, lost sources, sources that come late or change their history."""

import asyncio
import os
from pathlib import Path

import pytest
from support.hubs import SOON, look, open_tasks, running, said
from support.repo import Clone, make_repo

from coordinator.core.agent import Session
from coordinator.core.events import Accepted, Connected, Said
from coordinator.core.machine import State
from coordinator.git.housekeeping import Housekeeping
from coordinator.ground import survey
from coordinator.saved import Lookout, SavedWork
from coordinator.service import CannotStart, HubView
from coordinator.starting import make_hub

READY = "# Backlog\n\n## Ready\n\n"
FIRST = READY + "- [ ] first thing\n"


@pytest.fixture(autouse=True)
def no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": FIRST})


def raw_tree(clone: Clone, *rows: tuple[bytes, bytes, str]) -> str:
    data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in rows)
    return clone.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=data)


def raw_commit(clone: Clone, tree: str, author: bytes = b"author A <a@x> 1700000000 +0000\n", more: bytes = b"") -> str:
    head = b"tree %s\nparent %s\n" % (tree.encode(), clone.head().encode())
    data = head + author + b"committer C <c@x> 1700000000 +0000\n" + more + b"\nhi\n"
    return clone.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", input=data)


async def test_a_merge_from_the_other_side_gives_no_line_the_id_of_another(clone: Clone) -> None:
    base = clone.head()
    alices, bobs = "- [ ] alice wants a parser\n", "- [ ] bob wants a logo\n"
    async with running(clone) as hub:
        alice = clone.commit({"BACKLOG.md": FIRST + alices})
        await look(hub)
        name = open_tasks(hub)["alice wants a parser"].id
        clone.git("switch", "-q", "-c", "bob", base)
        clone.commit({"BACKLOG.md": FIRST + bobs})
        clone.git("merge", "-q", "--no-edit", alice, check=False)
        clone.commit({"BACKLOG.md": FIRST + alices + bobs}, "merge")
        clone.git("branch", "-f", "main", "HEAD")
        await look(hub)
        assert open_tasks(hub)["alice wants a parser"].id == name
        assert open_tasks(hub).keys() == {"first thing", "alice wants a parser", "bob wants a logo"}


async def test_a_rewritten_history_with_the_same_files_changes_no_task(clone: Clone) -> None:
    base = clone.head()
    texts = [FIRST + "- [ ] second task here\n", FIRST + "- [ ] second task here\n- [ ] third job\n"]
    async with running(clone) as hub:
        for text in texts:
            clone.commit({"BACKLOG.md": text})
        await look(hub)
        before = dict(hub.core.memory.tasks)
        clone.git("reset", "-q", "--hard", base)
        for text in texts:
            tip = clone.commit({"BACKLOG.md": text}, "reworded")
        await look(hub)
        assert hub.observed == tip
        assert hub.core.memory.tasks == before


async def test_a_hub_that_began_without_a_source_observes_it_by_a_merge_whenever_it_comes(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "repo")
    async with running(clone):
        pass
    clone.commit({"BACKLOG.md": FIRST, "x.txt": "1"})
    async with running(clone) as hub:
        assert open_tasks(hub).keys() == {"first thing"}
    assert "x.txt" in clone.tree("agentcom/state")
    clone.git("merge", "-q", "--ff-only", "agentcom/state")


async def test_before_anything_was_observed_a_persons_file_at_a_hub_path_is_in_no_danger(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "repo")
    async with running(clone) as hub:
        clone.commit({"BACKLOG.md": FIRST, "status/mine.txt": "mine"})
        await look(hub)
        assert hub.observed is None
        assert "status/ stands on main already" in said(hub)
    with pytest.raises(CannotStart, match="status/ stands on main already"):
        async with running(clone):
            pass


ODD_TREES = {
    "group-writable": [(b"100664", b"z.txt", "blob")],
    "private": [(b"100600", b"z.txt", "blob")],
    "no mode": [(b"0", b"z", "blob")],
    "padded": [(b"040000", b"dir", "tree")],
    "tree that is a blob": [(b"40000", b"zz", "blob")],
    "blob that is a tree": [(b"100644", b"zz", "tree")],
    "two names in one": [(b"100644", b"a/b", "blob")],
    "no name": [(b"100644", b"", "blob")],
    "a git dir": [(b"40000", b".GIT ", "tree")],
    "nowhere": [(b"100644", b"n", "0" * 40)],
    "missing": [(b"100644", b"n", "12" * 20)],
}


@pytest.mark.parametrize("rows", ODD_TREES.values(), ids=ODD_TREES)
async def test_a_tree_that_git_would_not_write_is_reported_and_the_last_one_stays_in_force(
    clone: Clone, rows: list[tuple[bytes, bytes, str]]
) -> None:
    oids = {"blob": clone.head("HEAD:BACKLOG.md"), "tree": clone.head("HEAD^{tree}")}
    tree = raw_tree(
        clone,
        (b"100644", b"BACKLOG.md", oids["blob"]),
        *((mode, name, oids.get(oid, oid)) for mode, name, oid in rows),
    )
    await _is_refused_alive(clone, raw_commit(clone, tree))


async def test_a_tree_that_is_cut_off_is_reported_and_the_last_one_stays_in_force(clone: Clone) -> None:
    cut = clone.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=b"100644 abc")
    await _is_refused_alive(clone, raw_commit(clone, cut))


@pytest.mark.parametrize("folder", ["tasks", "src"])
async def test_a_missing_object_is_reported_and_the_last_one_stays_in_force(clone: Clone, folder: str) -> None:
    inside = raw_tree(clone, (b"100644", b"x.yaml", "12" * 20))
    tree = raw_tree(clone, (b"40000", folder.encode(), inside))
    await _is_refused_alive(clone, raw_commit(clone, tree))


async def _is_refused_alive(clone: Clone, commit: str) -> None:
    async with running(clone) as hub:
        observed = hub.observed
        clone.git("update-ref", "refs/heads/main", commit)
        await look(hub)
        assert hub.observed == observed
        assert open_tasks(hub).keys() == {"first thing"}
        assert said(hub)
    async with running(clone) as again:
        assert again.observed == observed
        assert open_tasks(again).keys() == {"first thing"}
        assert said(again)


ODD_HEADS = {
    "undefined": {"more": b"encoding undefined\n"},
    "idna": {"more": b"encoding idna\n"},
    "nul": {"more": b"encoding a\0b\n"},
    "no author": {"author": b""},
    "time": {"author": b"author A <a@x> --5 +0000\n"},
    "long time": {"author": b"author A <a@x> " + b"9" * 5000 + b" +0000\n"},
}


@pytest.mark.parametrize("head", ODD_HEADS.values(), ids=ODD_HEADS)
async def test_a_commit_with_an_odd_head_is_observed_like_any_other(clone: Clone, head: dict[str, bytes]) -> None:
    async with running(clone) as hub:
        odd = raw_commit(clone, clone.head("HEAD^{tree}"), **head)
        clone.git("update-ref", "refs/heads/main", odd)
        await look(hub)
        assert hub.observed == odd
    async with running(clone) as again:
        assert again.observed == odd


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"12" * 20 + b"\n"])
async def test_a_broken_source_ref_is_a_problem_until_it_is_whole_again(
    clone: Clone, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.sight.LOOK_AGAIN", 0.05)
    ref = clone.path / ".git/refs/heads/main"
    async with running(clone) as hub:
        whole = ref.read_bytes()
        ref.write_bytes(content)
        await look(hub)
        assert "cannot be read now" in said(hub)
        assert open_tasks(hub).keys() == {"first thing"}
    async with running(clone) as again:
        assert "cannot be read now" in said(again)
        sight, healed = again._sight, asyncio.Event()
        note = sight._note
        monkeypatch.setattr(sight, "_note", lambda *problems: (note(*problems), problems or healed.set()))
        ref.write_bytes(whole)
        await asyncio.wait_for(healed.wait(), SOON)
        assert not said(again)


async def test_what_was_wrong_with_the_source_is_not_said_any_more_once_it_is_right(clone: Clone) -> None:
    clone.commit({"tasks/bad.yaml": "titel: x\n"})
    async with running(clone) as hub:
        good, wrong_file = clone.head(), said(hub)
        assert wrong_file.startswith("tasks/bad.yaml:1:1")
        clone.commit({"Status/x": "1"})
        await look(hub)
        assert "only in case" in said(hub)
        assert wrong_file in said(hub)
        clone.git("update-ref", "refs/heads/main", good)
        await look(hub)
        assert said(hub) == wrong_file
        clone.git("update-ref", "-d", "refs/heads/main")
        await look(hub)
        assert "does not exist" in said(hub)
        clone.git("update-ref", "refs/heads/main", good)
        await look(hub)
        assert said(hub) == wrong_file


ROOTED = {".agentcom/BACKLOG.md": FIRST, "agentcom.yaml": "root: .agentcom\n"}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("rooot: .agentcom\n", "agentcom.yaml:1:1: rooot: unknown key"),
        ("root: .agentcom\ntimeouts: {accept: 60}\n", "agentcom.yaml:2:20: timeouts.accept"),
        ("root: elsewhere\n", "root: is elsewhere, but this hub keeps its files in .agentcom"),
        (None, "root: is missing, but this hub keeps its files in .agentcom"),
    ],
)
async def test_no_edit_of_agentcom_yaml_moves_a_hub_that_has_run(tmp_path: Path, edit: str | None, told: str) -> None:
    clone = make_repo(tmp_path / "repo", ROOTED)
    async with running(clone) as hub:
        name = open_tasks(hub)["first thing"].id
        clone.commit({"agentcom.yaml": edit})
        await look(hub)
        assert told in said(hub)
    async with running(clone) as again:
        assert again.claim.epoch == 2
        assert open_tasks(again)["first thing"].id == name
        assert told in said(again)


async def test_a_root_that_is_named_later_deletes_nothing_at_the_top(clone: Clone) -> None:
    async with running(clone) as hub:
        clone.commit({"agentcom.yaml": "root: foo\n"})
        await look(hub)
        before = clone.tree("agentcom/state")
    async with running(clone) as again:
        clone.commit({"z": "1"})
        await look(again)
        assert again.claim.epoch == 2
        assert before.keys() - clone.tree("agentcom/state").keys() == set()


@pytest.mark.parametrize("text", ["rooot: .agentcom\n", "root: .GIT\n", "root: a/.Git/b\n", "root: a  b\n"])
async def test_a_first_hub_does_not_start_on_an_agentcom_yaml_that_may_have_meant_another_root(
    clone: Clone, text: str
) -> None:
    clone.commit({"agentcom.yaml": text})
    with pytest.raises(CannotStart, match=r"agentcom.yaml:1:") as refused:
        async with running(clone):
            pass
    assert refused.value.exit_code == 65


async def test_an_agentcom_yaml_that_is_wrong_elsewhere_stops_no_first_hub(clone: Clone) -> None:
    clone.commit({"agentcom.yaml": "timeouts: {attempt: long}\n"})
    async with running(clone) as hub:
        assert "first thing" in open_tasks(hub)
        assert "agentcom.yaml:1:21: timeouts.attempt" in said(hub)


@pytest.mark.parametrize("anchor", ["", " <!-- t-one -->"])
async def test_a_line_that_is_taken_out_and_put_back_is_its_running_task_again(clone: Clone, anchor: str) -> None:
    clone.commit({"BACKLOG.md": READY + f"- [ ] first thing{anchor}\n", "agents/a.yaml": "tokens: []\n"})
    async with running(clone) as hub:
        features = frozenset({"release", "updates", "progress"})
        await hub.settle(Connected("a", Session("s", (), features, frozenset())))
        name = open_tasks(hub)["first thing"].id
        await hub.settle(Said("a", "s", Accepted(name, 1)))
        clone.commit({"BACKLOG.md": READY})
        await look(hub)
        assert hub.core.memory.tasks[name].status.orphaned
        clone.git("revert", "--no-edit", "HEAD")
        await look(hub)
        (task,) = open_tasks(hub).values()
        assert (task.id, task.state, task.status.orphaned) == (name, State.WORKING, False)
    log = clone.git("log", "--format=%(trailers:key=Agentcom-Event,valueonly,separator=%x2C)", "-3", "agentcom/state")
    assert "put_back" in log.splitlines()


async def test_a_crash_before_the_first_observation_loses_no_accepted_version(clone: Clone) -> None:
    clone.commit({"agents/a.yaml": "capabilities: [x]\ntokens: []\n"})
    crashed = make_hub(survey(clone.path))
    fold = await asyncio.to_thread(crashed._store.load)
    await crashed._claim(fold, anew="")
    crashed.close()
    async with running(clone):
        pass
    async with running(clone) as hub:
        clone.commit({"agents/a.yaml": "nonsense: [\n"})
        await look(hub)
    async with running(clone) as again:
        assert again.core.memory.agents["a"].spec.capabilities == ("x",)


async def test_a_restart_in_a_sha256_repository_changes_no_task(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "repo", {"BACKLOG.md": FIRST + "- [ ] second\n"}, "--object-format=sha256")
    async with running(clone) as hub:
        clone.commit({"BACKLOG.md": FIRST + "- [ ] second kind:bad\n"})
        await look(hub)
        known = dict(hub.core.memory.tasks)
        before = clone.git("rev-list", "--count", "--first-parent", "agentcom/state")
    async with running(clone) as again:
        assert again.core.memory.tasks == known
        after = clone.git("rev-list", "--count", "--first-parent", "agentcom/state")
        assert int(after) == int(before) + 1, "the claim alone"


async def test_a_persons_edit_of_a_hub_file_is_ignored_and_a_line_says_where_to_edit_instead(clone: Clone) -> None:
    async with running(clone) as hub:
        name = open_tasks(hub)["first thing"].id
        clone.git("merge", "--quiet", "--ff-only", "agentcom/state")
        await look(hub)
        assert hub.problems == ()
        clone.commit({f"status/open/{name}.yaml": "status: done\n", "tasks/backlog/t-mine.yaml": "title: mine\n"})
        await look(hub)
        assert said(hub).splitlines() == [
            f"status/open/{name}.yaml: belongs to the hub: this edit is ignored, "
            f"say what you want in tasks/{name}.yaml (agentcom task --help)",
            "tasks/backlog/t-mine.yaml: belongs to the hub: this edit is ignored, "
            "edit the line in BACKLOG.md, or write tasks/t-mine.yaml",
        ]
        assert open_tasks(hub)["first thing"].open
        clone.commit({"tasks/t-new.yaml": "title: new\n", f"status/open/{name}.yaml": None})
        await look(hub)
        clone.git("rm", "-q", "-r", "tasks/backlog")
        clone.commit()
        await look(hub)
        assert hub.problems == ()


async def test_what_a_hub_wrote_once_is_no_edit_of_a_person(clone: Clone) -> None:
    async with running(clone) as hub:
        clone.git("merge", "--quiet", "--ff-only", "agentcom/state")
        for number in range(3):
            clone.commit({"BACKLOG.md": READY + f"- [ ] first thing, {number} times\n"})
            await look(hub)
        assert hub.problems == ()


async def test_what_housekeeping_cannot_do_is_a_problem_line_until_it_can(clone: Clone) -> None:
    async with running(clone) as hub:
        ground, now = survey(clone.path), [0.0]
        keeper = Housekeeping(ground.repo, lambda: hub.tip, lambda: 0, clock=lambda: now[0])
        view = HubView(hub, ground, 0, Lookout(SavedWork(ground).uncommitted), keeper)
        in_the_way = ground.repo.agentcom_dir / "housekeeping.lock"
        in_the_way.mkdir()
        now[0] = 60.0
        keeper.beat()
        (problem,) = view.summary()["problems"]
        assert problem["path"] == "housekeeping"
        assert problem["what"].startswith("commit-graph failed: ")
        assert "housekeeping.lock" in problem["what"]
        in_the_way.rmdir()
        now[0] = 1e6
        keeper.beat()
        assert view.summary()["problems"] == []
