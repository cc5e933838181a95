"""``agentcom pull`` brings the trail into a person's branch, or changes nothing and says in one line what to do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo
from support.statebranch import HUB, hub_writes

from coordinator.cli.common import one_line
from coordinator.git.journal import GitStore
from coordinator.git.pull import MESSAGE_WITHIN_S, CannotPull, NotObserved, Pulled, open_message, pull, pull_quietly
from coordinator.git.repo import find_repo
from coordinator.ports import Commit

MAIN = "refs/heads/main"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "a.txt": "a\n", "tasks/README.md": "words\n"})


def refuses(clone: Clone, match: str, kind: type[CannotPull] = CannotPull) -> None:
    before, head = clone.snapshot(), clone.git("rev-parse", "HEAD", check=False)
    with pytest.raises(kind, match=match) as raised:
        pull(clone.repo, MAIN)
    assert "\n" not in one_line(str(raised.value))
    assert (clone.snapshot(), clone.git("rev-parse", "HEAD", check=False)) == (before, head)


def test_the_branch_is_the_state_branch_afterwards_and_the_folders_are_there(clone: Clone) -> None:
    before = clone.head()
    state = hub_writes(clone, "status/open/t-1.yaml", "tasks/backlog/t-1.yaml")
    pulled = pull(clone.repo, MAIN)
    assert pulled == Pulled(before, state, 3)
    assert (clone.head("main"), clone.git("symbolic-ref", "HEAD")) == (state, MAIN)
    assert (clone.path / "status/open/t-1.yaml").read_text() == "status: done\n"
    assert (clone.path / "tasks/backlog/t-1.yaml").exists()
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("log", "-1", "--format=%s") == "write tasks/backlog/t-1.yaml"


def test_a_second_pull_has_nothing_to_do(clone: Clone) -> None:
    state = hub_writes(clone)
    pull(clone.repo, MAIN)
    before = clone.snapshot()
    assert pull(clone.repo, MAIN) == Pulled(state, state)
    assert clone.snapshot() == before


def test_edits_that_are_not_in_the_way_stay_saved_and_staged_alike(clone: Clone) -> None:
    hub_writes(clone)
    clone.write({"BACKLOG.md": "- [ ] mine\n", "a.txt": "staged\n", "new.txt": "new\n"})
    clone.git("add", "a.txt")
    before = clone.git("status", "--porcelain")
    pull(clone.repo, MAIN)
    assert clone.git("status", "--porcelain") == before
    assert (clone.path / "BACKLOG.md").read_text() == "- [ ] mine\n"


OWN_SETTINGS = {
    "branch.main.mergeOptions": "--no-ff --squash",
    "merge.ff": "false",
    "merge.autoStash": "true",
    "merge.verifySignatures": "true",
    "merge.log": "true",
    "commit.gpgSign": "true",
}


@pytest.mark.parametrize("key", sorted(OWN_SETTINGS))
def test_settings_for_merges_change_nothing(clone: Clone, key: str) -> None:
    state = hub_writes(clone)
    clone.git("config", key, OWN_SETTINGS[key])
    assert pull(clone.repo, MAIN).after == state == clone.head("main")
    assert clone.git("status", "--porcelain") == ""


def test_a_branch_of_any_name_and_a_linked_work_tree_will_do(clone: Clone, tmp_path: Path) -> None:
    clone.git("branch", "-m", "main", "plan/2026.x")
    state = clone.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "x")
    clone.git("branch", "agentcom/state", state)
    clone.git("switch", "--quiet", "--detach")
    clone.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "plan/2026.x")
    assert pull(find_repo(tmp_path / "linked"), "refs/heads/plan/2026.x").after == state


# --- refusals -------------------------------------------------------------------------------------------------------


def _commits_after(clone: Clone) -> None:
    clone.commit({"a.txt": "b\n"})


def _commits_on_top_of_a_pull(clone: Clone) -> None:
    pull(clone.repo, MAIN)
    clone.commit({"a.txt": "b\n"})


@pytest.mark.parametrize("prepare", [_commits_after, _commits_on_top_of_a_pull])
def test_a_commit_that_the_hub_has_not_observed_is_waited_for(clone: Clone, prepare: Callable[[Clone], None]) -> None:
    hub_writes(clone)
    prepare(clone)
    refuses(clone, f"the hub has not observed {clone.head()[:7]} yet", NotObserved)
    state = hub_writes(clone)
    assert pull(clone.repo, MAIN).after == state


def test_without_a_state_branch_there_is_nothing_to_pull_from(clone: Clone) -> None:
    refuses(clone, "no agentcom/state yet: start a hub")


def test_before_the_first_commit_there_is_nothing_to_go_on_from(clone: Clone) -> None:
    hub_writes(clone)
    clone.git("update-ref", "-d", MAIN)
    refuses(clone, "has not observed any commit yet", NotObserved)


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotPull, match="has no work tree: run this in a clone of it"):
        pull(find_repo(make_bare(tmp_path / "bare.git")), MAIN)


def test_another_branch_is_refused_with_the_way_back(clone: Clone) -> None:
    hub_writes(clone)
    clone.git("switch", "--quiet", "-c", "topic")
    refuses(clone, "topic is checked out, but AgentCom reads main: run `git switch main`")
    clone.git("switch", "--quiet", "agentcom/state")
    refuses(clone, "agentcom/state is checked out, but AgentCom reads main")
    clone.git("switch", "--quiet", "--detach", "main")
    refuses(clone, "no branch is checked out, but AgentCom reads main")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("MERGE_HEAD", "a merge"),
        ("CHERRY_PICK_HEAD", "a cherry-pick"),
        ("REVERT_HEAD", "a revert"),
        ("BISECT_LOG", "a bisect"),
        ("sequencer", "a cherry-pick or revert"),
        ("rebase-merge", "a rebase"),
        ("rebase-apply", "a rebase"),
        ("index.lock", "another git command"),
    ],
)
def test_whatever_is_under_way_is_let_to_its_end(clone: Clone, name: str, what: str) -> None:
    hub_writes(clone)
    (clone.path / ".git" / name).touch()
    refuses(clone, f"{what} is under way .*{name} exists.*: finish or abort it, then try again")


def test_a_rebase_that_stopped_is_named_as_such_and_not_as_a_missing_branch(clone: Clone) -> None:
    clone.commit({"a.txt": "b\n"})
    hub_writes(clone)
    clone.git("-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~1")
    refuses(clone, "a rebase is under way")


def test_a_branch_with_an_upstream_is_refused_and_the_trail_is_named(clone: Clone, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "origin.git")
    clone.git("remote", "add", "origin", str(bare))
    hub_writes(clone)
    assert pull(clone.repo, MAIN).commits == 1, "a remote alone is no upstream"
    clone.git("push", "--quiet", "-u", "origin", "main")
    hub_writes(clone, "status/open/t-1.yaml", observes=False)
    refuses(clone, "main follows a branch of origin, .*: the trail is `git log agentcom/state`")
    clone.git("push", "--quiet", "origin", "agentcom/state")
    refuses(clone, "the trail is `git log origin/agentcom/state`")


def test_a_branch_that_follows_a_local_one_may_pull(clone: Clone) -> None:
    hub_writes(clone)
    clone.git("branch", "--quiet", "--set-upstream-to=agentcom/state", "main")
    assert pull(clone.repo, MAIN).commits == 1


def test_a_hub_with_a_remote_is_refused_and_the_trail_is_named(clone: Clone) -> None:
    with pytest.raises(CannotPull, match=r"the hub works with a remote: the trail is `git log origin/agentcom/state`"):
        pull(clone.repo, "refs/remotes/origin/main")


def test_a_tag_of_the_same_name_is_not_taken_for_the_branch(clone: Clone) -> None:
    hub_writes(clone)
    clone.git("tag", "agentcom/state", "main")
    refuses(clone, "a tag is named agentcom/state")


def _edits_a_file(clone: Clone) -> None:
    pull(clone.repo, MAIN)
    clone.write({"status/hub.yaml": "mine\n"})
    store = GitStore(clone.repo)
    store.load()
    store.flush((Commit("w\n\nAgentcom-Epoch: 1/h-00000000", HUB, 1, {"status/hub.yaml": b"epoch: 2\n"}),))


def _has_an_untracked_one(clone: Clone) -> None:
    clone.write({"status/hub.yaml": "mine\n"})


def _has_an_ignored_one(clone: Clone) -> None:
    (clone.path / ".git/info/exclude").write_text("status/\n")
    clone.write({"status/hub.yaml": "mine\n"})


@pytest.mark.parametrize("prepare", [_edits_a_file, _has_an_untracked_one, _has_an_ignored_one])
def test_files_that_would_be_overwritten_are_kept_and_named(clone: Clone, prepare: Callable[[Clone], None]) -> None:
    hub_writes(clone)
    prepare(clone)
    refuses(clone, r"nothing was pulled; git says: (?s:.*)overwritten by merge(?s:.*)status/hub\.yaml")
    assert (clone.path / "status/hub.yaml").read_text() == "mine\n"


def test_a_hook_of_the_persons_runs_as_theirs(clone: Clone) -> None:
    hub_writes(clone)
    hook = clone.path / ".git/hooks/post-merge"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    pull(clone.repo, MAIN)
    assert (clone.path / "hooked").exists()


# --- quietly --------------------------------------------------------------------------------------------------------


def message(clone: Clone, age: float) -> None:
    path = clone.path / ".git/COMMIT_EDITMSG"
    path.write_text("being written\n")
    when = time.time() - age
    os.utime(path, (when, when))


def set_reflog(clone: Clone, age: float) -> None:
    when = time.time() - age
    os.utime(clone.path / ".git/logs/HEAD", (when, when))


def test_quietly_it_pulls_when_nothing_is_in_the_way(clone: Clone) -> None:
    state = hub_writes(clone)
    assert pull_quietly(clone.repo, MAIN) == Pulled(clone.head("main^"), state, 1)


def test_quietly_it_gives_the_reason_instead_of_failing(clone: Clone) -> None:
    assert "start a hub" in str(pull_quietly(clone.repo, MAIN))
    repo = clone.repo
    (clone.path / ".git/HEAD").unlink()
    assert "HEAD" in str(pull_quietly(repo, MAIN))


@pytest.mark.parametrize(
    ("written", "committed", "held"),
    [
        (5, 60, True),
        (60, 5, False),
        (MESSAGE_WITHIN_S + 60, MESSAGE_WITHIN_S + 600, False),
        (-3600, 60, False),
    ],
    ids=["in the editor", "committed since", "left lying there", "from the future"],
)
def test_quietly_it_keeps_off_while_a_commit_message_is_written(
    clone: Clone, written: float, committed: float, held: bool
) -> None:
    state = hub_writes(clone)
    message(clone, written)
    set_reflog(clone, committed)
    answer = pull_quietly(clone.repo, MAIN)
    assert answer == "a commit message is being written" if held else isinstance(answer, Pulled)
    assert (clone.head("main") == state) is not held


def test_a_message_that_is_known_not_to_be_in_an_editor_holds_nothing_off(clone: Clone) -> None:
    state = hub_writes(clone)
    message(clone, 5)
    set_reflog(clone, 60)
    pulled = pull_quietly(clone.repo, MAIN, but_message=open_message(clone.repo))
    assert isinstance(pulled, Pulled)
    assert clone.head("main") == state


def test_quietly_it_keeps_off_without_a_reflog_too_but_who_asks_may_pull(clone: Clone) -> None:
    state = hub_writes(clone)
    message(clone, 5)
    (clone.path / ".git/logs/HEAD").unlink()
    assert pull_quietly(clone.repo, MAIN) == "a commit message is being written"
    assert pull(clone.repo, MAIN).after == state


def test_a_commit_in_an_editor_is_really_seen_that_way(clone: Clone, tmp_path: Path) -> None:
    """The editor asks: while git waits for it, the message is newer than the last entry of the log."""
    hub_writes(clone)
    set_reflog(clone, 60)
    clone.write({"a.txt": "b\n"})
    probe = tmp_path / "editor"
    said = tmp_path / "said"
    probe.write_text(
        f'#!/bin/sh\n[ .git/COMMIT_EDITMSG -nt .git/logs/HEAD ] && echo yes > "{said}"\necho done > "$1"\n'
    )
    probe.chmod(0o755)
    clone.git("-c", f"core.editor={probe}", "commit", "--quiet", "a.txt")
    assert said.read_text() == "yes\n"
    set_reflog(clone, 0)
    assert pull_quietly(clone.repo, MAIN) == f"the hub has not observed {clone.head()[:7]} yet"
