"""A person's commit holds exactly the files asked for, or nothing is changed at all."""

import errno
import os
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git import person
from coordinator.git.person import (
    Busy,
    CannotCommit,
    Made,
    NoIdentity,
    NotCommitted,
    NotPushed,
    NoUpstream,
    NoWorkTree,
    OtherBranch,
    Refused,
    StagedOtherwise,
    commit_paths,
    commit_saved,
    push,
    saved_blob,
)
from coordinator.git.repo import find_repo

NEW = {"BACKLOG.md": b"- [ ] one\n- [ ] two\n"}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "a.txt": "a\n", "b.txt": "b\n"})


def refuses(clone: Clone, kind: type[CannotCommit], match: str, files: dict[str, bytes | None] = NEW) -> None:
    before = clone.snapshot()
    with pytest.raises(kind, match=match) as raised:
        commit_paths(clone.repo, "main", files, "Add two")
    assert "\n" not in str(raised.value) or kind is Refused
    assert clone.snapshot() == before


def full(_handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_commit_holds_exactly_the_files_under_the_persons_name(clone: Clone) -> None:
    made = commit_paths(clone.repo, "refs/heads/main", NEW, "Add two\n\nbecause", [("Agentcom-Task", "t-2")])
    assert made == clone.head("main")
    assert clone.git("show", "-s", "--format=%an <%ae> %cn", made) == "Ada Lovelace <ada@example.org> Ada Lovelace"
    assert clone.git("show", "-s", "--format=%B", made).strip() == "Add two\n\n> because\n\nAgentcom-Task: t-2"
    assert clone.git("diff-tree", "--no-commit-id", "--name-only", "-r", made) == "BACKLOG.md"
    assert (clone.path / "BACKLOG.md").read_bytes() == NEW["BACKLOG.md"]
    assert clone.git("status", "--porcelain") == ""


def test_new_files_in_new_folders_are_added(clone: Clone) -> None:
    commit_paths(clone.repo, "main", {**NEW, "agents/loash.yaml": b"name: L\n"}, "Add an agent")
    assert clone.show("agents/loash.yaml") == "name: L\n"
    assert clone.git("status", "--porcelain") == ""


def test_a_first_commit_in_an_empty_repository_works(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    assert commit_paths(clone.repo, "main", NEW, "Begin") == clone.head()


def test_other_staged_and_unstaged_work_is_left_alone(clone: Clone) -> None:
    clone.write({"a.txt": "staged\n", "n.txt": "new and staged\n"})
    clone.git("add", "a.txt", "n.txt")
    clone.write({"a.txt": "and more\n", "b.txt": "edited\n", "u.txt": "untracked\n"})
    before = (clone.git("ls-files", "-s", "a.txt", "b.txt", "n.txt"), clone.git("status", "--porcelain"))
    commit_paths(clone.repo, "main", {**NEW, "agents/x.yaml": b"x"}, "Add two")
    assert (clone.git("ls-files", "-s", "a.txt", "b.txt", "n.txt"), clone.git("status", "--porcelain")) == before
    assert (clone.path / "a.txt").read_text() == "and more\n"
    assert sorted(clone.git("diff-tree", "--no-commit-id", "--name-only", "-r", "HEAD").split()) == [
        "BACKLOG.md",
        "agents/x.yaml",
    ]


def test_a_file_mode_is_kept(clone: Clone) -> None:
    (clone.path / "BACKLOG.md").chmod(0o755)
    clone.commit()
    commit_paths(clone.repo, "main", NEW, "Add two")
    assert clone.git("ls-tree", "HEAD", "BACKLOG.md").startswith("100755")


def test_edits_that_are_not_committed_are_refused(clone: Clone) -> None:
    clone.write({"BACKLOG.md": "mine\n"})
    refuses(clone, NotCommitted, r"BACKLOG\.md has edits that are not committed: commit them")


def test_edits_that_are_only_staged_are_refused(clone: Clone) -> None:
    clone.write({"BACKLOG.md": "mine\n"})
    clone.git("add", "BACKLOG.md")
    clone.write({"BACKLOG.md": "- [ ] one\n"})
    refuses(clone, NotCommitted, "not committed")


@pytest.mark.parametrize("staged", [False, True])
def test_a_deleted_file_is_an_edit(clone: Clone, staged: bool) -> None:
    (clone.path / "BACKLOG.md").unlink()
    if staged:
        clone.git("add", "--all")
    refuses(clone, NotCommitted, "not committed")


def test_an_untracked_file_in_the_way_is_refused(clone: Clone) -> None:
    clone.write({"agents/x.yaml": "mine\n"})
    refuses(clone, NotCommitted, r"agents/x\.yaml has edits", {"agents/x.yaml": b"x"})


def test_a_touched_file_with_the_same_content_is_no_edit(clone: Clone) -> None:
    clone.write({"BACKLOG.md": "- [ ] one\n"})
    commit_paths(clone.repo, "main", NEW, "Add two")


def test_line_endings_that_git_itself_converts_are_no_edit(clone: Clone) -> None:
    clone.git("config", "core.autocrlf", "true")
    clone.write({"BACKLOG.md": "- [ ] one\r\n"})
    commit_paths(clone.repo, "main", {"BACKLOG.md": b"- [ ] one\r\n- [ ] two\r\n"}, "Add two")
    assert clone.show("BACKLOG.md") == "- [ ] one\n- [ ] two\n"


@pytest.mark.parametrize("path", ["link.md", "folder/x.md"])
def test_links_are_never_written_through(clone: Clone, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.md").write_text("theirs")
    (clone.path / "link.md").symlink_to(outside / "x.md")
    (clone.path / "folder").symlink_to(outside)
    clone.commit()
    refuses(clone, NotCommitted, "symbolic link|no plain file", {path: b"x"})
    assert (outside / "x.md").read_text() == "theirs"


def test_another_branch_is_refused_with_the_command_that_helps(clone: Clone) -> None:
    clone.git("switch", "--quiet", "-c", "topic")
    refuses(clone, OtherBranch, "topic is checked out, but AgentCom reads main: run `git switch main`")


def test_a_detached_head_is_refused(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--detach")
    refuses(clone, OtherBranch, "no branch is checked out")


def test_a_merge_under_way_is_refused(clone: Clone) -> None:
    clone.git("switch", "--quiet", "-c", "topic")
    clone.commit({"a.txt": "topic\n"})
    clone.git("switch", "--quiet", "main")
    clone.commit({"a.txt": "main\n"})
    clone.git("merge", "topic", check=False)
    refuses(clone, Busy, "a merge is under way")


def test_a_rebase_under_way_is_refused(clone: Clone) -> None:
    clone.git("switch", "--quiet", "-c", "topic")
    clone.commit({"a.txt": "topic\n"})
    clone.git("switch", "--quiet", "main")
    clone.commit({"a.txt": "main\n"})
    clone.git("rebase", "topic", check=False)
    refuses(clone, CannotCommit, "rebase is under way|no branch is checked out")


def test_a_git_command_under_way_is_refused(clone: Clone) -> None:
    (clone.path / ".git/index.lock").write_text("")
    refuses(clone, Busy, "another git command is under way")


def test_without_an_identity_it_names_the_two_commands(clone: Clone) -> None:
    clone.git("config", "--unset", "user.name")
    clone.git("config", "--unset", "user.email")
    refuses(clone, NoIdentity, r"git config --global user\.name .*git config --global user\.email")


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoWorkTree, match="no work tree"):
        commit_paths(find_repo(make_bare(tmp_path / "b.git")), "main", NEW, "x")


def test_a_disk_that_is_full_changes_nothing_and_is_said_in_one_line(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person.os, "fsync", full)
    refuses(clone, Refused, "nothing was committed and nothing was changed: No space left on device")


def test_a_file_that_a_full_disk_does_not_let_us_put_back_is_named(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = clone.repo.common_dir / "hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    calls = iter([lambda _handle: None])
    monkeypatch.setattr(person.os, "fsync", lambda handle: next(calls, full)(handle))
    with pytest.raises(Refused, match=r"`git checkout -- BACKLOG\.md`; git says: no"):
        commit_paths(clone.repo, "main", NEW, "Add two")


def test_a_hook_of_the_person_runs_and_may_refuse_and_then_nothing_is_changed(clone: Clone) -> None:
    clone.write({"b.txt": "staged\n"})
    clone.git("add", "b.txt")
    staged = clone.git("ls-files", "-s")
    hook = clone.path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho not on a Friday >&2\nexit 1\n")
    hook.chmod(0o755)
    head = clone.head()
    with pytest.raises(Refused, match="not on a Friday"):
        commit_paths(clone.repo, "main", {**NEW, "agents/deep/x.yaml": b"x"}, "Add two")
    assert (clone.head(), clone.git("ls-files", "-s")) == (head, staged)
    assert clone.git("status", "--porcelain") == "M  b.txt"
    assert not (clone.path / "agents").exists()


def test_a_linked_work_tree_commits_on_its_own_branch(clone: Clone, tmp_path: Path) -> None:
    clone.git("switch", "--quiet", "-c", "desk")
    clone.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "main")
    commit_paths(find_repo(tmp_path / "linked"), "main", NEW, "Add two")
    assert clone.show("BACKLOG.md", "main") == NEW["BACKLOG.md"].decode()
    assert clone.git("status", "--porcelain") == ""


# --- deleting -------------------------------------------------------------------------------------------------------


def test_a_file_is_deleted_and_other_staged_work_stays(clone: Clone) -> None:
    clone.write({"b.txt": "staged\n"})
    clone.git("add", "b.txt")
    commit_paths(clone.repo, "main", {"a.txt": None}, "Remove a")
    assert clone.git("diff-tree", "--no-commit-id", "--name-status", "-r", "HEAD") == "D\ta.txt"
    assert clone.git("status", "--porcelain") == "M  b.txt"
    assert not (clone.path / "a.txt").exists()


def test_a_file_with_edits_is_not_deleted(clone: Clone) -> None:
    clone.write({"a.txt": "mine\n"})
    refuses(clone, NotCommitted, r"a\.txt has edits that are not committed", {"a.txt": None})


def test_a_hook_that_refuses_a_deletion_leaves_the_file_with_its_mode(clone: Clone) -> None:
    (clone.path / "a.txt").chmod(0o755)
    clone.commit()
    hook = clone.path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refuses(clone, Refused, "nothing was changed", {"a.txt": None})
    assert (clone.path / "a.txt").stat().st_mode & 0o777 == 0o755


# --- pushing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pushed(clone: Clone, tmp_path: Path) -> Clone:
    clone.git("remote", "add", "origin", str(make_bare(tmp_path / "origin.git")))
    clone.git("push", "--quiet", "-u", "origin", "main")
    return clone


def test_the_source_alone_is_pushed_to_its_upstream(pushed: Clone) -> None:
    pushed.git("config", "push.followTags", "true")
    commit_paths(pushed.repo, "main", NEW, "Add two")
    pushed.git("tag", "-a", "v1", "-m", "v1")
    pushed.git("branch", "other")
    push(pushed.repo, "refs/heads/main")
    refs = pushed.git("ls-remote", "origin").splitlines()
    assert [line.split("\t")[1] for line in refs] == ["HEAD", "refs/heads/main"]
    assert pushed.head("origin/main") == pushed.head("main")


def test_a_branch_without_an_upstream_is_not_pushed_and_the_command_that_helps_is_named(clone: Clone) -> None:
    with pytest.raises(NoUpstream, match="git push -u REMOTE main"):
        push(clone.repo, "main")


def test_a_push_is_never_forced_and_git_says_why_it_refused(pushed: Clone, tmp_path: Path) -> None:
    other = Clone(tmp_path / "other")
    pushed.git("clone", "--quiet", pushed.git("remote", "get-url", "origin"), str(other.path))
    other.git("-c", "user.name=B", "-c", "user.email=b@example.org", "commit", "-q", "--allow-empty", "-m", "theirs")
    other.git("push", "--quiet")
    made = commit_paths(pushed.repo, "main", NEW, "Add two")
    with pytest.raises(
        NotPushed, match=r"main was not pushed, the commit stays; git says: (?s:.*)rejected(?!(?s:.*)hint)"
    ):
        push(pushed.repo, "main")
    assert pushed.head() == made
    assert pushed.git("ls-remote", "origin", "refs/heads/main").split()[0] == other.head()


def test_line_endings_that_head_keeps_as_they_are_are_no_edit(clone: Clone) -> None:
    clone.commit({"BACKLOG.md": b"- [ ] one\r\n"})
    clone.git("config", "core.autocrlf", "true")
    commit_paths(clone.repo, "main", {"BACKLOG.md": b"- [ ] one\r\n- [ ] two\r\n"}, "Add two")
    assert clone.git("diff", "--numstat", "HEAD~", "HEAD") == "1\t0\tBACKLOG.md"


def test_a_hook_finds_the_persons_surroundings_and_patterns_in_paths(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    hook = clone.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        '#!/bin/sh\n{ echo "$LC_ALL $GIT_LITERAL_PATHSPECS"; git diff --cached --name-only -- "*.md"; } > .git/found\n'
    )
    hook.chmod(0o755)
    commit_paths(clone.repo, "main", {**NEW, "[a]*.txt": b"x"}, "Add two")
    assert (clone.path / ".git/found").read_text() == "C.UTF-8 \nBACKLOG.md\n"
    assert clone.git("show", "--format=", "--name-only") == "BACKLOG.md\n[a]*.txt"


def test_a_message_is_utf_8_whatever_the_person_configured(clone: Clone) -> None:
    clone.git("config", "i18n.commitEncoding", "ISO-8859-1")
    commit_paths(clone.repo, "main", NEW, "Add Café")
    assert clone.git("-c", "i18n.logOutputEncoding=UTF-8", "log", "-1", "--format=%s") == "Add Café"


def test_a_file_in_the_place_of_a_folder_is_named_and_nothing_is_changed(clone: Clone) -> None:
    clone.write({"tasks": "a file\n"})
    refuses(clone, NotCommitted, "tasks is a file", {**NEW, "tasks/README.md": b"x\n"})


def test_the_blob_of_a_saved_file_is_the_one_that_git_would_keep(clone: Clone, tmp_path: Path) -> None:
    clone.git("config", "core.autocrlf", "true")
    clone.write({"BACKLOG.md": b"- [ ] one\r\n"})
    assert saved_blob(clone.repo, "BACKLOG.md") == clone.head("HEAD:BACKLOG.md")
    assert saved_blob(clone.repo, "nothing") is None
    other = make_repo(tmp_path / "sha256", {"BACKLOG.md": "x\n"}, "--object-format=sha256")
    assert saved_blob(other.repo, "BACKLOG.md") == other.head("HEAD:BACKLOG.md")


# --- what the person saved themselves ---------------------------------------------------------------------------------


def saves(clone: Clone, *paths: str) -> Made:
    return commit_saved(clone.repo, "main", paths, "Backlog: 1 new")


def test_saved_files_are_committed_as_they_are_and_nothing_else(clone: Clone) -> None:
    clone.write({"a.txt": "staged\n", "tasks/t-1.yaml": "title: x\n", "b.txt": None, "u.txt": "u\n"})
    clone.git("add", "a.txt")
    clone.write({"a.txt": "and more\n", "BACKLOG.md": "- [ ] two\n"})
    made = saves(clone, "BACKLOG.md", "tasks/t-1.yaml", "b.txt")
    assert (made.commit, made.unlike) == (clone.head("main"), ())
    assert clone.git("show", "-s", "--format=%an: %s") == "Ada Lovelace: Backlog: 1 new"
    changed = clone.git("diff-tree", "--no-commit-id", "--name-status", "-r", "HEAD").split()
    assert changed == ["M", "BACKLOG.md", "D", "b.txt", "A", "tasks/t-1.yaml"]
    assert clone.git("status", "--porcelain") == "MM a.txt\n?? u.txt"


@pytest.mark.parametrize("how", ["add", "add --intent-to-add", "rm --cached"])
def test_what_is_staged_as_it_is_saved_is_committed_too(clone: Clone, how: str) -> None:
    if how == "rm --cached":
        clone.git("rm", "--quiet", "b.txt")
        saves(clone, "b.txt")
    else:
        clone.write({"tasks/t-1.yaml": "title: x\n"})
        clone.git(*how.split(), "tasks/t-1.yaml")
        saves(clone, "tasks/t-1.yaml")
    assert clone.git("status", "--porcelain") == ""


@pytest.mark.parametrize("staged", ["staged\n", None])
def test_a_file_that_is_staged_otherwise_is_refused(clone: Clone, staged: str | None) -> None:
    clone.write({"BACKLOG.md": staged})
    clone.git("add", "--all")
    clone.write({"BACKLOG.md": "saved\n"})
    before = clone.snapshot()
    with pytest.raises(StagedOtherwise, match=r"BACKLOG\.md is staged with another content"):
        saves(clone, "BACKLOG.md")
    assert clone.snapshot() == before


def test_a_first_commit_of_saved_files_works(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    clone.write({"BACKLOG.md": "- [ ] one\n"})
    assert saves(clone, "BACKLOG.md").commit == clone.head()


def test_a_hook_that_refuses_saved_files_leaves_index_and_files_alone(clone: Clone) -> None:
    hook = clone.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    clone.write({"BACKLOG.md": "- [ ] two\n", "tasks/t-1.yaml": "title: x\n"})
    before = (clone.git("ls-files", "-s"), clone.git("status", "--porcelain"), clone.head())
    with pytest.raises(Refused, match="git says: not today"):
        saves(clone, "BACKLOG.md", "tasks/t-1.yaml")
    assert (clone.git("ls-files", "-s"), clone.git("status", "--porcelain"), clone.head()) == before


def test_what_a_hook_makes_of_a_saved_file_is_told(clone: Clone) -> None:
    hook = clone.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho '- [ ] three' >>BACKLOG.md && git add BACKLOG.md\n")
    hook.chmod(0o755)
    clone.write({"BACKLOG.md": "- [ ] two\n"})
    assert saves(clone, "BACKLOG.md").unlike == ("BACKLOG.md",)


def test_a_link_is_never_committed_for_somebody(clone: Clone) -> None:
    (clone.path / "BACKLOG.md").unlink()
    (clone.path / "BACKLOG.md").symlink_to("a.txt")
    with pytest.raises(NotCommitted, match="no plain file"):
        saves(clone, "BACKLOG.md")
