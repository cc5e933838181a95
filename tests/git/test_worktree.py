"""What counts as saved and not committed is what git itself would call an edit, found without touching the index."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git import worktree as module
from coordinator.git.repo import find_repo
from coordinator.git.worktree import SavedFiles, under_way
from coordinator.ports import Edit, Saved

FILES = {
    "BACKLOG.md": "- [ ] one\n",
    "agentcom.yaml": "suspend: false\n",
    "tasks/README.md": "words\n",
    "tasks/t-1.yaml": "title: one\n",
    "agents/loash.yaml": "name: L\n",
}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", FILES)


def look(clone: Clone, root: str = ".") -> Saved:
    return SavedFiles(clone.repo, root).look()


def kinds(clone: Clone, root: str = ".") -> dict[str, str]:
    return {edit.path: edit.kind for edit in look(clone, root).edits}


def test_a_work_tree_as_committed_has_no_edits(clone: Clone) -> None:
    assert look(clone) == Saved("refs/heads/main")


def test_new_changed_and_removed_files_are_edits_and_others_are_not(clone: Clone) -> None:
    clone.write(
        {
            "BACKLOG.md": "- [ ] one\n- [ ] two\n",
            "agentcom.yaml": None,
            "tasks/t-2.yaml": "title: two\n",
            "tasks/README.md": "other words\n",
            "tasks/deep/t-3.yaml": "title: not read\n",
            "tasks/.#t-1.yaml": "an editor's lock\n",
            "tasks/t-4.yml": "title: not read\n",
            "agents/loash.yaml": "name: Loash\n",
            "other.txt": "mine\n",
        }
    )
    assert kinds(clone) == {
        "BACKLOG.md": "changed",
        "agentcom.yaml": "removed",
        "agents/loash.yaml": "changed",
        "tasks/t-2.yaml": "new",
    }


def test_the_backlog_comes_with_both_texts_and_the_policy_as_committed(clone: Clone) -> None:
    clone.write({"BACKLOG.md": "- [ ] two\n", "agentcom.yaml": "suspend: true\n"})
    saved = look(clone)
    oid = clone.git("hash-object", "BACKLOG.md")
    assert saved.edits[0] == Edit("BACKLOG.md", "changed", True, b"- [ ] one\n", b"- [ ] two\n", oid)
    assert saved.policy == b"suspend: false\n"


def test_another_save_of_a_file_that_is_an_edit_already_is_another_look(clone: Clone) -> None:
    files = SavedFiles(clone.repo)
    clone.write({"tasks/t-1.yaml": "title: two\n"})
    first = files.look()
    clone.write({"tasks/t-1.yaml": "title: six\n"})
    assert files.look() != first
    assert [edit.oid for edit in files.look().edits] == [clone.git("hash-object", "tasks/t-1.yaml")]


def test_what_is_staged_is_not_committed_either(clone: Clone) -> None:
    clone.write({"tasks/t-2.yaml": "title: two\n", "tasks/t-1.yaml": None})
    clone.git("add", "--all")
    assert kinds(clone) == {"tasks/t-1.yaml": "removed", "tasks/t-2.yaml": "new"}
    assert [edit.tracked for edit in look(clone).edits] == [False, True]


def test_before_the_first_commit_everything_is_new(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    clone.write({"BACKLOG.md": "- [ ] one\n"})
    assert kinds(clone) == {"BACKLOG.md": "new"}


def test_below_another_root_the_files_are_looked_for_there(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"agentcom.yaml": "root: plan\n", "plan/BACKLOG.md": "- [ ] one\n"})
    clone.write({"BACKLOG.md": "mine\n", "tasks/t.yaml": "mine\n", "plan/tasks/t.yaml": "title: x\n"})
    clone.write({"plan/BACKLOG.md": "", "agentcom.yaml": "root: plan\nsuspend: true\n"})
    assert kinds(clone, "plan") == {
        "agentcom.yaml": "changed",
        "plan/BACKLOG.md": "changed",
        "plan/tasks/t.yaml": "new",
    }


def test_a_bare_repository_has_nothing_saved(tmp_path: Path) -> None:
    assert SavedFiles(find_repo(make_bare(tmp_path / "bare.git"))).look() == Saved(None)


def test_a_linked_work_tree_is_looked_at_where_it_stands(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
    linked = Clone(tmp_path / "linked")
    linked.write({"BACKLOG.md": "- [ ] two\n"})
    assert (look(linked).head, kinds(linked), kinds(clone)) == ("refs/heads/topic", {"BACKLOG.md": "changed"}, {})


def test_without_a_branch_the_edits_are_those_against_the_commit_checked_out(clone: Clone) -> None:
    clone.commit({"BACKLOG.md": "- [ ] two\n"})
    clone.git("switch", "--quiet", "--detach", "HEAD~1")
    assert look(clone) == Saved(None)
    clone.write({"BACKLOG.md": "- [ ] three\n"})
    assert kinds(clone) == {"BACKLOG.md": "changed"}


@pytest.mark.parametrize("name", ["MERGE_HEAD", "rebase-merge", "sequencer"])
def test_what_is_under_way_is_told(clone: Clone, name: str) -> None:
    (clone.path / ".git" / name).mkdir()
    assert look(clone).under_way != ""
    assert under_way(clone.repo) is not None


def test_an_index_lock_is_under_way_but_says_nothing_about_the_files(clone: Clone) -> None:
    (clone.path / ".git/index.lock").touch()
    assert under_way(clone.repo) == ("another git command", "index.lock")
    assert look(clone).under_way == ""


# --- as git sees it -------------------------------------------------------------------------------------------------


def _crlf_work_tree(clone: Clone) -> None:
    clone.git("config", "core.autocrlf", "true")
    (clone.path / "BACKLOG.md").unlink()
    clone.git("checkout", "--", "BACKLOG.md")
    assert (clone.path / "BACKLOG.md").read_bytes() == b"- [ ] one\r\n"


def _crlf_committed(clone: Clone) -> None:
    clone.commit({"BACKLOG.md": b"- [ ] one\r\n"})
    clone.git("config", "core.autocrlf", "true")
    clone.git("config", "core.safecrlf", "true")


def _filtered(clone: Clone) -> None:
    clone.git("config", "filter.upper.clean", "tr a-z A-Z")
    clone.commit({".gitattributes": "BACKLOG.md filter=upper\n", "BACKLOG.md": "- [ ] one\n"})
    clone.write({"BACKLOG.md": "- [ ] ONE\n"})


def _other_encoding(clone: Clone) -> None:
    clone.commit(
        {
            ".gitattributes": "BACKLOG.md text working-tree-encoding=UTF-16\n",
            "BACKLOG.md": "- [ ] one\n".encode("utf-16"),
        }
    )


def _ident(clone: Clone) -> None:
    clone.commit({".gitattributes": "*.yaml ident\n", "tasks/t-1.yaml": "title: one # $Id$\n"})
    (clone.path / "tasks/t-1.yaml").unlink()
    clone.git("checkout", "--", "tasks/t-1.yaml")
    assert b"$Id: " in (clone.path / "tasks/t-1.yaml").read_bytes()


def _ignored(clone: Clone) -> None:
    clone.commit({".gitignore": "local-*\n"})
    clone.write({"tasks/local-1.yaml": "title: mine\n"})


def _sparse(clone: Clone) -> None:
    clone.git("sparse-checkout", "set", "--no-cone", "/BACKLOG.md", "/agents/")
    assert not (clone.path / "tasks").exists()


def _assumed_unchanged(clone: Clone) -> None:
    clone.git("update-index", "--assume-unchanged", "BACKLOG.md")
    clone.write({"BACKLOG.md": "mine\n"})


def _link(clone: Clone) -> None:
    (clone.path / "tasks/link.yaml").symlink_to("t-1.yaml")
    clone.commit()


def _executable(clone: Clone) -> None:
    clone.git("config", "core.fileMode", "false")
    (clone.path / "BACKLOG.md").chmod(0o755)


def _touched(clone: Clone) -> None:
    os.utime(clone.path / "BACKLOG.md", (1, 1))


CLEAN: list[Callable[[Clone], None]] = [
    _crlf_work_tree,
    _crlf_committed,
    _filtered,
    _other_encoding,
    _ident,
    _ignored,
    _sparse,
    _assumed_unchanged,
    _link,
    _executable,
    _touched,
]


@pytest.mark.parametrize("prepare", CLEAN, ids=lambda prepare: prepare.__name__.strip("_"))
def test_what_git_calls_clean_is_no_edit(clone: Clone, prepare: Callable[[Clone], None]) -> None:
    prepare(clone)
    assert kinds(clone) == {}
    assert clone.git("status", "--porcelain") == ""


def test_text_in_another_encoding_is_read_as_it_would_be_committed(clone: Clone) -> None:
    _other_encoding(clone)
    clone.write({"BACKLOG.md": "- [ ] one\n- [ ] zwölf\n".encode("utf-16")})
    before = sorted((clone.path / ".git/objects").rglob("*"))
    (edit,) = look(clone).edits
    assert (edit.before, edit.after) == (b"- [ ] one\n", "- [ ] one\n- [ ] zwölf\n".encode())
    assert sorted((clone.path / ".git/objects").rglob("*")) == before


def test_a_filter_that_fails_makes_the_file_an_edit_and_no_error(clone: Clone) -> None:
    clone.commit({".gitattributes": "*.yaml filter=broken\n"})
    clone.git("config", "filter.broken.clean", "false")
    clone.git("config", "filter.broken.required", "true")
    clone.write({"tasks/t-1.yaml": "title: other\n"})
    assert kinds(clone) == {"tasks/t-1.yaml": "changed"}


def test_a_filter_that_fails_for_one_file_makes_no_edit_of_another_that_is_only_converted(clone: Clone) -> None:
    clone.commit({"tasks/t-0.yaml": "title: zero\n", ".gitattributes": "tasks/t-0.yaml filter=broken\n"})
    _crlf_work_tree(clone)
    for name in ("tasks/t-1.yaml", "agents/loash.yaml"):
        clone.write({name: FILES[name].replace("\n", "\r\n")})
    clone.git("config", "filter.broken.clean", "false")
    clone.git("config", "filter.broken.required", "true")
    clone.write({"tasks/t-0.yaml": "title: other\n"})
    assert kinds(clone) == {"tasks/t-0.yaml": "changed"}


def test_a_link_in_the_place_of_a_file_or_folder_is_not_followed(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/t-1.yaml").write_text("title: one\n")
    (clone.path / "tasks/t-1.yaml").unlink()
    (clone.path / "tasks/README.md").unlink()
    (clone.path / "tasks").rmdir()
    (clone.path / "tasks").symlink_to(tmp_path / "elsewhere")
    (clone.path / "BACKLOG.md").unlink()
    (clone.path / "BACKLOG.md").symlink_to("/dev/zero")
    assert kinds(clone) == {"BACKLOG.md": "changed", "tasks/t-1.yaml": "removed"}


def test_a_pipe_in_the_place_of_a_file_is_not_opened(clone: Clone) -> None:
    (clone.path / "BACKLOG.md").unlink()
    os.mkfifo(clone.path / "BACKLOG.md")
    assert kinds(clone) == {"BACKLOG.md": "removed"}


def test_names_that_cannot_be_shown_are_left_out(clone: Clone) -> None:
    for name in (b"a\nb.yaml", b"\xff.yaml", b"back\\slash.yaml"):
        Path(os.fsdecode(os.fsencode(clone.path / "tasks") + b"/" + name)).write_text("title: x\n")
    assert kinds(clone) == {}
    clone.commit()
    assert kinds(clone) == {}


def test_sha256_repositories_are_looked_at_too(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", FILES, "--object-format=sha256")
    assert kinds(clone) == {}
    clone.write({"BACKLOG.md": "- [ ] two\n"})
    assert kinds(clone) == {"BACKLOG.md": "changed"}


# --- quietly --------------------------------------------------------------------------------------------------------


def test_looking_changes_neither_index_nor_anything_else(clone: Clone) -> None:
    os.utime(clone.path / "BACKLOG.md", (1, 1))
    clone.write({"tasks/t-2.yaml": "title: two\n", "agents/loash.yaml": "name: X\n"})
    before = clone.snapshot()
    index = (clone.path / ".git/index").stat().st_mtime_ns
    assert len(look(clone).edits) == 2
    assert clone.snapshot() == before
    assert (clone.path / ".git/index").stat().st_mtime_ns == index


@pytest.fixture
def no_racy_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RACY_S", 0.0)


def _forbid_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*argv: object, **_: object) -> None:
        raise AssertionError(f"a process was started: {argv}")

    monkeypatch.setattr(subprocess, "Popen", never)


@pytest.mark.usefixtures("no_racy_files")
def test_while_nothing_happens_no_process_is_started_and_no_file_read(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.write({"BACKLOG.md": "- [ ] two\n"})
    files = SavedFiles(clone.repo)
    first = files.look()
    _forbid_processes(monkeypatch)
    monkeypatch.setattr(module, "_hash", lambda *_: pytest.fail("a file was read"))
    assert files.look() is first


@pytest.mark.usefixtures("no_racy_files")
def test_a_file_touched_or_changed_back_needs_no_process(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SavedFiles(clone.repo)
    files.look()
    _forbid_processes(monkeypatch)
    clone.write({"BACKLOG.md": FILES["BACKLOG.md"]})
    assert files.look().edits == ()


@pytest.mark.usefixtures("no_racy_files")
def test_each_change_is_noticed_by_the_same_reader(clone: Clone) -> None:
    files = SavedFiles(clone.repo)
    assert files.look().edits == ()
    clone.write({"BACKLOG.md": "- [ ] two\n"})
    assert [edit.kind for edit in files.look().edits] == ["changed"]
    clone.commit()
    assert files.look().edits == ()
    clone.write({"tasks/t-9.yaml": "title: x\n"})
    assert [edit.path for edit in files.look().edits] == ["tasks/t-9.yaml"]
    clone.write({".gitignore": "t-9.yaml\n"})
    assert files.look().edits == ()
    clone.git("add", "--force", "tasks/t-9.yaml")
    assert [edit.tracked for edit in files.look().edits] == [True]
    clone.git("switch", "--quiet", "-c", "topic")
    assert files.look().head == "refs/heads/topic"


def test_an_edit_of_the_same_size_in_the_same_instant_is_not_missed(clone: Clone) -> None:
    path = clone.path / "BACKLOG.md"
    files = SavedFiles(clone.repo)
    when = path.stat().st_mtime_ns
    assert files.look().edits == ()
    with path.open("r+b") as file:
        file.write(b"- [ ] two")
    os.utime(path, ns=(when, when))
    assert [edit.kind for edit in files.look().edits] == ["changed"]


def test_a_file_system_with_coarse_times_hides_no_edit(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look sees the same times, size and inode; the file was fresh at the first, so it is read again."""
    real = module._sight

    def coarse(path: Path) -> tuple[int, int, int, int, int] | None:
        seen = real(path)
        return None if seen is None else (seen[0], seen[1] // 10**12 * 10**12, seen[1] // 10**12 * 10**12, *seen[3:])

    monkeypatch.setattr(module, "_sight", coarse)
    monkeypatch.setattr(module, "_RACY_S", 2000.0)
    files = SavedFiles(clone.repo)
    assert files.look().edits == ()
    with (clone.path / "BACKLOG.md").open("r+b") as file:
        file.write(b"- [ ] two")
    assert [edit.kind for edit in files.look().edits] == ["changed"]
