"""Which part of a tree belongs to people and which to the hub.

Paths are owned, never shared (DESIGN 1). This module decides where the border runs for a given ``root``, compares the
people's part of two trees by ids alone, and says which sources the hub must not observe. It knows no state branch.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coordinator.git.objects import MODES, TreeEntry, parse_tree, read_headers, read_objects
from coordinator.git.run import GitError
from coordinator.ports import HUB_FOLDERS


@dataclass(frozen=True, slots=True)
class Layout:
    """Where BACKLOG.md, tasks/, agents/ and the hub's folders lie: ``root`` is a folder, "" the repository's top."""

    root: str

    @classmethod
    def of(cls, root: str) -> "Layout":
        """Return the layout for ``root`` as people write it. Raises ValueError when it is no folder inside the tree."""
        path = PurePosixPath(root or ".")
        wrong = path.is_absolute() or any(part == ".." or part.lower() == ".git" for part in path.parts)
        if wrong or any(ord(c) < 32 or c == "\\" for c in root):
            raise ValueError(f"root: {root!r} must name a folder inside the repository, such as .agentcom")
        return cls("" if str(path) == "." else str(path))

    def path(self, relative: str) -> str:
        """Return the path in the repository of a path relative to root."""
        return f"{self.root}/{relative}" if self.root else relative

    def relative(self, path: str) -> str | None:
        """Return a repository path relative to root, None when it lies elsewhere."""
        if not self.root:
            return path
        return path[len(self.root) + 1 :] if path.startswith(f"{self.root}/") else None

    @property
    def hub_paths(self) -> tuple[str, ...]:
        """The hub's folders as repository paths."""
        return tuple(self.path(folder) for folder in HUB_FOLDERS)

    @property
    def spine(self) -> tuple[str, ...]:
        """Every folder above a hub folder, "" (the top) first: only there have people and hub both a part."""
        above = {
            "" if str(parent) == "." else str(parent)
            for path in self.hub_paths
            for parent in PurePosixPath(path).parents
        }
        return tuple(sorted(above))

    def is_hub_file(self, relative: str) -> bool:
        """Tell whether a path relative to root is a clean path of a file inside a hub folder."""
        clean = all(part not in {"", ".", ".."} and part.lower() != ".git" for part in relative.split("/"))
        return clean and "\0" not in relative and any(relative.startswith(f"{folder}/") for folder in HUB_FOLDERS)


#: The people's part of one tree: repository path -> entry, folders of the spine taken apart, all else whole.
Part = Mapping[str, TreeEntry]

#: The rows of each spine folder of one tree, by the folder's path and the name.
Spine = Mapping[str, Mapping[str, TreeEntry]]


def people_parts(git_dir: Path, commits: Sequence[str], layout: Layout) -> list[Part]:
    """Return the people's part of each commit (or tree). Two parts are equal exactly when the trees without the hub's
    folders, and without folders that this leaves empty, are equal. Raises GitError when a commit cannot be read.
    """
    return [part_of(spine, layout) for spine in read_spines(git_dir, commits, layout)]


def source_problems(git_dir: Path, commit: str, layout: Layout, name: str, *, first: bool) -> tuple[str, ...]:
    """Return why this source commit must not be observed, one text each; empty means that it may.

    ``name`` is how people call the source (``main``). With ``first`` (nothing was observed yet) anything that stands at
    a hub path is a problem, because the first observation would leave it out and the first pull would delete it; later
    on it is ignored, and only what is no folder and twins that differ in case count (DECISIONS, git rules). Where both
    have a part the hub writes folders anew, so there every row must be one that git itself would write. Raises GitError
    when the commit cannot be read.
    """
    (spine,) = read_spines(git_dir, (commit,), layout)
    wanted = dict.fromkeys(layout.hub_paths, "the hub's folder")
    wanted.update({folder: "a folder of AgentCom" for folder in layout.spine if folder})
    problems = _odd_rows(git_dir, spine, layout, name)
    for folder, rows in sorted(spine.items()):
        below = {path.rpartition("/")[2]: path for path in wanted if path.rpartition("/")[0] == folder}
        folded = {leaf.casefold(): leaf for leaf in below}
        for leaf, entry in sorted(rows.items()):
            path = f"{folder}/{leaf}" if folder else leaf
            shown = _shown(path)
            twin = folded.get(leaf.casefold())
            if twin is not None and twin != leaf:
                problems.append(
                    f"{shown} on {name} differs from {below[twin]}/ only in case, on many disks they are one folder: "
                    f"rename it, or write `root: .agentcom` into agentcom.yaml"
                )
            elif leaf in below and not entry.is_folder:
                problems.append(
                    f"{shown} on {name} is no folder, but {wanted[path]} must stand there: "
                    f"rename it, or write `root: .agentcom` into agentcom.yaml"
                )
            elif first and path in layout.hub_paths:
                problems.append(
                    f"{shown}/ stands on {name} already, but AgentCom keeps its own files there: "
                    f"rename it, or write `root: .agentcom` into agentcom.yaml"
                )
    return tuple(problems)


def _odd_rows(git_dir: Path, spine: Spine, layout: Layout, name: str) -> list[str]:
    """Say which rows of the spine git itself would not write: no such mode, no such name, another type of object."""
    problems: list[str] = []
    sound: list[tuple[str, TreeEntry]] = []
    for folder, rows in sorted(spine.items()):
        for leaf, entry in sorted(rows.items()):
            path = f"{folder}/{leaf}" if folder else leaf
            if not _is_name(leaf):
                problems.append(f"{_shown(path)!r} on {name} is no name for a file: rename it, and see git fsck")
            elif entry.mode not in MODES:
                problems.append(
                    f"{_shown(path)} on {name} has the mode {entry.mode}, which git does not know: add it anew"
                )
            elif path not in layout.hub_paths and MODES[entry.mode] is not None:
                sound.append((path, entry))
    heads = read_headers(git_dir, [entry.oid for _, entry in sound])
    for (path, entry), head in zip(sound, heads, strict=True):
        if head is None:
            what = f"{_shown(path)} is missing from the repository: git fsck shows what is missing"
            raise GitError(("cat-file", "--batch-check"), None, what)
        if head[1] != MODES[entry.mode]:
            problems.append(f"{_shown(path)} on {name} says {MODES[entry.mode]} but is a {head[1]}: see git fsck")
    return problems


def _is_name(leaf: str) -> bool:
    """Tell whether git would check out a file of this name; what some disk takes for ``.git`` it would not."""
    bare = "".join(char for char in leaf if unicodedata.category(char) != "Cf").rstrip(" .").casefold()
    return leaf not in {"", ".", ".."} and "/" not in leaf and bare not in {".git", "git~1"}


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def read_spines(git_dir: Path, commits: Sequence[str], layout: Layout) -> list[Spine]:
    """Return the rows of every spine folder that each commit (or tree) has, in one process.

    Raises GitError when a commit cannot be read.
    """
    names = [f"{commit}:{folder}" for commit in commits for folder in layout.spine]
    found = iter(read_objects(git_dir, names))
    spines: list[Spine] = []
    for commit in commits:
        trees = {folder: next(found) for folder in layout.spine}
        if trees[""] is None:
            raise GitError(("cat-file", "--batch"), None, f"commit {commit} is missing or damaged: run git fsck")
        spines.append(
            {path: parse_tree(tree) for path, tree in trees.items() if tree is not None and tree.type == "tree"}
        )
    return spines


def part_of(spine: Spine, layout: Layout) -> Part:
    """Return the people's part of the tree whose spine this is."""
    apart = {*layout.hub_paths, *spine}
    part: dict[str, TreeEntry] = {}
    for folder, rows in spine.items():
        for leaf, entry in rows.items():
            path = f"{folder}/{leaf}" if folder else leaf
            if path not in apart:
                part[path] = entry
    return part
