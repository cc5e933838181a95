"""Which files stand in the hub's folders at one commit, and which tasks are finished there.

Read tree by tree and level by level, because a tree id says for ever what stands in it: finished days that are known by
their id are not read, it is only asked whether they are there. This module knows no ref and opens no file.
"""

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.git.objects import Object, parse_tree, read_headers, read_objects
from coordinator.git.parts import Layout
from coordinator.git.run import GitError

#: The ids of the tasks that one day holds, by the id of the day's tree.
Days = MutableMapping[str, tuple[str, ...]]

_CLOSED = "status/closed"
#: Folders on the way to a day, and days, relative to root; nothing else below ``status/closed`` has a meaning.
_ON_THE_WAY = re.compile(rf"{_CLOSED}(?:/\d{{4}}(?:/\d{{2}})?)?")
_DAY = re.compile(rf"{_CLOSED}/\d{{4}}/\d{{2}}/\d{{2}}")
#: One row of a tree, by the length of an id in it: the name alone when it is a status file.
_ROWS = {size: re.compile(rb"[0-7]+ [^\0]+\0.{%d}" % size, re.DOTALL) for size in (20, 32)}
_STATUS = re.compile(rb"1[0-7]+ ([a-z0-9][a-z0-9-]{0,63})\.yaml\0", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Listing:
    """Paths are relative to root: ``oids`` gives the object of each file outside ``status/closed``, ``closed`` the
    status path of each finished task by its id.
    """

    oids: dict[str, str] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)


def list_files(git_dir: Path, tree: str, layout: Layout, days: Days) -> Listing:
    """Return what stands in the hub's folders of a tree; days that are new are added to ``days``, others leave it.

    Raises GitError when a tree cannot be read.
    """
    listing = Listing()
    found: list[tuple[str, str]] = []
    spine, hub_paths = frozenset(layout.spine), frozenset(layout.hub_paths)
    level = [("", tree)]
    while level:
        below: list[tuple[str, str]] = []
        for (above, _), folder in zip(level, _trees(git_dir, [oid for _, oid in level]), strict=True):
            for name, entry in parse_tree(folder).items():
                path = f"{above}/{name}" if above else name
                if above in spine:
                    if entry.is_folder and (path in spine or path in hub_paths):
                        below.append((path, entry.oid))
                    continue
                relative = layout.relative(path) or ""
                if not entry.is_folder:
                    if not relative.startswith(f"{_CLOSED}/"):
                        listing.oids[relative] = entry.oid
                elif _DAY.fullmatch(relative):
                    found.append((relative, entry.oid))
                elif not f"{relative}/".startswith(f"{_CLOSED}/") or _ON_THE_WAY.fullmatch(relative):
                    below.append((path, entry.oid))
        level = below
    _read_days(git_dir, found, days)
    for path, oid in sorted(found):
        listing.closed.update((name, f"{path}/{name}.yaml") for name in days[oid])
    return listing


def _read_days(git_dir: Path, found: list[tuple[str, str]], days: Days) -> None:
    oids = {oid for _, oid in found}
    for oid in [oid for oid in days if oid not in oids]:
        del days[oid]
    known, new = sorted(days), sorted(oids - days.keys())
    for oid, head in zip(known, read_headers(git_dir, known), strict=True):
        if head is None:
            raise _missing(oid)
    for oid, folder in zip(new, _trees(git_dir, new), strict=True):
        days[oid] = _tasks_of(folder)


def _tasks_of(day: Object) -> tuple[str, ...]:
    """Return the ids of the tasks whose status stands in a day's folder."""
    rows = _ROWS[len(day.oid) // 2].findall(day.data)
    if sum(map(len, rows)) != len(day.data):
        raise GitError(("cat-file", "--batch"), None, f"tree {day.oid} is damaged: run git fsck")
    return tuple(match[1].decode() for row in rows if (match := _STATUS.match(row)))


def _trees(git_dir: Path, oids: list[str]) -> list[Object]:
    """Return the trees with these ids. Raises GitError when one of them is missing."""
    found: list[Object] = []
    for oid, item in zip(oids, read_objects(git_dir, oids), strict=True):
        if item is None or item.type != "tree":
            raise _missing(oid)
        found.append(item)
    return found


def _missing(oid: str) -> GitError:
    return GitError(("cat-file", "--batch"), None, f"tree {oid} is missing or damaged: run git fsck")
