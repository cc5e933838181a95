"""The repository and its source branch, read only and from git objects, never from a work tree.

This module decides what counts as a usable repository, what a ref names now, and which source commits have something to
say. It writes nothing.

    RepoError                   the repository is not one that AgentCom can work in; the text says what to do
      +-- NoRepository          there is none at that place
      +-- Shallow               its history is cut off
      +-- PartialClone          its objects are elsewhere
      +-- BranchInTheWay        a branch named ``agentcom`` leaves no room for ``agentcom/state``
"""

import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from coordinator.git import objects
from coordinator.git.message import EPOCH, parse_trailers
from coordinator.git.parts import Layout, people_parts, source_problems
from coordinator.git.run import GitError, git
from coordinator.place import STATE_TIP
from coordinator.ports import Author, Entry, SourceUnreadable, Version

#: The hub's branch.
STATE_REF = "refs/heads/agentcom/state"

#: How far back the authors of files are looked up at the first observation, in commits that touch them.
MAX_AUTHOR_COMMITS = 5000

#: Of so many files in the hub's folders the history is asked whether a hub ever wrote them so; git is slow at that.
MAX_STRAYS = 20

CONFIRM = "Agentcom-Confirm"

#: The settings that make a clone a partial one.
_PROMISOR = r"^(remote\..*\.promisor|extensions\.partialclone)$"
_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class RepoError(Exception):
    """The repository is not one that AgentCom can work in."""


class NoRepository(RepoError):
    """There is no git repository at that place."""


class Shallow(RepoError):
    """The clone does not have its whole history."""


class PartialClone(RepoError):
    """The clone fetches its objects only when they are needed."""


class BranchInTheWay(RepoError):
    """A branch named ``agentcom`` leaves no room for branches below that name."""


@dataclass(frozen=True, slots=True)
class Repo:
    """One repository: ``git_dir`` is this work tree's, ``common_dir`` the one that all work trees share.

    ``work_tree`` is None in a bare repository; ``object_format`` is ``sha1`` or ``sha256``.
    """

    git_dir: Path
    common_dir: Path
    work_tree: Path | None
    object_format: str

    @property
    def bare(self) -> bool:
        return self.work_tree is None

    @property
    def agentcom_dir(self) -> Path:
        """Where AgentCom keeps what belongs to this clone and to no branch."""
        return self.common_dir / "agentcom"


def find_repo(directory: Path) -> Repo:
    """Return the repository that ``directory`` lies in: work tree, linked work tree or bare. Raises NoRepository."""
    try:
        out = git(
            "rev-parse",
            "--path-format=absolute",
            "--git-dir",
            "--git-common-dir",
            "--show-object-format",
            "--is-inside-work-tree",
            cwd=directory,
        )
        git_dir, common_dir, object_format, inside = (
            out.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
        )
        work_tree = None
        if inside == "true":
            shown = git("rev-parse", "--path-format=absolute", "--show-toplevel", cwd=directory)
            work_tree = Path(shown.decode("utf-8", "surrogateescape").removesuffix("\n"))
    except GitError as error:
        if "not a git repository" in error.stderr:
            raise NoRepository(
                f"{directory} is not inside a git repository: run `git init` or `agentcom init` there, "
                f"or name the repository with --repo"
            ) from error
        raise NoRepository(f"{directory} cannot be used as a repository: {error.stderr}") from error
    return Repo(Path(git_dir), Path(common_dir), work_tree, object_format)


def check_repo(repo: Repo) -> None:
    """Raise a RepoError when the hub cannot work in this repository: shallow, partial, or no room for its branch."""
    if (repo.common_dir / "shallow").exists():
        raise Shallow(f"{_place(repo)} is a shallow clone: run `git fetch --unshallow` first")
    promisor = git("config", "--get-regexp", _PROMISOR, git_dir=repo.git_dir, check=False)
    if any(
        line.split(" ", 1)[-1].lower() not in {"false", "no", "0", "off"} for line in promisor.decode().splitlines()
    ):
        raise PartialClone(f"{_place(repo)} is a partial clone: make a whole clone (without --filter) for the hub")
    if read_ref(repo, "refs/heads/agentcom") is not None:
        raise BranchInTheWay(
            f"{_place(repo)} has a branch named agentcom, which leaves no room for agentcom/state: "
            f"rename it with `git branch -m agentcom NEW-NAME`"
        )


def head_ref(repo: Repo) -> str | None:
    """Return the full ref that HEAD names (``refs/heads/main``), born or not; None when HEAD is detached."""
    out = git("symbolic-ref", "-q", "HEAD", git_dir=repo.git_dir, check=False)
    return out.decode("utf-8", "surrogateescape").strip() or None


def read_ref(repo: Repo, ref: str) -> str | None:
    """Return the object id that a full ref names now, None when it does not exist.

    Reads the files where git keeps them, so that looking every second costs no process; other ref formats and symbolic
    refs are asked of git. Raises GitError when the ref is broken.
    """
    if (repo.common_dir / "reftable").is_dir():
        return _ask_ref(repo, ref)
    for _ in range(2):  # between the two reads git may have moved the ref from the one place to the other
        loose = _read_bytes(repo.common_dir / ref)
        if loose is not None:
            value = loose.decode("ascii", "replace").strip()
            if _OID.fullmatch(value):
                return value
            if value.startswith("ref:"):
                return _ask_ref(repo, ref)
            raise GitError(("show-ref", ref), None, f"{ref} is broken, it holds {value[:60]!r}: run git fsck")
        packed = _read_bytes(repo.common_dir / "packed-refs") or b""
        at = (b"\n" + packed).find(b" " + ref.encode("utf-8", "surrogateescape") + b"\n")
        if at >= 0:
            value = (b"\n" + packed)[:at].rpartition(b"\n")[2].decode("ascii", "replace")
            if _OID.fullmatch(value):
                return value
    return None


def tracking_ref(remote: str, ref: str) -> str:
    """Return where a clone keeps what it knows of a remote's branch ``ref``: ``refs/remotes/origin/main``."""
    return f"refs/remotes/{remote}/{ref.removeprefix('refs/heads/')}"


def trail_ref(repo: Repo, remote: str | None = None) -> str:
    """Return where this clone sees the hub's branch: its own one, else that of a remote as it was fetched last.

    The hub's ``remote`` comes before any other, then ``origin``. An own one that no hub of this clone wrote, and that
    the remote's contains, is one that somebody checked out once to look at it.

    Without either it is the own one, which does not exist yet. Raises GitError when refs cannot be read.
    """
    own = read_ref(repo, STATE_REF)
    if own is not None and (repo.agentcom_dir / STATE_TIP).exists():
        return STATE_REF
    out = git("for-each-ref", "--format=%(refname)", "refs/remotes/*/agentcom/state", git_dir=repo.common_dir)
    names = out.decode("utf-8", "surrogateescape").split()
    first = (f"refs/remotes/{name}/agentcom/state" for name in (remote, "origin") if name)
    found = next((name for name in (*first, *names) if name in names), None)
    if found is None or (own is not None and not _contains(repo, found, own)):
        return STATE_REF
    return found


def _contains(repo: Repo, ref: str, commit: str) -> bool:
    """Tell whether a ref leads to a commit, as far as both can be read."""
    try:
        tip = read_ref(repo, ref)
        return tip is not None and is_ancestor(repo, commit, tip)
    except GitError:
        return False


def is_ancestor(repo: Repo, commit: str, of: str) -> bool:
    """Tell whether ``commit`` is ``of`` or one of its ancestors. Raises GitError when either cannot be read."""
    if commit == of:
        return True
    try:
        git("merge-base", "--is-ancestor", commit, of, git_dir=repo.common_dir)
    except GitError as error:
        if error.code == 1:
            return False
        raise
    return True


P = ParamSpec("P")
T = TypeVar("T")


def _named(read: Callable[P, T]) -> Callable[P, T]:
    """Name by its remedy what git refused: the source cannot be read now."""

    @functools.wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except GitError as error:
            raise SourceUnreadable(error.stderr or str(error)) from error
        except OSError as error:
            raise SourceUnreadable(str(error)) from error

    return reading


class GitSource:
    """The source branch of a real repository; keeps the contract of ``coordinator.ports.Source``.

    Whatever git refuses to read is SourceUnreadable. Holds nothing between calls, so it may be used from several
    threads. ``remote`` says whether the hub has a remote configured: then a commit that changes nothing of the people's
    part is not observed (DECISIONS 4).
    """

    def __init__(
        self, repo: Repo, ref: str, root: str = ".", *, remote: bool = False, state_ref: str = STATE_REF
    ) -> None:
        self._repo = repo
        self._ref = ref
        self._layout = Layout.of(root)
        self._remote = remote
        self._state_ref = state_ref

    @_named
    def tip(self) -> str | None:
        """Return the commit that the source ref names now, None when the ref does not exist."""
        return read_ref(self._repo, self._ref)

    @_named
    def problems(self, commit: str, *, first: bool) -> tuple[str, ...]:
        """Return why ``commit`` must not be observed, in words; ``first``: before anything was observed.

        Raises SourceUnreadable also for an object that the observation would have to make durable and that is missing.
        """
        name = self._ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        problems = source_problems(self._repo.common_dir, commit, self._layout, name, first=first)
        state = read_ref(self._repo, self._state_ref)
        if not problems and state is not None:
            self._git("rev-list", "--objects", "--no-object-names", commit, "--not", state)
        return problems

    @_named
    def needs_observation(self, commit: str, observed: str | None) -> bool:
        """Tell whether a source tip says something that the state branch does not say yet (DECISIONS 4)."""
        if observed is None:
            return True
        if commit == observed:
            return False
        new, old = people_parts(self._repo.common_dir, (commit, observed), self._layout)
        if new != old:
            return True
        state = read_ref(self._repo, self._state_ref)
        if state is not None and is_ancestor(self._repo, commit, state):
            return False
        return not self._remote or any(
            parse_trailers(c.message).get(CONFIRM) for c in self._new_commits(commit, observed)
        )

    @_named
    def entries(self, commit: str) -> Mapping[str, Entry]:
        """Return BACKLOG.md, agentcom.yaml and the direct children of tasks/ and agents/, relative to root.

        A tasks/ or agents/ that is no folder is an entry of its own.
        """
        path = self._layout.path
        folders = (path("tasks"), path("agents"))
        wanted = ("agentcom.yaml", path("BACKLOG.md"), *(f"{folder}/" for folder in folders))
        out = self._git("ls-tree", "-l", "-z", "--full-tree", commit, "--", *wanted)
        entries: dict[str, Entry] = {}
        for row in out.split(b"\0")[:-1]:
            head, _, raw = row.partition(b"\t")
            mode, _, oid, size = head.decode().split()
            name = raw.decode("utf-8", "backslashreplace")
            key = name if name == "agentcom.yaml" else self._layout.relative(name)
            if key is not None:
                entries[key] = Entry(mode, oid, _size(size))
        for folder in ("tasks", "agents"):
            self._add_if_no_folder(entries, commit, folder)
        return entries

    @_named
    def strays(self, commit: str) -> tuple[str, ...]:
        """Return files in the hub's folders, relative to root, that hold what no hub ever wrote there.

        Compared with where the two branches met last, with the state branch now, and then, for a few, with its history.
        """
        folders = self._layout.hub_paths
        if not self._git("ls-tree", "--full-tree", "--name-only", commit, "--", *folders):
            return ()  # nobody pulled the hub's files here
        state = read_ref(self._repo, self._state_ref)
        base = "" if state is None else self._merge_base(commit, state)
        if state is None or not base:
            return ()
        how = ("-r", "-z", "--no-renames", "--full-index", "--diff-filter=AMT")
        out = self._git("diff-tree", *how, base, commit, "--", *folders)
        rows = out.split(b"\0")[:-1]
        found = [
            (head.decode().split(" ")[3], raw.decode("utf-8", "backslashreplace"))
            for head, raw in zip(rows[::2], rows[1::2], strict=True)
            if not raw.endswith(b"/.gitattributes")
        ]
        now = self._blob_ids([f"{state}:{path}" for _, path in found])
        odd = [(oid, path) for (oid, path), there in zip(found, now, strict=True) if oid != there]
        strays = [path for oid, path in odd[:MAX_STRAYS] if not self._ever_written(state, oid, path)]
        strays += [path for _, path in odd[MAX_STRAYS:]]
        return tuple(sorted(name for path in strays if (name := self._layout.relative(path)) is not None))

    def _merge_base(self, commit: str, state: str) -> str:
        out = git("merge-base", commit, state, git_dir=self._repo.common_dir, check=False)
        return out.decode().partition("\n")[0].strip()

    def _ever_written(self, state: str, oid: str, path: str) -> bool:
        return bool(self._git("log", "--first-parent", "-n1", "--format=%H", f"--find-object={oid}", state, "--", path))

    @_named
    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        """Return the contents of blobs by id; one that is not there, no blob, or over ``largest`` bytes is left out."""
        return objects.read_blobs(self._repo.common_dir, oids, largest)

    @_named
    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        """Return the blob ids of BACKLOG.md that carry identity forward, oldest first (DECISIONS 3).

        Every first-parent commit since the last observation that changed the file counts; one that deleted it has no
        version. What is reachable from the state branch was observed before, however it came into the source. Before
        the first observation there is the tip's version alone, and so there is where the first parents do not lead back
        to the file as it was observed: a merge from the other side, a rewritten history.
        """
        path = self._layout.path("BACKLOG.md")
        if observed is None:
            (tip,) = self._blob_ids([f"{commit}:{path}"])
            return () if tip is None else (tip,)
        out = self._git("rev-list", "--first-parent", "--reverse", "--parents", commit, *self._seen(observed))
        rows = [row.split() for row in out.decode().splitlines()]
        start = rows[0][1:2] if rows else [commit]
        names = [observed, *start, *(row[0] for row in rows)]
        before, *line = self._blob_ids([f"{name}:{path}" for name in names])
        if not start:  # an unrelated history begins without the file
            line.insert(0, None)
        return walk(before, line)

    @_named
    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        """Return the last commit of each path changed since ``observed``; the key ``""`` is the tip itself.

        Keys are those of ``entries``. The version under ``""`` bears the confirmations of all new commits. A path that
        an older commit brought back (a rewind) has no version of its own: the tip's counts.
        """
        path = self._layout.path
        how = ("-z", "--format=%H", "--name-only", "--diff-merges=combined", f"-n{MAX_AUTHOR_COMMITS}")
        wanted = ("agentcom.yaml", path("BACKLOG.md"), path("tasks"), path("agents"))
        out = self._git("log", *how, commit, *self._seen(observed), "--", *wanted)
        last: dict[str, str] = {}
        at = commit
        for token in out.decode("utf-8", "backslashreplace").split("\0"):
            name = token.lstrip("\n")
            if _OID.fullmatch(name):  # no path asked for looks like an id
                at = name
            elif name:
                key = name if name == "agentcom.yaml" else self._layout.relative(name)
                if key is not None:
                    last.setdefault(key, at)
        oids = tuple(dict.fromkeys((commit, *last.values())))
        read = {c.oid: _version(c) for c in objects.read_commits(self._repo.common_dir, oids)}
        confirms = [c for new in self._new_commits(commit, observed) for c in _version(new).confirms]
        tip = read[commit]
        whole = Version(tip.commit, tip.author, tip.time_ms, tuple(dict.fromkeys(confirms)))
        return {"": whole, **{key: read[oid] for key, oid in last.items()}}

    def _git(self, *argv: str) -> bytes:
        return git(*argv, git_dir=self._repo.common_dir)

    def _seen(self, observed: str | None) -> tuple[str, ...]:
        """Return the arguments that leave out what was observed, or written by the hub, before."""
        if observed is None:
            return ()  # the first claim grows out of a source that nobody has observed yet
        state = read_ref(self._repo, self._state_ref)
        return tuple(f"^{commit}" for commit in (observed, state) if commit is not None)

    def _new_commits(self, commit: str, observed: str | None) -> Sequence[objects.CommitObject]:
        only = () if observed is not None else ("--grep", f"^{CONFIRM}:")  # at first, what was confirmed before any hub
        out = self._git("rev-list", f"-n{MAX_AUTHOR_COMMITS}", *only, commit, *self._seen(observed))
        return objects.read_commits(self._repo.common_dir, out.decode().split())

    def _blob_ids(self, names: Sequence[str]) -> list[str | None]:
        heads = objects.read_headers(self._repo.common_dir, names)
        return [head[0] if head is not None and head[1] == "blob" else None for head in heads]

    def _add_if_no_folder(self, entries: dict[str, Entry], commit: str, folder: str) -> None:
        if any(key.startswith(f"{folder}/") for key in entries):
            return
        out = self._git("ls-tree", "-l", "-z", "--full-tree", commit, "--", self._layout.path(folder))
        if out:
            mode, kind, oid, size = out.partition(b"\t")[0].decode().split()
            if kind != "tree":
                entries[folder] = Entry(mode, oid, _size(size))


def walk(before: str | None, line: Sequence[str | None]) -> tuple[str, ...]:
    """Return the versions of a file that follow the observed one, oldest first.

    ``before`` is the blob that was observed; ``line`` are the blobs along the first parents, from where they leave what
    was seen (at least that one). None is a missing file.
    """
    tip = line[-1]
    if tip is None or tip == before:
        return ()
    if line[0] != before:
        return (tip,)
    return tuple(new for old, new in itertools.pairwise(line) if new is not None and new != old)


def _version(commit: objects.CommitObject) -> Version:
    """Return who stands behind a source commit: on one that bears a hub's trailers, only its committer is believed."""
    trailers = parse_trailers(commit.message)
    who = commit.committer if EPOCH in trailers else commit.author
    return Version(commit.oid, Author(who.name, who.email), who.time_ms, trailers.get(CONFIRM, ()))


def _size(text: str) -> int:
    """Return the size that ``ls-tree -l`` names: ``-`` is none, ``BAD`` an object that is not there."""
    return int(text) if text.isdigit() else -1


def _ask_ref(repo: Repo, ref: str) -> str | None:
    out = git("rev-parse", "--verify", "--quiet", "--end-of-options", ref, git_dir=repo.common_dir, check=False)
    value = out.decode("ascii", "replace").strip().splitlines()
    return value[-1] if value and _OID.fullmatch(value[-1]) else None


def _read_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _place(repo: Repo) -> str:
    return str(repo.work_tree or repo.common_dir)
