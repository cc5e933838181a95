"""The command agentcom-git as an agent calls it: a process in a folder, words or one JSON line, and an exit code."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.gitplace import BRANCH, TASK, TASK_JSON, Ended, Place, command
from support.repo import Clone, git_env, make_bare

from sidecar.gitflow import command as commands
from sidecar.gitflow import hooktext, settings
from sidecar.gitflow.values import FlowError

pytestmark = pytest.mark.slow


def begun(place: Place, *argv: str, task: str = TASK_JSON) -> Clone:
    ended = command(place.clone.path, "start-task", "--task", "-", "--json", *argv, stdin=task)
    assert ended.code == 0, ended.err
    return Clone(Path(ended.json["path"]))


def submitted(place: Place) -> Clone:
    work = begun(place)
    work.commit({"seven.txt": "7\n"}, "Write seven")
    assert command(work.path, "submit").code == 0
    return work


def merged(place: Place, how: str) -> None:
    place.other.git("fetch", "--quiet", "origin")
    place.other.git("merge", "--quiet", how, f"origin/{BRANCH}")
    if how == "--squash":
        place.other.git("commit", "--quiet", "-m", "squashed")
    place.other.git("push", "--quiet", "origin", "main")


def refused(ended: Ended, code: int, *parts: str) -> None:
    """Check one clear line for each reason, with this exit code and these words in it, and nothing else said."""
    assert ended.code == code, ended
    assert ended.out == ""
    for line in ended.err.splitlines():
        assert line.startswith("agentcom-git: ")
    for part in parts:
        assert part in ended.err


# --- start-task -------------------------------------------------------------------------------------------------------


def test_start_says_where_to_go_and_from_what(place: Place) -> None:
    newest = place.main_moves(b_txt="two\n")
    ended = command(place.clone.path, "start-task", TASK.id, "--task", "-", stdin=TASK_JSON)
    assert ended.out.splitlines()[:3] == [
        f"{TASK.id}: from main at {newest[:12]}",
        f"  branch  {BRANCH}",
        "  base    main of origin",
    ]
    folder = place.clone.path.with_name("höme clone-worktrees") / BRANCH
    assert f"cd '{folder}'" in ended.out
    assert (ended.code, ended.err) == (0, "")


def test_a_reader_that_has_seen_enough_changes_nothing(place: Place) -> None:
    place.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar.gitflow.command", "status", "--all"],
        cwd=place.clone.path,
        env=git_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_task_is_found_in_the_packet_of_the_sidecar(place: Place, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(TASK_JSON)
    ended = command(place.clone.path, "start-task", "--json", env={"AGENTCOM_TASK_FILE": str(tmp_path / "task.md")})
    assert ended.json["branch"] == BRANCH


def test_a_task_is_found_on_the_hubs_branch_of_the_clone(place: Place) -> None:
    place.other.git("switch", "--quiet", "--orphan", "agentcom/state")
    place.other.commit({f"tasks/backlog/{TASK.id}.yaml": f"title: {TASK.title}\n"})
    place.other.git("push", "--quiet", "origin", "agentcom/state")
    place.clone.git("fetch", "--quiet", "origin")
    assert command(place.clone.path, "start-task", TASK.id, "--json").json["branch"] == BRANCH


def test_started_again_it_goes_on_and_says_so(place: Place) -> None:
    work = begun(place)
    mine = work.commit({"seven.txt": "7\n"})
    ended = command(place.clone.path, "start-task", "--task", "-", stdin=TASK_JSON)
    assert f"{TASK.id}: goes on where it was" in ended.out
    assert work.head() == mine


@pytest.mark.parametrize(
    ("argv", "stdin", "code", "words"),
    [
        (("start-task",), "", 64, "which task? `agentcom-git start-task ID`"),
        (("start-task", "T 1"), "", 64, "is no id of a task"),
        (("start-task", "t-nope"), "", 64, "there is no task t-nope in this clone, which has no branch agentcom/state"),
        (("start-task", "--task", "-"), "{", 64, "standard input: not JSON"),
        (("start-task", "t-2", "--task", "-"), TASK_JSON, 64, f"- holds task {TASK.id}, not t-2"),
        (("start-task", "--task", "nowhere.json"), "", 64, "--task nowhere.json: No such file or directory"),
        (("start-task", "--task", "-", "--agent", "A B"), TASK_JSON, 78, "agent 'A B' is no id"),
        (("submit",), "", 66, "is not the work tree of a task: make one with `agentcom-git start-task ID`"),
        (("status",), "", 66, "is not the work tree of a task"),
        (("sync",), "", 66, "is not the work tree of a task"),
        (("prune", "t-2"), "", 64, "no work on t-2 in this clone: `agentcom-git status --all`"),
        (("subbmit",), "", 64, "see `agentcom-git --help`"),
        (("submit", "--tokens", "many"), "", 64, "see `agentcom-git submit --help`"),
        (("submit", "--tokens", "-1"), "", 64, "give a number from 0 on"),
        (("submit", "--summary", "a", "--summary-file", "b"), "", 64, "give one of them"),
    ],
)
def test_what_has_no_meaning_is_one_line_and_an_exit_code(place: Place, argv, stdin, code, words) -> None:
    ended = command(place.clone.path, *argv, stdin=stdin)
    refused(ended, code, words)
    assert len(ended.err.splitlines()) == 1


def test_outside_of_a_repository_every_command_says_so(tmp_path: Path) -> None:
    for name in ("start-task", "submit", "status", "sync", "prune"):
        refused(
            command(tmp_path, name, env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}), 66, "is not inside a git"
        )


def test_an_agent_that_nobody_named_is_asked_for(place: Place) -> None:
    ended = command(place.clone.path, "start-task", "--task", "-", stdin=TASK_JSON, env={"AGENTCOM_AGENT": ""})
    refused(ended, 78, "which agent? --agent ID, or AGENTCOM_AGENT")


def test_a_remote_that_is_gone_starts_nothing(place: Place) -> None:
    place.origin.rename(place.origin.with_name("away"))
    ended = command(place.clone.path, "start-task", "--task", "-", stdin=TASK_JSON)
    refused(ended, 69, "nothing was started, because the newest main is not known")
    assert not list((place.clone.path / ".git/agentcom").rglob("t-*"))
    assert len(place.clone.git("worktree", "list").splitlines()) == 1


def test_a_work_tree_stays_that_of_its_agent_whoever_calls_from_inside(place: Place) -> None:
    work = begun(place, "--agent", "gcu")
    work.commit({"seven.txt": "7\n"})
    assert command(work.path, "submit", "--json", env={"AGENTCOM_AGENT": "loash"}).json["branch"].startswith("gcu/")
    tasks = command(work.path, "status", "--all", "--json").json["tasks"]
    assert [(one["agent"], one["state"]) for one in tasks] == [("gcu", "pushed")]


# --- submit -----------------------------------------------------------------------------------------------------------


def test_submit_pushes_says_how_to_merge_and_leaves_nothing_behind(place: Place) -> None:
    work = begun(place)
    mine = work.commit({"seven.txt": "7\n"}, "Write seven")
    ended = command(work.path, "submit", "--summary", "wrote it", "--tested", "read it")
    assert ended.out.startswith(f"{TASK.id}: {BRANCH} at {mine[:12]} is pushed\n")
    assert "send this to whoever merges" in ended.out
    assert place.tip(BRANCH) == mine
    assert work.git("status", "--porcelain", "--ignored") == ""
    assert "is on the remote already" in command(work.path, "submit").out


def test_without_a_remote_submit_gives_the_line_that_merges(place: Place) -> None:
    place.clone.git("remote", "remove", "origin")
    work = begun(place)
    work.commit({"seven.txt": "7\n"})
    ended = command(work.path, "submit", "--json").json
    person = git_env(GIT_COMMITTER_NAME="Ada", GIT_COMMITTER_EMAIL="a@b", GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="a@b")
    subprocess.run(["sh", "-c", ended["merge"]], check=True, env=person, capture_output=True)
    assert (place.clone.path / "seven.txt").exists()


def _dirty(place: Place, work: Clone) -> None:
    work.write({"seven.txt": "7\n"})


def _on_base(place: Place, work: Clone) -> None:
    place.clone.git("switch", "--quiet", "--detach")
    work.git("switch", "--quiet", "main")


def _detached(place: Place, work: Clone) -> None:
    work.git("switch", "--quiet", "--detach")


def _other(place: Place, work: Clone) -> None:
    work.git("switch", "--quiet", "-c", "mine")


def _moved(place: Place, work: Clone) -> None:
    work.commit({"seven.txt": "7\n"})
    place.main_moves(a_txt="two\n")


def _same(place: Place, work: Clone) -> None:
    work.commit({})


def _stale_files(place: Place, work: Clone) -> None:
    place.main_moves(a_txt="two\n")
    work.git("fetch", "--quiet", "origin")
    work.git("reset", "--quiet", "--soft", "origin/main")
    work.commit({"seven.txt": "7\n"})


def _rebasing(place: Place, work: Clone) -> None:
    work.commit({"a.txt": "mine\n"})
    place.main_moves(a_txt="theirs\n")
    work.git("fetch", "--quiet", "origin")
    work.git("rebase", "origin/main", check=False)


@pytest.mark.parametrize(
    ("wrong", "code", "words", "do_next"),
    [
        (_dirty, "dirty", "untracked: seven.txt", "leave it out of the submission with --allow-dirty"),
        (_dirty, "no_commits", f"{BRANCH} has no commit that main has not", "commit your work"),
        (_on_base, "on_base", "you are on main, the base", f"`git switch {BRANCH}`"),
        (_detached, "detached", "no branch is checked out (detached HEAD)", f"`git switch {BRANCH}`, bring"),
        (_other, "other_branch", "mine is checked out", f"`git switch {BRANCH}`"),
        (
            _moved,
            "base_moved",
            "main has moved on by 1 commit",
            "`agentcom-git submit --rebase`, or `agentcom-git sync`",
        ),
        (_same, "no_changes", "has 1 commit but changes no file", "report the task as done"),
        (_stale_files, "silent_revert", "takes back what others changed in main meanwhile, in a.txt", "--allow-revert"),
        (_rebasing, "under_way", "a rebase is under way here", "`git rebase --abort`"),
    ],
)
def test_submit_refuses_with_the_reason_and_what_to_do(place: Place, wrong, code, words, do_next) -> None:
    work = begun(place)
    wrong(place, work)
    refused(command(work.path, "submit"), 65, words, do_next)
    spoken = command(work.path, "submit", "--json")
    assert code in [reason["code"] for reason in spoken.json["refusals"]]
    assert (spoken.code, spoken.json["exit_code"], spoken.json["ok"]) == (65, 65, False)
    assert place.tip(BRANCH) == ""


def test_what_submit_refuses_goes_through_by_name(place: Place) -> None:
    work = begun(place)
    _stale_files(place, work)
    work.write({"note": "mine\n"})
    ended = command(work.path, "submit", "--allow-dirty", "--allow-revert", "a.txt")
    assert ended.code == 0
    assert "left out      note" in ended.out


def test_submit_with_rebase_goes_onto_the_newest_base_or_shows_the_conflict(place: Place) -> None:
    work = begun(place)
    _moved(place, work)
    assert command(work.path, "submit", "--rebase").code == 0
    mine = work.commit({"a.txt": "mine\n"})
    place.main_moves(a_txt="theirs\n")
    ended = command(work.path, "submit", "--rebase")
    refused(ended, 65, "conflict with origin/main in a.txt: everything is as it was before", "`git rebase origin/main`")
    assert (work.head(), work.git("status", "--porcelain")) == (mine, "")


def test_a_branch_deleted_on_the_remote_is_pushed_again(place: Place) -> None:
    work = submitted(place)
    place.other.git("push", "--quiet", "origin", f":refs/heads/{BRANCH}")
    said = command(work.path, "status", "--json").json
    assert (said["unpushed"], "origin has it no more" in said["remarks"][0]) == (1, True)
    ended = command(work.path, "submit")
    assert (ended.code, f"{BRANCH} was not on origin any more" in ended.out) == (0, True)
    assert place.tip(BRANCH) == work.head()
    assert "any more" not in command(work.path, "submit").out


def test_no_rights_are_named_and_nothing_is_lost(place: Place) -> None:
    work = begun(place)
    mine = work.commit({"seven.txt": "7\n"})
    hook = place.origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho only the team may push >&2\nexit 1\n")
    hook.chmod(0o755)
    refused(command(work.path, "submit"), 77, "only the team may push", "your commits are safe here")
    assert work.head() == mine


def test_a_network_that_is_gone_is_told_from_a_refusal(place: Place) -> None:
    work = begun(place)
    work.commit({"seven.txt": "7\n"})
    place.origin.rename(place.origin.with_name("away"))
    refused(command(work.path, "submit"), 69, "try again when it does", "`git remote -v`")


# --- two at once, submodules, large files -----------------------------------------------------------------------------


def test_of_two_commands_on_one_task_the_second_waits_for_nobody_and_says_so(place: Place) -> None:
    work = begun(place)
    with (place.clone.path / f".git/agentcom/work/loash/{TASK.id}.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for argv in (("submit",), ("sync",)):
            refused(command(work.path, *argv), 75, f"another agentcom-git works on {TASK.id} for loash right now: wait")
        assert "another agentcom-git" in command(place.clone.path, "prune").out


def test_two_starts_of_one_task_at_once_make_one_work_tree(place: Place) -> None:
    argv = [sys.executable, "-m", "sidecar.gitflow.command", "start-task", "--task", "-"]
    both = [
        subprocess.Popen(
            argv,
            cwd=place.clone.path,
            env=git_env(AGENTCOM_AGENT="loash"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for one in both:
        one.communicate(TASK_JSON.encode())
    codes = sorted(one.returncode for one in both)
    assert codes in ([0, 0], [0, 75])
    assert len(place.clone.git("worktree", "list").splitlines()) == 2


def test_submodules_are_named_at_the_start_and_unpushed_ones_stop_a_submission(place: Place, tmp_path: Path) -> None:
    library = make_bare(tmp_path / "library.git")
    allow = ("-c", "protocol.file.allow=always")
    place.other.git("push", "--quiet", str(library), "main")
    place.other.git(*allow, "submodule", "--quiet", "add", "--branch", "main", str(library), "lib")
    place.main_moves(c_txt="c\n")
    ended = command(place.clone.path, "start-task", "--task", "-", "--json", stdin=TASK_JSON)
    assert "`git submodule update --init --recursive`" in ended.json["remarks"][0]
    work = Clone(Path(ended.json["path"]))
    work.git(*allow, "submodule", "--quiet", "update", "--init", "--recursive")
    inside = Clone(work.path / "lib")
    inside.git("config", "user.name", "loash")
    inside.git("config", "user.email", "loash@example.org")
    inside.commit({"new.txt": "new\n"})
    refused(command(work.path, "submit"), 65, "changed but not committed: lib")
    work.commit({}, "Use the newer library")
    refused(command(work.path, "submit"), 65, "no remote of it has: push those first (`git -C lib push`)")
    inside.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    assert command(work.path, "submit").code == 0
    merged(place, "--ff-only")
    assert "submodules are checked out there" in command(place.clone.path, "prune").out


def test_pointers_of_large_files_travel_as_they_are(place: Place) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 7\n"
    place.other.write({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "model.bin": pointer})
    place.main_moves(c_txt="c\n")
    work = begun(place)
    assert (work.path / "model.bin").read_text() == pointer
    work.commit({"seven.txt": "7\n"})
    assert command(work.path, "submit").code == 0
    assert work.git("diff", "--name-only", "origin/main", "HEAD") == "seven.txt"


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_says_where_the_work_stands(place: Place) -> None:
    work = begun(place)
    work.commit({"seven.txt": "7\n"})
    work.write({"a.txt": "mine\n", "note": "n\n"})
    place.main_moves(b_txt="two\n")
    offline = command(work.path, "status", "--offline", "--json").json
    assert (offline["stale"], offline["asked"]) == (False, False)
    asked = command(work.path, "status")
    assert "; stale: 1 newer commit" in asked.out
    assert "1 beside the base, 1 not on origin" in asked.out
    assert "uncommitted   a.txt, note (changed and untracked)" in asked.out
    assert "before submit main has moved on by 1 commit" in asked.out
    found = command(work.path, "status", "--json").json
    assert (found["ahead"], found["behind"], found["stale"], found["unpushed"]) == (1, 1, True, 1)
    assert (found["dirty"], found["untracked"]) == (["a.txt"], ["note"])


def test_status_without_its_remote_says_what_was_fetched_last(place: Place) -> None:
    work = submitted(place)
    place.origin.rename(place.origin.with_name("away"))
    ended = command(work.path, "status")
    assert ended.code == 0
    assert "as fetched last" in ended.out
    assert "what follows is as it was fetched last" in ended.out


def test_status_without_network_asks_git_a_handful_of_times_and_loads_little(place: Place, tmp_path: Path) -> None:
    work = begun(place)
    work.commit({"seven.txt": "7\n"})
    log, shim = tmp_path / "asked", tmp_path / "bin/git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho >>"{log}"\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sidecar.gitflow.command", "status", "--offline"],
        cwd=work.path,
        capture_output=True,
        text=True,
        env=git_env(AGENTCOM_AGENT="loash", PATH=f"{shim.parent}:{os.environ['PATH']}"),
        check=True,
    )
    assert log.read_text().count("\n") <= 6
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sidecar.gitflow.standing" in loaded
    assert not loaded & {"hashlib", "random", "anyascii", "urllib.request", "sidecar.gitflow.submitting"}


def test_status_of_all_names_each_task_of_the_clone(place: Place) -> None:
    first = begun(place)
    second = begun(place, task=json.dumps({"task_id": "t-2", "title": "Another"}))
    assert command(second.path, "status", "--all").out.count("  working  ") == 2
    first.commit({"seven.txt": "7\n"})
    states = {one["task_id"]: one["state"] for one in command(first.path, "status", "--all", "--json").json["tasks"]}
    assert states == {TASK.id: "unpushed", "t-2": "working"}
    command(first.path, "submit")
    merged(place, "--ff-only")
    command(second.path, "status")
    place.clone.git("worktree", "remove", str(second.path))
    states = {one["task_id"]: one["state"] for one in command(first.path, "status", "--all", "--json").json["tasks"]}
    assert states == {TASK.id: "in the base", "t-2": "folder gone"}


# --- sync -------------------------------------------------------------------------------------------------------------


def test_sync_puts_the_commits_on_the_newest_base_and_pushes_nothing(place: Place) -> None:
    work = begun(place)
    _moved(place, work)
    ended = command(work.path, "sync")
    assert f"{TASK.id}: {BRANCH} is on main at " in ended.out
    assert ", 1 commit newer" in ended.out
    assert work.git("diff", "--name-only", "origin/main", "HEAD") == "seven.txt"
    assert place.tip(BRANCH) == ""
    assert "is up to date with main" in command(work.path, "sync").out


def test_sync_shows_a_conflict_and_leaves_everything_as_it_was(place: Place) -> None:
    work = begun(place)
    mine = work.commit({"a.txt": "mine\n"})
    place.main_moves(a_txt="theirs\n")
    refused(command(work.path, "sync"), 65, "conflict with origin/main in a.txt", "then `agentcom-git sync` again")
    assert (work.head(), work.git("status", "--porcelain")) == (mine, "")


def test_sync_leaves_edits_alone(place: Place) -> None:
    work = begun(place)
    _moved(place, work)
    work.write({"b.txt": "mine\n"})
    refused(command(work.path, "sync"), 65, "changed but not committed: b.txt: commit it, or `git stash`")
    assert (work.path / "b.txt").read_text() == "mine\n"


def theirs_on(place: Place, **files: str) -> str:
    place.other.git("fetch", "--quiet", "origin")
    place.other.git("switch", "--quiet", "--detach", f"origin/{BRANCH}")
    commit = place.other.commit({name.replace("_", "."): text for name, text in files.items()}, "theirs")
    place.other.git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")
    place.other.git("switch", "--quiet", "main")
    return commit


def test_commits_that_others_pushed_to_the_branch_are_kept_beneath_ones_own(place: Place) -> None:
    work = submitted(place)
    theirs = theirs_on(place, help_txt="theirs\n")
    work.commit({"eight.txt": "8\n"}, "Write eight")
    refused(command(work.path, "submit"), 65, "1 commit that this workplace never had", "`agentcom-git sync`")
    ended = command(work.path, "sync")
    assert "is on top of 1 commit that others pushed to it" in ended.out
    assert work.git("log", "-1", "--skip=1", "--format=%H") == theirs
    assert command(work.path, "submit", "--json").json["forced"] is False


def test_they_are_kept_also_when_the_own_commits_were_rewritten_and_the_base_has_moved(place: Place) -> None:
    work = submitted(place)
    theirs_on(place, seven_txt="7, they say\n")
    place.main_moves(a_txt="two\n")
    work.git("fetch", "--quiet", "origin")
    work.git("rebase", "--quiet", "origin/main")
    work.commit({"eight.txt": "8\n"}, "Write eight")
    assert command(work.path, "sync").code == 0
    assert work.git("log", "--format=%s", "origin/main..HEAD").splitlines() == ["Write eight", "theirs", "Write seven"]
    assert (work.path / "seven.txt").read_text() == "7, they say\n"
    assert command(work.path, "submit").code == 0
    assert place.tip(BRANCH) == work.head()


def test_a_conflict_with_commits_of_others_loses_neither(place: Place) -> None:
    work = submitted(place)
    theirs = theirs_on(place, seven_txt="theirs\n")
    mine = work.commit({"seven.txt": "mine\n"})
    refused(command(work.path, "sync"), 65, f"conflict with origin/{BRANCH} in seven.txt")
    assert (work.head(), place.tip(BRANCH)) == (mine, theirs)


def test_sync_of_a_branch_with_merges_keeps_what_was_solved_in_them(place: Place) -> None:
    work = begun(place)
    work.commit({"a.txt": "mine\n"})
    place.main_moves(a_txt="theirs\n")
    work.git("fetch", "--quiet", "origin")
    work.git("merge", "--quiet", "origin/main", check=False)
    work.commit({"a.txt": "both\n"}, "Join")
    place.main_moves(b_txt="two\n")
    assert command(work.path, "sync").code == 0
    assert (work.path / "a.txt").read_text() == "both\n"
    assert command(work.path, "status", "--json").json["stale"] is False


# --- prune ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["--ff-only", "--no-ff", "--squash"])
def test_prune_takes_away_what_is_merged_and_leaves_the_remote_alone(place: Place, how: str) -> None:
    work = submitted(place)
    if how != "--ff-only":
        place.main_moves(a_txt="two\n")
    merged(place, how)
    assert "would be taken away: it is in main" in command(place.clone.path, "prune", "--dry-run").out
    assert work.path.exists()
    ended = command(place.clone.path, "prune")
    assert f"{TASK.id} (loash) taken away: it is in main" in ended.out
    assert not place.clone.path.with_name("höme clone-worktrees").exists()
    assert place.clone.git("branch", "--list", BRANCH) == ""
    assert not list((place.clone.path / ".git/agentcom/work").rglob("*"))
    assert place.tip(BRANCH) != ""
    assert command(place.clone.path, "status", "--all").out == "no task is in work in this clone\n"


def test_prune_deletes_a_merged_branch_on_the_remote_when_asked(place: Place) -> None:
    submitted(place)
    merged(place, "--ff-only")
    assert command(place.clone.path, "prune", "--remote").code == 0
    assert place.tip(BRANCH) == ""


def test_prune_never_deletes_newer_commits_on_the_remote(place: Place) -> None:
    submitted(place)
    merged(place, "--ff-only")
    theirs = theirs_on(place, help_txt="theirs\n")
    assert command(place.clone.path, "prune", "--remote").code == 0
    assert place.tip(BRANCH) == theirs


def _fresh(place: Place, work: Clone) -> None:
    pass


def _unpushed(place: Place, work: Clone) -> None:
    work.commit({"eight.txt": "8\n"})


def _waits(place: Place, work: Clone) -> None:
    work.commit({"eight.txt": "8\n"})
    assert command(work.path, "submit").code == 0


def _undone(place: Place, work: Clone) -> None:
    work.commit({"eight.txt": "8\n"})
    work.commit({"eight.txt": None})


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (_fresh, "the task is not over, and nothing was submitted yet"),
        (_dirty, "it holds what is not committed: seven.txt"),
        (_unpushed, "1 commit of it is here alone"),
        (_undone, "2 commits of it are here alone"),
        (_waits, "it is not in main yet"),
        (_other, f"mine is checked out there: `git switch {BRANCH}`"),
        (_detached, "a detached HEAD is checked out there"),
        (_rebasing, "a rebase is under way there"),
    ],
)
def test_prune_keeps_what_is_not_finished_and_says_why(place: Place, before, why) -> None:
    work = begun(place)
    before(place, work)
    ended = command(place.clone.path, "prune")
    assert f"{TASK.id} (loash) kept: {why}" in ended.out
    assert work.path.exists()


def test_a_branch_that_only_followed_the_base_is_no_finished_task(place: Place) -> None:
    work = begun(place)
    place.main_moves(a_txt="two\n")
    assert command(work.path, "sync").code == 0
    assert "kept: the task is not over, and nothing was submitted yet" in command(place.clone.path, "prune").out


def test_a_base_that_is_gone_from_the_remote_keeps_its_tasks_and_stops_no_others(place: Place) -> None:
    submitted(place)
    place.other.git("push", "--quiet", "origin", "main:refs/heads/release")
    begun(place, task=json.dumps({"task_id": "t-2", "title": "Another", "base": "release"}))
    place.other.git("push", "--quiet", "origin", ":refs/heads/release")
    merged(place, "--ff-only")
    ended = command(place.clone.path, "prune", "--json").json
    assert [one["task_id"] for one in ended["removed"]] == [TASK.id]
    assert "origin has no branch release" in ended["remarks"][0]


def _over(place: Place) -> None:
    """Let the hub's branch say that the task was given up."""
    place.other.git("switch", "--quiet", "--orphan", "agentcom/state")
    place.other.commit({f"status/closed/2026/01/02/{TASK.id}.yaml": "state: cancelled\n"})
    place.other.git("push", "--quiet", "origin", "agentcom/state")
    place.clone.git("fetch", "--quiet", "origin", "agentcom/state:refs/remotes/origin/agentcom/state")


def test_a_task_that_the_hub_has_closed_goes_once_the_remote_has_its_commits(place: Place) -> None:
    work = begun(place)
    work.commit({"seven.txt": "7\n"})
    _over(place)
    assert "1 commit of it is here alone, though the task is over" in command(place.clone.path, "prune").out
    assert command(work.path, "submit").code == 0
    assert "taken away: the task is over" in command(place.clone.path, "prune").out
    assert place.tip(BRANCH) != ""


def test_prune_believes_a_remote_that_does_not_answer_nothing_new(place: Place) -> None:
    work = submitted(place)
    _over(place)
    place.origin.rename(place.origin.with_name("away"))
    ended = command(place.clone.path, "prune", "--json").json
    assert [one["task_id"] for one in ended["kept"]] == [TASK.id]
    assert work.path.exists()


def test_prune_from_inside_says_where_to_go(place: Place) -> None:
    work = submitted(place)
    merged(place, "--ff-only")
    assert f"you are in it: `cd '{place.clone.path}'`" in command(work.path, "prune").out


def test_a_folder_deleted_by_hand_is_kept_as_long_as_its_commits_are_here_alone(place: Place) -> None:
    work = begun(place)
    mine = work.commit({"seven.txt": "7\n"})
    place.clone.git("worktree", "remove", str(work.path))
    assert f"`agentcom-git start-task {TASK.id}` brings it back" in command(place.clone.path, "prune").out
    assert begun(place).head() == mine


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_where_nothing_is(place: Place) -> None:
    submitted(place)
    ended = command(place.clone.path, "doctor")
    assert ended.out.endswith("nothing is wrong\n")
    found = {one["name"]: one["level"] for one in command(place.clone.path, "doctor", "--json").json["checks"]}
    assert found["rights"] == found["remote"] == found["hooks"] == "ok"
    assert place.tip("loash/doctor") == ""


def test_doctor_says_what_to_do_about_hooks_leftovers_and_a_remote_that_is_away(place: Place) -> None:
    work = begun(place)
    (place.clone.path / ".git/agentcom/hooks" / hooktext.PRE_PUSH).write_text("#!/bin/sh\n")
    place.clone.git("worktree", "add", "--quiet", "-b", "odd", str(work.path.parent / "odd"))
    place.clone.git("worktree", "remove", str(work.path))
    place.origin.rename(place.origin.with_name("away"))
    ended = command(place.clone.path, "doctor")
    assert ended.code == 1
    assert "pre-push in " in ended.out
    assert f"-> `agentcom-git start-task {TASK.id} --agent loash` writes them anew" in ended.out
    assert "odd: a work tree that no task here knows" in ended.out
    assert f"{work.path}: deleted by hand" in ended.out
    assert "-> try again when it does" in ended.out


def test_doctor_names_a_remote_that_takes_nothing_and_a_missing_agent(place: Place, tmp_path: Path) -> None:
    place.clone.git("config", "remote.origin.pushurl", str(tmp_path / "nowhere.git"))
    ended = command(place.clone.path, "doctor", "--json", env={"AGENTCOM_AGENT": ""})
    levels = {one["name"]: one["level"] for one in ended.json["checks"]}
    assert (levels["agent"], levels["rights"], levels["remote"]) == ("wrong", "wrong", "ok")
    assert ended.code == 1


# --- how it speaks ----------------------------------------------------------------------------------------------------


def test_a_setting_that_is_wrong_is_named_with_its_key(place: Place) -> None:
    place.clone.git("config", "agentcom-git.bace", "main")
    refused(command(place.clone.path, "status"), 78, "git config agentcom-git.bace: unknown", "--unset-all")


def test_nothing_that_is_printed_can_play_with_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["submit", "--summary-file", "a\x1b]0;b\u202e"]) == 64
    assert "\x1b" not in (said := capsys.readouterr().err)
    assert "\u202e" not in said


def test_every_command_the_texts_name_exists() -> None:
    """Refusals, remarks and the hook send people to commands; each of them is one."""
    folder = Path(commands.__file__).parent
    named = set[str]()
    for file in folder.rglob("*.py"):
        named |= set(re.findall(r"[`']agentcom-git ([a-z-]+(?: --[a-z-]+)?)", file.read_text(encoding="utf-8")))
    assert {"submit --rebase", "sync", "prune --remote", "status --all"} <= named
    for words in named:
        name, _, option = words.partition(" ")
        with pytest.raises(SystemExit) as ended:
            commands._parser().parse_args([name, *([option] if option else []), "--help"])
        assert ended.value.code == 0, words


def test_the_page_lists_every_refusal_exit_code_option_and_setting() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/agentcom-git.md").read_text(encoding="utf-8")
    folder = Path(commands.__file__).parent
    sources = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
    codes = set(re.findall(r'Refusal\(\s*"([a-z_]+)"', sources))
    assert "silent_revert" in codes
    options = {
        option
        for action in commands._parser()._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
        for option in action._option_string_actions
        if option not in ("-h", "--help", "--no-draft")
    }
    exits = {f"| {error.exit_code} |" for error in FlowError.__subclasses__()}
    keys = settings._ONE | settings._MANY | {*settings.VARIABLES, *settings.TOKENS}
    for word in (*(f"`{code}`" for code in codes), *options, *exits, *(f"`{key}`" for key in keys)):
        assert word in page, word
