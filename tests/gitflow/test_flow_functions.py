"""Starting and submitting tasks with real git: a bare origin, a clone, a base that moves."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.gitplace import TASK, Place

from sidecar.gitflow import naming, remote
from sidecar.gitflow.starting import start
from sidecar.gitflow.submitting import submit
from sidecar.gitflow.values import FlowError, NotAllowed, Refused, Unreachable


def _codes(refused: pytest.ExceptionInfo[Refused]) -> list[str]:
    return [refusal.code for refusal in refused.value.refusals]


def test_a_task_starts_from_main_as_it_is_now_and_its_branch_holds_its_own_change_alone(place: Place) -> None:
    newest = place.main_moves(b_txt="two\n")
    work = place.start()
    assert work.head() == newest != place.clone.head("refs/heads/main")
    work.commit({"seven.txt": "7\n"}, "Write seven")
    newer = place.main_moves(a_txt="two\n")
    done = submit(work.path, rebase=True)
    assert done.branch == "loash/t-k3m9q2xa-write-the-number-7"
    assert done.title == "Write the number 7 (t-k3m9q2xa)"
    assert place.tip(done.branch) == done.commit
    assert work.git("diff", "--name-only", newer, done.commit) == "seven.txt"
    assert "loash/t-k3m9q2xa-write-the-number-7" in done.request


def test_a_base_that_moved_is_refused_without_rebase(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    place.main_moves(a_txt="two\n")
    with pytest.raises(Refused) as refused:
        submit(work.path)
    assert _codes(refused) == ["base_moved"]


def test_a_commit_filled_from_an_older_checkout_is_refused_and_names_the_file(place: Place) -> None:
    work = place.start()
    place.main_moves(a_txt="two\n")
    work.git("fetch", "--quiet", "origin")
    work.git("reset", "--quiet", "--soft", "origin/main")
    work.commit({"seven.txt": "7\n"})
    with pytest.raises(Refused, match=r"a\.txt") as refused:
        submit(work.path)
    assert _codes(refused) == ["silent_revert"]


def test_nothing_committed_and_files_lying_about_are_both_named(place: Place) -> None:
    work = place.start()
    work.write({"seven.txt": "7\n", "a.txt": "mine\n"})
    with pytest.raises(Refused, match=r"a\.txt.*seven\.txt") as refused:
        submit(work.path)
    assert _codes(refused) == ["dirty", "no_commits"]


def test_a_conflict_is_shown_and_leaves_everything_as_it_was(place: Place) -> None:
    work = place.start()
    mine = work.commit({"a.txt": "mine\n"})
    place.main_moves(a_txt="theirs\n")
    with pytest.raises(Refused, match=r"a\.txt") as refused:
        submit(work.path, rebase=True)
    assert _codes(refused) == ["conflict"]
    assert (work.head(), work.git("status", "--porcelain")) == (mine, "")


def test_starting_again_goes_on_with_unpushed_commits_and_edits(place: Place) -> None:
    work = place.start()
    mine = work.commit({"seven.txt": "7\n"})
    work.write({"note": "not committed\n"})
    place.main_moves(a_txt="two\n")
    again = start(TASK, place.clone.path, agent="loash")
    assert (again.resumed, again.path, again.commit) == (True, work.path, mine)
    assert (work.path / "note").exists()


def test_a_work_tree_deleted_by_hand_comes_back_with_its_commits(place: Place) -> None:
    work = place.start()
    mine = work.commit({"seven.txt": "7\n"})
    place.clone.git("worktree", "remove", str(work.path))
    assert place.start().head() == mine


def test_another_agent_goes_on_from_the_pushed_branch_on_one_of_its_own(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    first = submit(work.path)
    second = start(TASK, place.clone.path, agent="gcu")
    assert second.branch == "gcu/t-k3m9q2xa-write-the-number-7"
    assert (second.continued_from, second.commit) == (first.branch, first.commit)


def test_own_branch_is_replaced_after_a_rebase_and_foreign_commits_never_are(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    first = submit(work.path)
    place.main_moves(a_txt="two\n")
    done = submit(work.path, rebase=True)
    assert (done.forced, place.tip(done.branch)) == (True, done.commit)
    place.other.git("fetch", "--quiet", "origin")
    place.other.git("switch", "--quiet", "--detach", f"origin/{done.branch}")
    theirs = place.other.commit({"help.txt": "theirs\n"})
    place.other.git("push", "--quiet", "origin", f"HEAD:refs/heads/{done.branch}")
    work.commit({"eight.txt": "8\n"})
    with pytest.raises(Refused) as refused:
        submit(work.path)
    assert _codes(refused) == ["foreign_commits"]
    assert place.tip(first.branch) == theirs


@pytest.mark.parametrize("to", ["main", "gcu/t-x-other"])
def test_the_hook_refuses_pushes_to_anything_but_the_tasks_branch(place: Place, to: str) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    with pytest.raises(AssertionError, match="agentcom-git: "):
        work.git("push", "origin", f"HEAD:refs/heads/{to}")


def test_the_hook_refuses_a_stale_base_and_runs_the_repositorys_own_hook(place: Place) -> None:
    ran = place.clone.path / "ran"
    hook = place.clone.path / ".git/hooks/pre-push"
    hook.write_text(f"#!/bin/sh\ncat > '{ran}'\n")
    hook.chmod(0o755)
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    work.git("push", "--quiet", "origin", "HEAD")
    assert "refs/heads/loash/" in ran.read_text()
    place.main_moves(a_txt="two\n")
    work.commit({"eight.txt": "8\n"})
    with pytest.raises(AssertionError, match="main has moved on"):
        work.git("push", "origin", "HEAD")


def test_the_agent_commits_there_under_its_own_name_and_the_person_elsewhere_under_theirs(place: Place) -> None:
    work = place.start()
    place.clone.git("config", "user.name", "Ada Lovelace")
    place.clone.git("config", "user.email", "ada@example.org")
    work.commit({"seven.txt": "7\n"})
    place.clone.commit({"c.txt": "c\n"})
    assert work.git("log", "-1", "--format=%an <%ae>") == "loash <loash@agents.agentcom.invalid>"
    assert place.clone.git("log", "-1", "--format=%an") == "Ada Lovelace"


def test_without_its_remote_nothing_new_starts_and_nothing_is_made(place: Place) -> None:
    place.origin.rename(place.origin.with_name("away"))
    with pytest.raises((Unreachable, NotAllowed)):
        place.start()
    assert len(place.clone.git("worktree", "list").splitlines()) == 1


def _unborn(place: Place, *, for_s: float) -> Path:
    """Make a work tree as ``git worktree add`` has it for a moment: HEAD is all zeros, and no file is there."""
    path = place.origin.parent / "half made"
    place.clone.git("worktree", "add", "--quiet", "--no-checkout", "--detach", str(path))
    head = place.clone.path / ".git/worktrees/half-made/HEAD"
    head.write_text("0" * 40 + "\n")
    os.utime(head, times=(time.time() - for_s,) * 2)
    place.main_moves(a_txt="two\n")
    return head


def test_a_start_waits_for_the_moment_in_which_another_work_tree_is_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = _unborn(place, for_s=0)
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=lambda _: head.write_text("ref: refs/heads/main\n")))
    assert place.start().head() == place.tip("main")
    assert len(place.clone.git("worktree", "list").splitlines()) == 3


def test_a_work_tree_in_the_making_is_left_alone_and_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    head = _unborn(place, for_s=0)
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=lambda _: None))
    with pytest.raises(FlowError, match=r"main cannot be fetched, a work tree is being made: .*half-made"):
        place.start()
    assert head.exists()


def test_a_work_tree_whose_making_was_killed_stops_no_later_start(place: Place) -> None:
    _unborn(place, for_s=3600)
    assert place.start().head() == place.tip("main")
    assert len(place.clone.git("worktree", "list").splitlines()) == 2


def test_without_any_remote_the_branch_and_a_merge_line_are_the_result(place: Place) -> None:
    place.clone.git("remote", "remove", "origin")
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    done = submit(work.path)
    assert not done.pushed
    assert done.merge.endswith(f"merge --no-ff {done.branch}")


def test_what_is_remembered_is_json_beside_the_repository_and_nothing_is_left_in_the_work_tree(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"})
    submit(work.path)
    assert work.git("status", "--porcelain", "--ignored") == ""
    (record,) = (place.clone.path / ".git/agentcom/work").glob("*/*.json")
    assert json.loads(record.read_text())["task_id"] == TASK.id


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Write the number 7!", "write-the-number-7"),
        ("Почини кнопку входа", "pochini-knopku-vkhoda"),
        ("修复登录按钮", "xiu-fu-deng-lu-an-niu"),
        ("☕ machen für Größe", "coffee-machen-fur-grosse"),
        ("", "task"),
        ("\u200b...", "task"),
    ],
)
def test_a_slug_is_transliterated_and_never_empty(title: str, slug: str) -> None:
    assert naming.slug(title) == slug


def test_what_an_agent_did_inside_a_merge_is_not_dropped_when_the_base_moves_again(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"}, "Write seven")
    newer = place.main_moves(a_txt="two\n")
    work.git("fetch", "--quiet", "origin", "main")
    work.git("merge", "--quiet", "--no-commit", "--no-ff", newer)
    work.commit({"adapted.txt": "by hand, inside the merge\n"}, "Merge main, and adapt")
    place.main_moves(b_txt="three\n")

    done = submit(work.path, rebase=True)
    assert work.git("show", f"{done.commit}:adapted.txt") == "by hand, inside the merge"
    assert work.git("show", f"{done.commit}:b.txt") == "three"
    assert place.tip(done.branch) == done.commit


def test_a_merge_of_the_base_that_conflicts_leaves_everything_as_it_was(place: Place) -> None:
    work = place.start()
    work.commit({"seven.txt": "7\n"}, "Write seven")
    first = place.main_moves(a_txt="two\n")
    work.git("fetch", "--quiet", "origin", "main")
    work.git("merge", "--quiet", "--no-ff", "--no-edit", first)
    before = work.commit({"b.txt": "mine\n"}, "Change b")
    place.main_moves(b_txt="theirs\n")
    with pytest.raises(Refused) as refused:
        submit(work.path, rebase=True)
    assert _codes(refused) == ["conflict"]
    assert (work.head(), work.git("status", "--porcelain")) == (before, "")
