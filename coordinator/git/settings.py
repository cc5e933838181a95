"""What a repository's own git configuration should say while AgentCom lives in it, and taking exactly that back.

This module decides what counts as set by somebody else: any value, from wherever git reads it, that means something
else. Such a value stays. The hub itself needs none of this, because it passes its own settings to every git; they are
for the git of people, which would pack beside the hub or leave their commits to the disk's mercy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.repo import Repo
from coordinator.git.run import GitError, git_as_person
from coordinator.sourced import Sourced

#: key -> (value, why it should be so)
WANTED: Mapping[str, tuple[str, str]] = {
    "gc.auto": ("0", "the hub packs, at low priority"),
    "gc.packRefs": ("false", "the state branch moves all the time"),
    "gc.pruneExpire": ("2.weeks", "what nothing names yet may be needed"),
    "receive.autogc": ("false", "the hub packs, at low priority"),
    "core.fsync": ("all", "what you commit is on disk before the hub hears of it"),
    "receive.unpackLimit": ("1", "a push stays one pack"),
    "fetch.unpackLimit": ("1", "a fetch stays one pack"),
}
#: The section that is ours alone.
SECTION = "agentcom"
_READ = frozenset(key.lower() for key in WANTED)
_NO = frozenset({"false", "no", "off", "0", ""})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is not set at all, to be set, and what somebody set otherwise: values by key."""

    missing: Mapping[str, str]
    otherwise: Mapping[str, str]


def compare(repo: Repo) -> Wishes:
    """Compare what git reads here with what is wanted. Raises GitError."""
    missing: dict[str, str] = {}
    otherwise: dict[str, str] = {}
    there = in_force(repo)
    for key, (value, _) in WANTED.items():
        found = there.get(key.lower())
        if found is None:
            missing[key] = value
        elif not _same(found.value, value):
            otherwise[key] = found.value
    return Wishes(missing, otherwise)


def in_force(repo: Repo) -> dict[str, Sourced[str]]:
    """Return what git reads here for the keys that are wanted, and for ours (``agentcom.*``), by lower-case key.

    Raises GitError.
    """
    out = git_as_person("config", "-z", "--show-origin", "--list", cwd=_top(repo)).decode("utf-8", "replace")
    words = out.split("\0")
    found: dict[str, Sourced[str]] = {}
    for origin, item in zip(words[::2], words[1::2], strict=False):
        key, _, value = item.partition("\n")
        if key in _READ or key.startswith(f"{SECTION}."):
            found[key] = Sourced(value, f"git config in {origin.removeprefix('file:')}")
    return found


def write(repo: Repo, values: Mapping[str, str]) -> None:
    """Set values in the repository's own configuration. Raises GitError."""
    for key, value in values.items():
        git_as_person("config", "--local", key, value, cwd=_top(repo))


def set_up(repo: Repo, made: Mapping[str, str], note: Callable[[Mapping[str, str]], None]) -> Wishes:
    """Make the settings that are missing; what is set already, by whomever, stays. Raises GitError.

    ``made`` are those that were made here before; all of them are noted before git is told.
    """
    wishes = compare(repo)
    if wishes.missing:
        note({**made, **wishes.missing})
        write(repo, wishes.missing)
    return wishes


def take_back(repo: Repo, ours: Mapping[str, str]) -> Mapping[str, str]:
    """Unset what still stands as it was set; return the values of what somebody changed since. Raises GitError."""
    changed: dict[str, str] = {}
    for key, value in ours.items():
        there = _own(repo, key)
        if there == [value]:
            git_as_person("config", "--local", "--unset", key, cwd=_top(repo))
        elif there:
            changed[key] = there[-1]
    return changed


def _own(repo: Repo, key: str) -> list[str]:
    try:
        out = git_as_person("config", "--local", "-z", "--get-all", key, cwd=_top(repo))
    except GitError as error:
        if error.code == 1:  # it is not set
            return []
        raise
    return out.decode("utf-8", "replace").split("\0")[:-1]


def _same(one: str, other: str) -> bool:
    one, other = one.strip().lower(), other.lower()
    return one.removesuffix(".ago") == other or (one in _NO and other in _NO)


def _top(repo: Repo) -> Path:
    return repo.work_tree or repo.common_dir
