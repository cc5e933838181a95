"""What git shows of a workplace: the facts that a submission is judged by, and the status says.

This module asks git and judges nothing. It takes no lock and refreshes no index.
"""

from collections.abc import Iterator
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow.repository import Repository, under_way
from sidecar.gitflow.values import Facts, FileChange

#: So many subjects of commits are read for a summary.
SUBJECTS = 50


def gather(
    repo: Repository,
    own_branch: str,
    base: str,
    base_commit: str,
    *,
    start: str = "",
    remote_tip: str = "",
    ours: str = "",
) -> Facts:
    """Return the facts of the work tree at ``repo.top`` beside a commit of the base.

    ``start`` is the commit of the base on which the work began, ``remote_tip`` what the remote's branch names, ``ours``
    what was pushed there last from here. Raises GitError.
    """
    branch, commit, dirty, untracked = _work_tree(repo)
    ahead = behind = 0
    if commit and base_commit and commit != base_commit:
        behind, ahead = map(int, repo.git("rev-list", "--left-right", "--count", f"{base_commit}...{commit}").split())
    return Facts(
        branch=branch,
        own_branch=own_branch,
        base=base,
        base_commit=base_commit,
        commit=commit,
        ahead=ahead,
        behind=behind,
        changes=changed(repo, base_commit, commit) if ahead else (),
        dirty=dirty,
        untracked=untracked,
        under_way=under_way(repo.git_dir),
        reverted=taken_back(repo, start, base_commit, commit) if start and not behind else (),
        foreign=_foreign(repo, own_branch, commit, remote_tip, ours),
    )


def saved(repo: Repository) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths that differ from HEAD, in index or work tree, and those that git does not know."""
    return _work_tree(repo)[2:]


def changed(repo: Repository, base_commit: str, commit: str) -> tuple[FileChange, ...]:
    """Return what a branch changes since it left the base, file by file."""
    how = ("diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=none")
    try:
        out = repo.git(*how, f"{base_commit}...{commit}")
    except GitError:
        out = repo.git(*how, base_commit, commit)  # the two histories have nothing in common
    rows = (row.split("\t", 2) for row in out.split("\0") if row)
    return tuple(FileChange(shown(path), _count(added), _count(removed)) for added, removed, path in rows)


def subjects(repo: Repository, base_commit: str, commit: str) -> tuple[str, ...]:
    """Return the subjects of a branch's commits, oldest first."""
    out = repo.git("log", "-z", f"-n{SUBJECTS}", "--no-merges", "--format=%s", f"{base_commit}..{commit}")
    return tuple(reversed([subject for subject in out.split("\0") if subject]))


def taken_back(repo: Repository, start: str, base_commit: str, commit: str) -> tuple[str, ...]:
    """Return files that in ``commit`` are as the base had them since ``start``, and no longer has.

    That is what becomes of a commit on the newest base that was filled from an older checkout. A file that others
    added and that is missing counts as well.
    """
    if start == base_commit or not repo.resolve(start):
        return ()
    how = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev")
    older: dict[str, set[str]] = {}
    log = repo.git("log", "-m", "--first-parent", "--format=", *how[1:], f"{start}..{base_commit}")
    for path, before, _ in _raw(log):
        older.setdefault(path, set()).add(before)
    now = _raw(repo.git("diff-tree", *how, base_commit, commit))
    return tuple(sorted(shown(path) for path, _, after in now if after in older.get(path, ())))


def shown(path: str) -> str:
    """Return a path as text that can be printed; bytes that are no UTF-8 become escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def tips_here(repo: Repository, branch: str) -> frozenset[str]:
    """Return every commit that the local branch ever named, as far as git remembers."""
    try:
        return frozenset(repo.git("log", "-g", "--format=%H", f"refs/heads/{branch}", "--").split())
    except GitError:
        return frozenset()


def gone(repo: Repository, path: Path) -> bool:
    """Tell whether a work tree's folder is not there any more."""
    return not (path / ".git").exists()


def _work_tree(repo: Repository) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    """Return branch and commit that are checked out, "" for none, and what ``saved`` returns."""
    out = repo.git(
        *("status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--no-renames"),
        *("--untracked-files=normal", "--ignore-submodules=none"),
    )
    rows = [row for row in out.split("\0") if row]
    heads = dict(row.removeprefix("# branch.").partition(" ")[::2] for row in rows if row.startswith("# branch."))
    known = {row.split(" ", 10 if row.startswith("u") else 8)[-1] for row in rows if row[0] in "1u"}
    return (
        heads["head"] if heads["head"] != "(detached)" else "",
        heads["oid"] if heads["oid"] != "(initial)" else "",
        tuple(sorted(map(shown, known))),
        tuple(sorted(shown(row[2:]) for row in rows if row[0] == "?")),
    )


def _foreign(repo: Repository, branch: str, commit: str, tip: str, ours: str) -> int:
    """Count the commits that only the remote's branch has, 0 when this workplace has had or pushed all of them."""
    if not tip or not commit or tip == ours or repo.says("merge-base", "--is-ancestor", tip, commit):
        return 0
    if tip in tips_here(repo, branch):
        return 0
    return int(repo.git("rev-list", "--count", tip, f"^{commit}"))


def _raw(out: str) -> Iterator[tuple[str, str, str]]:
    """Yield (path, blob before, blob after) of git's raw format with NUL ends."""
    fields = iter(out.split("\0"))
    for head in fields:
        if head.strip("\n").startswith(":"):
            words = head.split()
            yield next(fields), words[2], words[3]


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
