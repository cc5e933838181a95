"""The work tree of a task: made, set up for its agent, found again, taken away.

What is set holds in that work tree alone: who commits, which hooks run, which branch may be pushed. The person's own
configuration keeps its meaning.
"""

import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow import hooktext
from sidecar.gitflow.repository import LOCAL_S, Repository, words
from sidecar.gitflow.settings import SECTION
from sidecar.gitflow.values import FlowError, Misconfigured

#: How often a configuration file that another command holds is tried again, and the pause between, in seconds.
TRIES = 50
PAUSE_S = 0.05

#: After how many seconds a work tree that stands nowhere is not one in the making any more.
UNBORN_S = 10.0

_EXTENSION = "extensions.worktreeConfig"


@dataclass(frozen=True, slots=True)
class Tree:
    """One work tree as git lists it; ``branch`` is "" when detached."""

    path: Path
    branch: str = ""
    prunable: bool = False


def default_folder(repo: Repository) -> Path:
    """Return the folder of all tasks' work trees: as set, or beside the repository."""
    if repo.settings.worktrees:
        return (repo.main / Path(repo.settings.worktrees).expanduser()).absolute()
    name = repo.main.name.removesuffix(".git") or repo.main.name
    return repo.main.parent / f"{name}-worktrees"


def listed(repo: Repository) -> tuple[Tree, ...]:
    """Return all work trees of the repository."""
    trees = []
    for block in repo.git("worktree", "list", "--porcelain", "-z", at=repo.common_dir).split("\0\0"):
        rows = dict(line.partition(" ")[::2] for line in block.split("\0") if line)
        if "worktree" in rows:
            branch = rows.get("branch", "").removeprefix("refs/heads/")
            trees.append(Tree(Path(rows["worktree"]), branch, "prunable" in rows))
    return tuple(trees)


def add(repo: Repository, path: Path, branch: str, commit: str = "", *, again: bool = False) -> None:
    """Make a work tree on a branch; with ``commit`` the branch is made there, else it is there.

    ``again``: the folder of an earlier one was deleted. Raises FlowError; a branch is never moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["worktree", "add", "--quiet"]
    if again:
        argv.append("--force")
    argv += ["--no-track", "-b", branch, str(path), commit] if commit else [str(path), branch]
    try:
        repo.git(*argv, at=repo.common_dir, timeout=LOCAL_S)
    except GitError as error:
        raise FlowError(
            f"no work tree was made at {path}: {words(error)}; mend that, then start the task again"
        ) from None


def forget_unborn(repo: Repository) -> None:
    """Take away work trees whose making was killed before they stood anywhere; with one of them no fetch succeeds.

    For a moment while ``git worktree add`` runs, HEAD of the new one is all zeros. Only one that has been so for longer
    than any such moment, and that holds no file, is taken away.
    """
    for head in repo.common_dir.glob("worktrees/*/HEAD"):
        with contextlib.suppress(OSError, GitError):
            if head.read_text("ascii").strip("0\n") or time.time() - head.stat().st_mtime < UNBORN_S:
                continue
            path = Path(head.with_name("gitdir").read_text("utf-8").removesuffix("\n")).parent
            if [one.name for one in path.iterdir()] == [".git"]:
                remove(repo, path, by_force=True)


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def remove(repo: Repository, path: Path, *, by_force: bool = False) -> None:
    """Take a work tree away; git refuses one with changes unless ``by_force``. Raises GitError."""
    force = ("--force", "--force") if by_force else ()
    repo.git("worktree", "remove", *force, str(path), at=repo.common_dir)
    with contextlib.suppress(OSError):  # not empty: other tasks are there
        path.parent.rmdir()
        path.parent.parent.rmdir()


def hooks_folder(repo: Repository) -> Path:
    """Return where the hooks of tasks' work trees are."""
    return repo.own_dir / "hooks"


def email(agent: str) -> str:
    """Return the address under which an agent commits."""
    return f"{agent}@agents.agentcom.invalid"


def set_up(repo: Repository, path: Path, task_id: str, agent: str, branch: str, base: str, remote: str) -> None:
    """Let a work tree know whose it is; doing it again mends it. Raises OSError, FlowError."""
    _write_hooks(hooks_folder(repo))
    values = {
        "user.name": agent,
        "user.email": email(agent),
        "commit.gpgSign": "false",
        "tag.gpgSign": "false",
        "core.hooksPath": str(hooks_folder(repo)),
        f"{SECTION}.task": task_id,
        f"{SECTION}.agent": agent,
        f"{SECTION}.branch": branch,
        f"{SECTION}.base": base,
        f"{SECTION}.remote": remote or "none",
    }
    now = _own_values(repo, path)
    for key, value in values.items():
        if now.get(key.lower()) != value:
            repo.git("config", "--worktree", key, value, at=path)


def allow_own_settings(repo: Repository) -> None:
    """Let each work tree have settings of its own, without a change for those that are there.

    As git-worktree(1) asks, ``core.bare`` and ``core.worktree``, which would hold in all of them, move to the first
    one's. Raises FlowError.
    """
    shared = str(repo.common_dir / "config")
    if _value(repo, shared, _EXTENSION) == "true":
        return
    first = str(repo.common_dir / "config.worktree")
    for key in ("core.worktree", "core.bare"):
        value = _value(repo, shared, key)
        if value and value != "false":
            _patiently(repo, "config", "--file", first, key, value)
            _patiently(repo, "config", "--file", shared, "--unset", key)
    _patiently(repo, "config", "--file", shared, _EXTENSION, "true")


def _own_values(repo: Repository, path: Path) -> Mapping[str, str]:
    try:
        out = repo.git("config", "--worktree", "-z", "--list", at=path)
    except GitError:
        return {}  # there is no file of its own yet
    return dict(item.partition("\n")[::2] for item in out.split("\0") if item)


def _value(repo: Repository, file: str, key: str) -> str:
    try:
        return repo.git("config", "--file", file, "--get", key, at=repo.common_dir)
    except GitError:
        return ""


def _patiently(repo: Repository, *argv: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            repo.git(*argv, at=repo.common_dir)
            return
        except GitError as error:
            if error.code == 5 and "--unset" in argv:
                return  # another command has just done it
            if "could not lock config file" not in error.stderr or not left:
                raise Misconfigured(f"the repository's configuration cannot be written: {words(error)}") from None
            import random

            time.sleep(PAUSE_S * random.random())  # noqa: S311 - two commands shall not meet again


def _write_hooks(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in hooktext.texts().items():
        path = folder / name
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o111:
                continue
        temporary = folder / f".{name}.{os.urandom(6).hex()}"
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.replace(path)
