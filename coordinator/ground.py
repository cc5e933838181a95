"""The ground under a command: which repository, which branch of it is the source, which folder is root.

Decided from git and from what init and the first hub wrote down; nothing is written here. Every command stands on it,
so it imports nothing that serves.

    CannotStart              (of ``coordinator.trail``) the repository cannot be used as it is
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coordinator.core.policy import Policy
from coordinator.files import layout, limits, loader
from coordinator.files.observe import POLICY, Known, Observer
from coordinator.files.problem import Problem
from coordinator.git.objects import read_objects
from coordinator.git.parts import Layout
from coordinator.git.recovery import last_known
from coordinator.git.remotes import hub_remote
from coordinator.git.repo import (
    STATE_REF,
    GitSource,
    Repo,
    head_ref,
    read_ref,
    tracking_ref,
    trail_ref,
)
from coordinator.git.run import GitError, git
from coordinator.place import Place
from coordinator.sourced import DEFAULT, Sourced, first
from coordinator.trail import CannotStart, root_in_force, usable_repo

#: Who settled source and root: the branch that the hub wrote, for good; ``--source`` and the like; init; git.
RECORDED = "agentcom/state, by the first start of a hub"
ASKED = "as asked for"
INIT = "agentcom init"
HEAD = "HEAD"
#: A text that looks as if it named the root, or meant to.
_ROOT = re.compile(rb"^[\s\"'{]*ro+t\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ground:
    """One repository as a command finds it: ``source_ref`` is a full ref name, ``root`` a folder (``.`` is the top).

    ``state_ref`` is where the hub's branch is seen from here: this clone's own, or a remote's as it was fetched last.
    ``remote`` is the one that the hub of this clone has, if it has one. ``source_from`` and ``root_from`` say who
    settled these two.
    """

    repo: Repo
    place: Place
    source_ref: str
    root: str
    state_ref: str = STATE_REF
    remote: str | None = None
    source_from: str = field(default=DEFAULT, compare=False)
    root_from: str = field(default=DEFAULT, compare=False)

    @property
    def watched_ref(self) -> str:
        """The ref that the hub reads: the source itself, with a remote only what was fetched of it."""
        return self.source_ref if self.remote is None else tracking_ref(self.remote, self.source_ref)

    @property
    def branch(self) -> str:
        """The source as people call it."""
        return _short(self.source_ref)

    @property
    def elsewhere(self) -> str | None:
        """The remote where another clone's hub keeps the trail; None where the hub runs here, or may."""
        if self.remote is not None or self.state_ref == STATE_REF:
            return None
        return self.state_ref.removeprefix("refs/remotes/").removesuffix("/agentcom/state")

    @property
    def to_push(self) -> str:
        """What a person must do so that the hub sees a commit of theirs; empty when it reads this clone."""
        remote = self.remote or self.elsewhere
        return "" if remote is None else f"the hub reads {remote}: `git push {remote} {self.branch}`"

    def path(self, relative: str) -> str:
        """Return the path in the repository of a path relative to root."""
        return Layout.of(self.root).path(relative)


def survey(directory: Path, source: str | None = None, default: str | None = None) -> Ground:
    """Find out which branch of which repository is the source.

    ``source`` is one asked for, ``default`` the full ref that the hub's remote would take. Raises CannotStart.
    """
    repo = usable_repo(directory)
    place = Place(repo.agentcom_dir)
    remote = hub_remote(repo)
    state = STATE_REF if place.has_written else trail_ref(repo, remote)
    ref = _source_ref(repo, place, source, state, default, remote)
    ground = Ground(repo, place, ref.value, ".", state, remote, ref.origin)
    root = _root_of(repo, ground.watched_ref, state)
    return replace(ground, root=root.value, root_from=root.origin)


def _source_ref(
    repo: Repo, place: Place, wanted: str | None, state: str, default: str | None, remote: str | None
) -> Sourced[str]:
    """Return the recorded source, else the one asked for, else init's, else the remote's, else HEAD's (DECISIONS 5)."""
    recorded = _recorded_source(repo, state)
    asked = None if wanted is None else wanted if wanted.startswith("refs/") else f"refs/heads/{wanted}"
    if recorded is not None:
        if asked not in (None, recorded):
            raise CannotStart(
                f"the source of this repository is {_short(recorded)} and cannot be changed to {wanted}: "
                f"start the hub without --source",
                78,
            )
        return Sourced(recorded, RECORDED)
    head = head_ref(repo)
    if asked is not None:
        _check_asked(repo, asked, head, remote)
    offers = ((asked, ASKED), (_of_init(repo, place, head), INIT), (default, "HEAD of the remote"), (head, HEAD))
    source = first("", *offers)
    found = source.value
    if not found:
        raise CannotStart("HEAD names no branch: switch to the branch that people work on, or name it by --source", 78)
    if found == "refs/heads/agentcom" or found.startswith("refs/heads/agentcom/"):
        raise CannotStart(
            f"{_short(found)} belongs to the hub and cannot be the source: switch to the branch that people work on", 78
        )
    return source


def _check_asked(repo: Repo, asked: str, head: str | None, remote: str | None) -> None:
    """Refuse a source that is not there, because the first claim records it for good."""
    try:
        git("check-ref-format", asked)
        exists = read_ref(repo, asked if remote is None else tracking_ref(remote, asked)) is not None
    except GitError:
        exists = False
    if not exists and asked != head:
        raise CannotStart(f"--source {_short(asked)}: there is no such branch; `git branch` lists them", 78)


def _of_init(repo: Repo, place: Place, head: str | None) -> str | None:
    """Return the branch that init found; a branch that was renamed since then gives way to the one checked out."""
    source = (place.read_init() or {}).get("source")
    if not isinstance(source, str) or not source.startswith("refs/heads/"):
        return None
    gone = read_ref(repo, source) is None and head is not None and read_ref(repo, head) is not None
    return None if gone else source


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _recorded_source(repo: Repo, state: str) -> str | None:
    """Return the source that the first claim recorded, whichever folder is root."""
    source = _recorded(repo, state).get("source")
    return source if isinstance(source, str) else None


def _recorded(repo: Repo, state: str) -> Mapping[str, Any]:
    """Return what the hub keeps of itself on its branch (status/hub.yaml), nothing before it ever ran."""
    root, commit = root_in_force(repo, state), last_known(repo, state)
    if root is None or commit is None:
        return {}
    (found,) = read_objects(repo.common_dir, [f"{commit.oid}:{Layout.of(root).path(layout.HUB)}"])
    said = loader.load_mapping(layout.HUB, found.data) if found is not None and found.type == "blob" else {}
    return said if isinstance(said, dict) else {}


def policy_in_force(ground: Ground) -> tuple[Policy, loader.Problems, bytes]:
    """Return the policy by which a hub goes on, what is wrong with agentcom.yaml now, and the text it was read from.

    The text is empty for the defaults. Raises SourceUnreadable.
    """
    source = GitSource(ground.repo, ground.watched_ref, ground.root)
    commit = source.tip()
    if commit is None:
        return Policy(root=ground.root), (), b""
    known = Known(accepted_policy=str(_recorded(ground.repo, ground.state_ref).get("policy", "")))
    policy, problems = Observer(source, ground.branch, ground.root).policy(commit, known)
    text = source.blobs((policy.blob,), limits.YAML_BYTES).get(policy.blob) if policy.blob else b""
    return policy, problems, text or b""


def _root_of(repo: Repo, ref: str, state: str) -> Sourced[str]:
    """Return the folder that the hub recorded; before any hub ran, the one that agentcom.yaml names on the source."""
    recorded = root_in_force(repo, state)
    if recorded is not None:
        return Sourced(recorded, RECORDED)
    commit = read_ref(repo, ref)
    policy = Policy() if commit is None else policy_at(repo, commit)
    named = policy.root if isinstance(policy, Policy) and policy.root != "." else None
    return first(".", (named, POLICY))


def policy_at(repo: Repo, commit: str) -> Policy | loader.Problems:
    """Return what agentcom.yaml says at a commit, or what is wrong with it. Raises SourceUnreadable."""
    data = _policy_text(repo, commit)
    if data is None:
        return (Problem(POLICY, what="cannot be read", hint="commit a plain file there that is not too large"),)
    return loader.load_policy(POLICY, data, "")


def unclear_root(repo: Repo, commit: str) -> loader.Problems:
    """Return what is wrong with agentcom.yaml where that leaves it open which folder is root, else nothing."""
    policy = policy_at(repo, commit)
    data = _policy_text(repo, commit)
    return policy if isinstance(policy, tuple) and (data is None or _ROOT.search(data)) else ()


def _policy_text(repo: Repo, commit: str) -> bytes | None:
    source = GitSource(repo, "refs/heads/none")
    entry = source.entries(commit).get(POLICY)
    return b"" if entry is None else source.blobs((entry.oid,), limits.YAML_BYTES).get(entry.oid)
