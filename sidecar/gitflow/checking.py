"""What stands in the way of the git flow here, from git's version to leftovers, each with what to do.

It looks, and changes nothing. The rights are asked for by a push that is only rehearsed.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.address import shown
from coordinator.git.run import GitError, git
from sidecar.gitflow import facts, finding, hooktext, records, remote, worktrees
from sidecar.gitflow.repository import ANSWER_S, Repository, base_name, find, remote_error
from sidecar.gitflow.values import FlowError

#: What the flow needs, and what it needs to see that work came into the base as other commits.
NEEDED, WISHED = (2, 36), (2, 38)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``level`` is ok, note or wrong; ``todo`` says what to do, "" for nothing."""

    name: str
    level: str
    text: str
    todo: str = ""


def check(directory: Path, *, offline: bool = False, environment: Mapping[str, str] | None = None) -> tuple[Check, ...]:
    """Look at everything that the flow needs; ``offline`` asks neither remote nor forge. Raises nothing of its own."""
    found = [_version()]
    if found[0].level == "wrong":
        return tuple(found)
    try:
        repo = find(directory, environment)
    except FlowError as error:
        return (*found, Check("repository", "wrong", *_split(str(error))))
    found.append(Check("repository", "ok", str(repo.main)))
    for name, look in _LOOKS:
        found += _guarded(name, look, repo)
    if not offline:
        for name, look in _ASKS:
            found += _guarded(name, look, repo)
    return tuple(found)


def _guarded(name: str, look: Callable[[Repository], Iterator[Check]], repo: Repository) -> list[Check]:
    try:
        return list(look(repo))
    except FlowError as error:
        return [Check(name, "wrong", *_split(str(error)))]
    except GitError as error:
        return [Check(name, "wrong", f"git says: {error}")]
    except OSError as error:
        return [Check(name, "wrong", f"{error.filename}: {error.strerror}")]


def _split(text: str) -> tuple[str, str]:
    """Return what is wrong and what to do of a refusal, which says both in this order."""
    at = max(text.rfind(": "), text.rfind("; "))
    return (text[:at], text[at + 2 :]) if at > 0 else (text, "")


def _version() -> Check:
    try:
        said = git("version").decode().strip()
    except GitError as error:
        return Check("git", "wrong", error.stderr, f"install git {_dotted(NEEDED)} or newer")
    match = re.search(r"(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < NEEDED:
        return Check("git", "wrong", said, f"install git {_dotted(NEEDED)} or newer")
    if version < WISHED:
        todo = f"git {_dotted(WISHED)} lets `agentcom-git prune` see what was squashed or rebased"
        return Check("git", "note", said, todo)
    return Check("git", "ok", said)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _identity(repo: Repository) -> Iterator[Check]:
    agent = finding.agent(repo)
    yield Check("agent", "ok", f"{agent}, who commits as {worktrees.email(agent)} in work trees of its tasks")


def _folder(repo: Repository) -> Iterator[Check]:
    folder = worktrees.default_folder(repo)
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Check("work trees", "ok", f"in {folder}")
    else:
        todo = "make it writable, or name another one: `git config agentcom-git.worktrees FOLDER`"
        yield Check("work trees", "wrong", f"{there} cannot be written", todo)


def _hooks(repo: Repository) -> Iterator[Check]:
    known = records.every(repo)
    if not known:
        return
    folder = worktrees.hooks_folder(repo)
    other = [name for name, text in hooktext.texts().items() if not _is(folder / name, text)]
    agent, task_id = known[0].agent, known[0].task_id
    if other:
        text = f"{', '.join(other[:3])}{' and more' if len(other) > 3 else ''} in {folder} missing or changed"
        yield Check("hooks", "wrong", text, f"`agentcom-git start-task {task_id} --agent {agent}` writes them anew")
    for record in known:
        path = Path(record.worktree)
        if facts.gone(repo, path):
            continue
        written = _written(repo, path)
        if written != str(folder):
            todo = f"`agentcom-git start-task {record.task_id} --agent {record.agent}` sets it up again"
            yield Check("hooks", "wrong", f"{path} does not use them (core.hooksPath: {written or 'not set'})", todo)
            other = [record.task_id]
    if not other:
        yield Check("hooks", "ok", f"in {folder}")


def _written(repo: Repository, path: Path) -> str:
    try:
        return repo.git("config", "--worktree", "--get", "core.hooksPath", at=path)
    except GitError:
        return ""


def _is(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text and bool(path.stat().st_mode & 0o111)
    except OSError:
        return False


def _large_files(repo: Repository) -> Iterator[Check]:
    try:
        attributes = repo.git("cat-file", "blob", "HEAD:.gitattributes")
    except GitError:
        return
    if "filter=lfs" not in attributes:
        return
    if shutil.which("git-lfs", path=repo.environment.get("PATH")):
        yield Check("large files", "ok", "git-lfs is installed")
    else:
        todo = "install git-lfs and run `git lfs install` if a task needs the files themselves"
        yield Check("large files", "note", "git-lfs is not installed: work trees hold pointers in their place", todo)


def _leftovers(repo: Repository) -> Iterator[Check]:
    known = records.every(repo)
    trees = {tree.path.resolve(): tree for tree in worktrees.listed(repo)}
    ours = worktrees.default_folder(repo).resolve()
    clean = True
    for record in known:
        again = f"`agentcom-git start-task {record.task_id} --agent {record.agent}` goes on"
        path = Path(record.worktree)
        if not record.ready:
            clean = False
            yield Check("leftovers", "note", f"{path}: its start was cut off", again)
        elif facts.gone(repo, path):
            clean = False
            yield Check("leftovers", "note", f"{path}: deleted by hand", f"{again}, `agentcom-git prune` forgets it")
    for path, tree in trees.items():
        if path.is_relative_to(ours) and path not in {Path(record.worktree).resolve() for record in known}:
            clean = False
            todo = f"`git worktree remove {worktrees.quoted(path)}` once nobody needs {tree.branch or 'it'}"
            yield Check("leftovers", "note", f"{path}: a work tree that no task here knows", todo)
    if clean:
        yield Check("leftovers", "ok", f"none; {len(known)} task{'' if len(known) == 1 else 's'} in work here")


def _remote(repo: Repository) -> Iterator[Check]:
    name = repo.remote()
    if not name:
        yield Check("remote", "ok", f"none: branches stay here, the base is {base_name(repo, '')}")
        return
    seen = remote.look(repo, name, base_name(repo, ""))
    address = shown(repo.urls[name])
    yield Check("remote", "ok", f"{name} ({address}) answers, its {seen.base} is {seen.base_commit[:12]}")
    remote.fetch(repo, name, seen, seen.base)
    agent = repo.settings.agent or "agentcom-git"
    rehearsed = f"{seen.base_commit}:refs/heads/{agent}/doctor"
    try:
        repo.git("push", "--dry-run", "--porcelain", "--end-of-options", name, rehearsed, timeout=ANSWER_S)
    except GitError as error:
        yield Check("rights", "wrong", *_split(str(remote_error(error, f"{name} takes no branch from here"))))
    else:
        yield Check("rights", "ok", f"{name} would take a branch {agent}/...")


def _forge(repo: Repository) -> Iterator[Check]:
    from sidecar.gitflow.forge.choosing import choose

    name = repo.remote()
    forge, why = choose(repo, name)
    if forge is not None:
        forge.find("agentcom-git/doctor", "")
        how = "a token" if repo.settings.token else "gh"
        yield Check("forge", "ok", f"answers, by {how}: submit opens pull requests")
    elif why:
        yield Check("forge", "wrong", "no token, and gh is not logged in", "set GITHUB_TOKEN, or `gh auth login`")
    elif name:
        yield Check("forge", "ok", "none: submit pushes the branch and prints a text to ask for its merge")


_LOOKS = (
    ("agent", _identity),
    ("work trees", _folder),
    ("hooks", _hooks),
    ("large files", _large_files),
    ("leftovers", _leftovers),
)
_ASKS = (("remote", _remote), ("forge", _forge))
