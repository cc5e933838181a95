"""The watch over a real work tree: a clock of the test's own, real git, and what it says on a screen."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo
from support.state import let_a_hub_look
from support.statebranch import hub_writes

from coordinator import watch as module
from coordinator.git.run import GitError
from coordinator.ground import survey
from coordinator.watch import AlreadyWatched, Block, Watch, WatchLock
from coordinator.watching import LOOK_EVERY_S

pytestmark = pytest.mark.slow

BACKLOG = "# Backlog\n\n## Ready\n\n- [ ] Write the guide\n- [ ] Port the parser\n"
SETTLE = 10.0
#: Long enough for everything that is still to come.
LONG = SETTLE + 8


@dataclass
class Heard:
    """A screen that remembers: lines as they are, blocks, and the countdowns that began."""

    lines: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    counts: list[tuple[str, ...]] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def show(self, block: Block) -> None:
        self.blocks.append(block)

    def count(self, left: int, paths: tuple[str, ...], *, first: bool) -> None:
        if first:
            self.counts.append(paths)

    def stop_count(self) -> None: ...


class Watched:
    """A work tree with a watch over it, in whose eyes time passes only when the test says so."""

    def __init__(self, clone: Clone, *, settle: float | None = SETTLE, push: bool = False) -> None:
        self.clone = clone
        self.now = 1000.0
        self.heard = Heard()
        self.watch = Watch(survey(clone.path), clone.path, self.heard, settle=settle, push=push, clock=self.clock)
        self.watch.step()
        self.begun = clone.git("rev-parse", "--verify", "--quiet", "HEAD", check=False)

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass, looking as often as it wants to."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + self.watch.step())
        self.watch.step()

    def save(self, **files: str | bytes | None) -> None:
        """Save files (``BACKLOG``, ``t_NAME`` for tasks) and let the watch show them."""
        names = {"BACKLOG": "BACKLOG.md", "POLICY": "agentcom.yaml"}
        self.clone.write({names.get(name) or f"tasks/{name}.yaml": text for name, text in files.items()})
        self.wait(2)

    def subjects(self) -> list[str]:
        """Return what was committed since the watch began, newest first."""
        return self.clone.git("log", "--format=%s", "HEAD", *([f"^{self.begun}"] if self.begun else [])).splitlines()


@pytest.fixture(autouse=True)
def no_machine_git_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": BACKLOG, "a.txt": "a\n"})


@pytest.fixture
def watched(clone: Clone) -> Watched:
    """A watch that commits, over a repository that a hub has observed and whose trail was pulled."""
    let_a_hub_look(clone)
    clone.git("merge", "--quiet", "--ff-only", "agentcom/state")
    return Watched(clone)


def ids(planned) -> list[str]:
    return [one.title for one in planned]


# --- showing ---------------------------------------------------------------------------------------------------------


def test_each_save_shows_what_it_would_do_and_nothing_else(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.save(BACKLOG=BACKLOG.replace("guide", "guide !high") + "- [ ] Mend the roof\n", t1="title: x\n")
    first, second = watched.heard.blocks
    assert first.saved == ("BACKLOG.md: 1 new item is saved but not committed",)
    assert ids(first.plan.created) == ["Mend the roof"]
    assert second.saved == (
        "BACKLOG.md: 1 new item, 1 changed: saved but not committed",
        "tasks/t1.yaml: new, saved but not committed",
    )
    assert (ids(second.plan.created), ids(second.plan.changed)) == (["Mend the roof", "x"], ["Write the guide"])


def test_what_is_committed_and_not_observed_yet_is_no_news(clone: Clone) -> None:
    watched = Watched(clone)
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n\n## Notes\n\n- words\n")
    (block,) = watched.heard.blocks
    assert (ids(block.plan.created), ids(block.plan.ignored)) == (["Mend the roof"], ["words"])


def test_without_commit_the_command_to_copy_is_shown_and_nothing_committed(clone: Clone) -> None:
    watched = Watched(clone, settle=None)
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.wait(LONG)
    assert "git commit BACKLOG.md" in watched.heard.blocks[0].notes[0]
    assert (watched.subjects(), watched.heard.counts) == ([], [])


def test_a_mistake_is_shown_with_its_place(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG.replace("guide", "guide due:tomorrow"))
    (problem,) = watched.heard.blocks[0].plan.problems
    assert (problem.path, problem.line, problem.column) == ("BACKLOG.md", 5, 23)


SAVES: dict[str, Callable[[Path, bytes], object]] = {
    "in place": lambda path, data: path.write_bytes(data),
    "by rename": lambda path, data: (path.with_name(".x~").write_bytes(data), path.with_name(".x~").replace(path)),
    "deleted first": lambda path, data: (path.unlink(), path.write_bytes(data)),
}


@pytest.mark.parametrize("how", list(SAVES))
def test_it_sees_a_save_however_an_editor_makes_it(watched: Watched, how: str) -> None:
    (watched.clone.path / ".BACKLOG.md.swp").write_bytes(b"\0")
    SAVES[how](watched.clone.path / "BACKLOG.md", BACKLOG.encode() + b"- [ ] Mend the roof\n")
    watched.wait(2)
    assert [ids(block.plan.created) for block in watched.heard.blocks] == [["Mend the roof"]]


def test_a_file_that_is_empty_for_a_moment_is_not_taken_for_a_save(watched: Watched) -> None:
    (watched.clone.path / "BACKLOG.md").write_bytes(b"")
    watched.wait(0.2)
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    assert [ids(block.plan.cancelled) for block in watched.heard.blocks] == [[]]


def test_folders_may_go_and_come_back(watched: Watched) -> None:
    watched.save(t1="title: x\n")
    shutil.rmtree(watched.clone.path / "tasks")
    watched.wait(2)
    watched.save(t1="title: y\n")
    assert [ids(block.plan.created) for block in watched.heard.blocks] == [["x"], ["y"]]


def test_below_a_root_only_what_lies_there_counts(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"agentcom.yaml": "root: plan\n", "plan/BACKLOG.md": BACKLOG})
    watched = Watched(clone)
    clone.write({"BACKLOG.md": BACKLOG, "plan/BACKLOG.md": BACKLOG + "- new\n", "plan/tasks/t-1.yaml": "titel: x\n"})
    watched.wait(SETTLE + 2)
    assert watched.subjects()[0] == "Backlog: 1 new"
    assert clone.git("status", "--porcelain") == "?? BACKLOG.md\n?? plan/tasks/"


# --- committing ------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_committed_after_a_while_and_nothing_else(watched: Watched) -> None:
    clone = watched.clone
    clone.write({"a.txt": "mine\n", "staged.txt": "mine\n", "tasks/note.txt": "mine\n"})
    clone.git("add", "staged.txt")
    watched.save(BACKLOG=BACKLOG.replace("guide", "guide !high") + "- one\n- two\n", t1="title: x\n")
    watched.wait(SETTLE - 3)
    assert watched.subjects() == []
    watched.wait(3)
    assert watched.subjects()[0] == "Backlog: 2 new, 1 changed; Task t1: new"
    assert clone.git("show", "--format=%an", "--name-only") == "Ada Lovelace\n\nBACKLOG.md\ntasks/t1.yaml"
    assert clone.git("status", "--porcelain") == " M a.txt\nA  staged.txt\n?? tasks/note.txt"
    assert watched.heard.counts == [("BACKLOG.md", "tasks/t1.yaml")]
    watched.wait(LONG)
    assert [line.partition(":")[0] for line in watched.heard.lines] == [f"committed {clone.head()[:7]}"]


def test_a_deleted_file_is_committed_as_deleted(watched: Watched) -> None:
    watched.save(t1="title: x\n")
    watched.wait(SETTLE)
    watched.save(t1=None)
    watched.wait(SETTLE)
    assert watched.subjects()[:2] == ["Task t1: removed", "Task t1: new"]


def test_a_wrong_file_waits_and_keeps_nobody_else_waiting(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n", t1="titel: x\n")
    assert watched.heard.blocks[0].notes == ("tasks/t1.yaml is not committed until it is mended",)
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Backlog: 1 new"
    watched.wait(LONG)
    assert len(watched.heard.blocks) == 1
    watched.save(t1="title: x\n")
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Task t1: new"


def test_a_backlog_with_one_wrong_line_waits_as_a_whole_also_for_a_secret(watched: Watched) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    watched.save(BACKLOG=BACKLOG + f"- [ ] Fine\n- [ ] Use {token}\n")
    watched.wait(LONG)
    assert watched.subjects() == []
    assert watched.heard.blocks[0].notes == ("BACKLOG.md is not committed until it is mended",)
    assert token not in str(watched.heard)


def test_a_line_in_other_words_is_told_and_committed_all_the_same(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG.replace("Port the parser", "Rewrite it all from scratch"))
    assert "in other words" in watched.heard.blocks[0].plan.problems[0].what
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Backlog: 1 changed"


def test_what_the_hub_would_hold_is_left_for_the_person_to_commit(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "".join(f"- [ ] thing {n}\n" for n in range(30)))
    watched.wait(LONG)
    assert watched.subjects() == []
    (note,) = watched.heard.blocks[0].notes
    assert note.startswith("30 of these would be held until somebody has looked, so nothing is committed for you: ")
    assert "`git commit BACKLOG.md`" in note
    assert len(watched.heard.blocks) == 1
    watched.clone.commit(message="I mean it")
    watched.wait(2)
    assert watched.heard.lines == ["everything saved is committed"]


def test_a_mass_removal_is_left_for_the_person_too(clone: Clone) -> None:
    many = BACKLOG + "".join(f"- [ ] thing {n}\n" for n in range(10))
    clone.commit({"BACKLOG.md": many})
    let_a_hub_look(clone)
    watched = Watched(clone)
    watched.save(BACKLOG=BACKLOG)
    watched.wait(LONG)
    assert "10 of these would be held" in watched.heard.blocks[0].notes[0]
    assert "Backlog: 10 removed" not in watched.subjects()


def test_a_file_that_is_staged_otherwise_is_never_committed_over(watched: Watched) -> None:
    watched.clone.write({"BACKLOG.md": BACKLOG + "- [ ] staged\n"})
    watched.clone.git("add", "BACKLOG.md")
    watched.save(BACKLOG=BACKLOG + "- [ ] staged\n- [ ] and more\n")
    watched.wait(LONG)
    assert watched.subjects() == []
    (line,) = watched.heard.lines
    assert line.startswith("BACKLOG.md is staged with another content than what is saved: ")


def test_another_branch_is_named_once_and_nothing_is_committed_there(watched: Watched) -> None:
    watched.clone.git("switch", "--quiet", "-c", "feature")
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.wait(LONG)
    assert watched.heard.lines == [
        "feature is checked out, but AgentCom reads main: nothing is planned or committed until `git switch main`"
    ]
    assert watched.heard.blocks == []
    watched.clone.git("switch", "--quiet", "main")
    watched.wait(SETTLE + 2)
    assert watched.subjects()[0] == "Backlog: 1 new"


def test_a_merge_under_way_is_waited_for(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    marker = watched.clone.path / ".git/MERGE_HEAD"
    marker.write_text(watched.clone.head() + "\n")
    watched.wait(LONG)
    assert watched.heard.lines == ["a merge is under way: nothing is planned or committed until it is over"]
    assert watched.subjects() == []


def test_a_lock_that_stays_is_named_and_waited_for(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    lock = watched.clone.path / ".git/index.lock"
    lock.touch()
    watched.wait(LONG)
    (line,) = watched.heard.lines
    assert line.startswith("another git command is under way")
    lock.unlink()
    watched.wait(SETTLE + 1)
    assert watched.subjects()[0] == "Backlog: 1 new"


def _write_message(clone: Clone) -> None:
    """Begin a commit in an editor: its message is newer than the last commit."""
    reflog = clone.path / ".git/logs/HEAD"
    message = clone.path / ".git/COMMIT_EDITMSG"
    message.write_text("words\n")
    os.utime(reflog, (message.stat().st_mtime - 60,) * 2)


def test_a_commit_message_in_an_editor_is_waited_for(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    _write_message(watched.clone)
    watched.wait(LONG)
    (line,) = watched.heard.lines
    assert line.startswith("a commit message is being written")
    assert watched.subjects() == []


def _hook(clone: Clone, name: str, text: str) -> Path:
    hook = clone.path / ".git/hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n" + text)
    hook.chmod(0o755)
    return hook


def test_a_hook_that_refuses_is_quoted_and_asked_again_at_the_next_save(watched: Watched) -> None:
    hook = _hook(watched.clone, "commit-msg", "echo no such subject >&2; exit 1\n")
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.wait(LONG)
    assert watched.heard.lines == [
        "the commit was refused and nothing was changed; git says: no such subject; it is tried again at the next save"
    ]
    hook.unlink()
    os.utime(watched.clone.path / ".git/logs/HEAD", (1, 1))
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roofs\n")
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Backlog: 1 new"


def test_whoever_git_does_not_know_is_told_once_and_committed_for_once_it_does(watched: Watched) -> None:
    watched.clone.git("config", "--unset", "user.email")
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.wait(LONG)
    (line,) = watched.heard.lines
    assert line.startswith("not committed: git does not know who you are")
    watched.clone.git("config", "user.email", "ada@example.org")
    watched.wait(15)
    assert watched.subjects()[0] == "Backlog: 1 new"


def test_a_save_in_the_last_moment_begins_the_countdown_anew(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    really = watched.watch._commit

    def saved_meanwhile(edits):
        watched.clone.write({"BACKLOG.md": BACKLOG + "- [ ] Mend the ro"})
        monkeypatch.undo()
        return really(edits)

    monkeypatch.setattr(watched.watch, "_commit", saved_meanwhile)
    watched.wait(SETTLE)
    assert watched.subjects() == []
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Backlog: 1 new"


def test_a_first_commit_can_be_its_own(tmp_path: Path) -> None:
    watched = Watched(make_repo(tmp_path / "r"))
    watched.save(BACKLOG=BACKLOG)
    watched.wait(SETTLE)
    assert watched.subjects() == ["Backlog: 2 new"]


# --- pushing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pushed(clone: Clone, tmp_path: Path) -> Clone:
    clone.git("remote", "add", "origin", str(make_bare(tmp_path / "origin.git")))
    clone.git("push", "--quiet", "-u", "origin", "main")
    return clone


def test_each_commit_is_pushed_and_what_was_refused_goes_with_the_next(pushed: Clone, tmp_path: Path) -> None:
    watched = Watched(pushed, push=True)
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho closed today >&2\nexit 1\n")
    hook.chmod(0o755)
    watched.save(BACKLOG=BACKLOG + "- [ ] one\n")
    watched.wait(LONG)
    assert "main was not pushed, the commit stays; git says: " in watched.heard.lines[1]
    assert "closed today" in watched.heard.lines[1]
    hook.unlink()
    watched.save(BACKLOG=BACKLOG + "- [ ] one\n- [ ] two\n")
    watched.wait(SETTLE)
    assert watched.heard.lines[-1] == "pushed main"
    assert pushed.git("ls-remote", "origin", "refs/heads/main").split()[0] == pushed.head()


# --- pulling ---------------------------------------------------------------------------------------------------------


def test_the_trail_is_pulled_and_told_in_one_line(clone: Clone) -> None:
    watched = Watched(clone)
    let_a_hub_look(clone)
    state = clone.head("agentcom/state")
    watched.wait(5)
    assert clone.head("main") == state
    (line,) = watched.heard.lines
    assert re.fullmatch(r"pulled 4 commits: (t-\w{8}: created \(Ada Lovelace\): [\w ]+(; |$)){2}", line)
    assert list(clone.path.glob("status/open/*.yaml"))
    watched.wait(LONG)
    assert len(watched.heard.lines) == 1


def test_after_a_pull_of_many_the_last_tasks_are_named_and_the_others_counted(clone: Clone) -> None:
    clone.commit({"BACKLOG.md": BACKLOG + "- one\n- two\n"})
    watched = Watched(clone)
    let_a_hub_look(clone)
    watched.wait(5)
    (line,) = watched.heard.lines
    assert line.count("created") == 3
    assert line.endswith("; 1 more")


def test_edits_elsewhere_do_not_keep_a_pull_off_and_are_committed_on_top(clone: Clone) -> None:
    watched = Watched(clone)
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    state = hub_writes(clone, "status/open/t-1.yaml")
    watched.wait(5)
    assert clone.head("main") == state
    assert (clone.path / "BACKLOG.md").read_text().endswith("roof\n")
    watched.wait(SETTLE)
    assert watched.subjects()[0] == "Backlog: 1 new"
    assert clone.head("main^") == state


def test_an_edit_that_a_pull_would_touch_keeps_it_off(clone: Clone) -> None:
    watched = Watched(clone)
    head = clone.head()
    hub_writes(clone, "status/open/t-1.yaml")
    clone.write({"status/open/t-1.yaml": "mine\n"})
    watched.wait(30)
    assert clone.head("main") == head
    assert (clone.path / "status/open/t-1.yaml").read_text() == "mine\n"
    (line,) = watched.heard.lines
    assert line.startswith("nothing was pulled; git says: ")


def test_what_no_hub_has_observed_yet_is_waited_for_without_a_word(clone: Clone) -> None:
    watched = Watched(clone)
    hub_writes(clone)
    clone.commit({"BACKLOG.md": BACKLOG + "- one\n"})
    watched.wait(LONG)
    assert watched.heard.lines == []
    state = hub_writes(clone)
    watched.wait(10)
    assert clone.head("main") == state


def test_a_branch_with_an_upstream_is_not_pulled_and_where_the_trail_is_is_said_once(pushed: Clone) -> None:
    watched = Watched(pushed)
    head = pushed.head()
    for _ in range(3):
        hub_writes(pushed, "status/open/t-1.yaml")
        watched.wait(LONG)
    assert pushed.head("main") == head
    (line,) = watched.heard.lines
    assert line.endswith("the trail is `git log agentcom/state`")


# --- living on -------------------------------------------------------------------------------------------------------


def test_a_repository_that_cannot_be_read_is_said_once_and_looked_at_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise GitError(("ls-tree",), 128, "not now")

    monkeypatch.setattr(watched.watch._files, "look", broken)
    for _ in range(3):
        assert watched.watch.step() == LOOK_EVERY_S
    monkeypatch.undo()
    assert watched.heard.lines == ["the work tree cannot be read, trying again: git ls-tree: not now"]
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    assert len(watched.heard.blocks) == 1


def test_without_a_plan_nothing_is_committed_and_the_reason_is_shown(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise module.StoreError("agentcom/state is not a hub's")

    monkeypatch.setattr(module, "make_plan", broken)
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.wait(LONG)
    (block,) = watched.heard.blocks
    assert block.notes == ("there is no plan: agentcom/state is not a hub's",)
    assert watched.subjects() == []


def test_one_work_tree_is_watched_once_and_another_of_the_same_repository_too(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    other = Clone(tmp_path / "other")
    with (
        WatchLock(clone.repo),
        WatchLock(other.repo),
        pytest.raises(AlreadyWatched, match="use it, or stop it first"),
        WatchLock(clone.repo),
    ):
        pass
    with WatchLock(clone.repo):
        pass


def test_stopped_it_says_what_it_has_not_committed(watched: Watched) -> None:
    watched.save(BACKLOG=BACKLOG + "- [ ] Mend the roof\n")
    watched.watch.stop()
    watched.watch.run()
    assert watched.heard.lines == ["stopped before it was committed: BACKLOG.md"]
    assert watched.subjects() == []
