"""The repository under examination: settings, files, locks, packs, damage, work trees. Nothing is written here."""

import time
from collections.abc import Iterator
from pathlib import Path

from coordinator.config import find
from coordinator.doctor.findings import Cure, Finding, bad, ok, warn
from coordinator.git.holders import may_be_held
from coordinator.git.recovery import BACKUP_REF
from coordinator.git.remotes import network_env, url_shown, words
from coordinator.git.repo import STATE_REF, read_ref
from coordinator.git.run import GitError, git
from coordinator.git.settings import WANTED, compare
from coordinator.ground import Ground, policy_at
from coordinator.trail import CannotStart

#: So many of the last commits are looked at object by object.
LAST_COMMITS = 20
#: How long that, and the answer of a remote, may take, in seconds.
PATIENCE = 60.0
REMOTE_PATIENCE = 20.0
#: A lock of git that stays for so long is nobody's, in seconds.
OLD_LOCK = 600.0
#: So many packs, or loose objects, are more than housekeeping leaves.
MANY_PACKS = 300
MANY_LOOSE = 20_000
SHOWN = 5

_LOCKS = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")


def settings(ground: Ground) -> Iterator[Finding]:
    """Say whether agentcom.yaml is right, and whether git is set up for a hub beside it."""
    commit = read_ref(ground.repo, ground.watched_ref)
    policy = () if commit is None else policy_at(ground.repo, commit)
    if commit is None:
        yield warn("config", f"{ground.branch} has no commit yet", "run `agentcom init`")
    elif isinstance(policy, tuple):
        for problem in policy:
            yield bad("config", str(problem), f"correct agentcom.yaml on {ground.branch} and commit it")
    else:
        yield ok("config", f"source {ground.branch}, root {ground.root}, agentcom.yaml is right")
    try:
        machine = find(None)
    except CannotStart as error:
        yield bad("config", str(error), "correct the hub's machine config: `agentcom hub` does not start with it")
    else:
        if machine.where is not None:
            yield ok("config", f"the hub's machine config is {machine.where}")
    wishes = compare(ground.repo)
    if wishes.missing:
        text = f"git config lacks {', '.join(wishes.missing)}"
        yield warn("config", text, "run `agentcom init`, which makes these settings", Cure.SET_UP_GIT)
    for key, value in wishes.otherwise.items():
        yield ok("config", f"git config {key} is {value}, as you set it; AgentCom would set {WANTED[key][0]}")


def locks(ground: Ground) -> Iterator[Finding]:
    """Say which locks a git that died has left."""
    git_dir, common = ground.repo.git_dir, ground.repo.common_dir
    found = {folder / name for folder in (git_dir, common) for name in _LOCKS if (folder / name).exists()}
    found |= set((common / "refs").rglob("*.lock"))
    left = [path for path in sorted(found) if _age(path) > OLD_LOCK and not may_be_held(path.resolve(), ground.repo)]
    for path in left:
        yield warn("locks", f"{path} was left {_age(path) / 60:.0f} min ago by a git that died", f"rm {path}")
    if not left:
        yield ok("locks", "no lock of git is left over")


def remote(ground: Ground) -> Iterator[Finding]:
    """Say whether the hub's remote answers."""
    name = ground.remote or ground.elsewhere
    if name is None:
        yield ok("remote", "none: the hub reads this clone")
        return
    url = url_shown(ground.repo, name)
    argv = ("ls-remote", "--quiet", "--end-of-options", name, STATE_REF)
    try:
        git(*argv, git_dir=ground.repo.common_dir, timeout=REMOTE_PATIENCE, env=network_env())
    except GitError as error:
        advice = "tasks go on meanwhile; check network and credentials: git ls-remote " + name
        yield bad("remote", f"{name} ({url}) does not answer: {words(error)}", advice)
    else:
        yield ok("remote", f"{name} ({url}) answers")


def health(ground: Ground) -> Iterator[Finding]:
    """Say how large the repository is, and whether its last commits are whole."""
    common = ground.repo.common_dir
    said = git("count-objects", "-v", git_dir=common).decode("utf-8", "replace")
    counted = {
        key: int(value) for key, _, value in (row.partition(": ") for row in said.splitlines()) if value.isdigit()
    }
    size = (counted.get("size", 0) + counted.get("size-pack", 0)) >> 10
    text = (
        f"{counted.get('in-pack', 0) + counted.get('count', 0):,} objects, {counted.get('packs', 0)} packs, "
        f"{counted.get('count', 0):,} loose, {size:,} MiB"
    )
    if counted.get("packs", 0) > MANY_PACKS or counted.get("count", 0) > MANY_LOOSE:
        advice = "let a hub run for a while, it rolls them up; `git gc` does too, and harms nothing"
        yield warn("size", text, advice)
    elif counted.get("garbage", 0):
        text += f", {counted['garbage']} files that are none of git's"
        yield warn("size", text, f"look what they are: git -C {common} count-objects -v")
    else:
        yield ok("size", text)
    yield from _damage(ground)


def _damage(ground: Ground) -> Iterator[Finding]:
    tips = {ref: read_ref(ground.repo, ref) for ref in (ground.state_ref, ground.watched_ref)}
    for ref, tip in tips.items():
        if tip is None:
            continue
        name = ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        argv = ("rev-list", "--objects", "--verify-objects", "--quiet", f"--max-count={LAST_COMMITS}", tip)
        try:
            git(*argv, git_dir=ground.repo.common_dir, timeout=PATIENCE, config=("core.commitGraph=false",))
        except GitError as error:
            if error.code is None:
                yield warn("objects", f"{name}: not looked at in {PATIENCE:g} s", f"git fsck --full {name}, in peace")
                continue
            whole = "the next `agentcom hub` restores it to its newest whole commit"
            advice = whole if ref == STATE_REF else "fetch it again from where it is whole, or `git fsck --full`"
            yield bad("objects", f"{name} is damaged: {'; '.join(error.stderr.splitlines()[:2])}", advice)
        else:
            yield ok("objects", f"the last {LAST_COMMITS} commits of {name} are whole")
    if tips[ground.state_ref] is not None and ground.elsewhere is None:
        backup = read_ref(ground.repo, BACKUP_REF)
        told = "no commit of the trail was checked yet" if backup is None else f"checked and kept: {backup[:12]}"
        yield ok("objects", f"{told} ({BACKUP_REF}; a running hub does it)")


def worktrees(ground: Ground) -> Iterator[Finding]:
    """Say which work trees stand on a branch that the hub moves."""
    rows = git("worktree", "list", "--porcelain", "-z", git_dir=ground.repo.common_dir).decode("utf-8", "replace")
    where = ""
    found = False
    for row in rows.split("\0"):
        key, _, value = row.partition(" ")
        if key == "worktree":
            where = value
        elif key == "branch" and value.startswith("refs/heads/agentcom/"):
            found = True
            name = value.removeprefix("refs/heads/")
            text = f"{where} stands on {name}, which the hub moves: git shows changes there that nobody made"
            yield warn("worktrees", text, f"git -C {where} switch {ground.branch}")
    if not found:
        yield ok("worktrees", "none stands on the hub's branch")


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
