"""Whether the work of a branch has come into its base: as it is, squashed into one commit, or rebased.

Reads one repository and decides from what stands there; nobody's word counts. How the repository comes to have the
commits is none of this module's business.
"""

from dataclasses import dataclass
from pathlib import Path

from coordinator.git import run
from coordinator.git.message import SOURCE
from coordinator.git.remotes import network_env
from coordinator.ports import Author

#: So many commits of the base are compared with the work, the newest ones that touch the same files.
COMPARED = 200
#: A larger change (files) is not looked for among squashed and rebased ones.
FILES = 1_000
#: How far back along the base the commit is looked for that brought the work in.
FIRST_PARENTS = 10_000
#: How long one command may take, in seconds: a mirror may have to fetch.
TIMEOUT_S = 120.0
#: Clocks differ: only what came into the base so long before the work began was there before, in seconds.
SKEW_S = 60
#: A mirror has no contents of files until they are compared, and is not to ask for a whole commit here.
_STAY_HERE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
_PATCH = ("-p", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index")


@dataclass(frozen=True, slots=True)
class Merge:
    """How the work came in: the commit of the base that has it, and who made that."""

    commit: str
    by: Author


def has(git_dir: Path, commit: str) -> bool:
    """Tell whether a repository has a commit, without asking another one for it."""
    kind = run.git("cat-file", "-t", "--end-of-options", commit, git_dir=git_dir, check=False, env=_STAY_HERE)
    return kind.strip() == b"commit"


def contains(git_dir: Path, commit: str, part: str) -> bool:
    """Tell whether ``part`` is ``commit`` or in its history; no when one of them is not there."""
    return _git("merge-base", "--end-of-options", part, commit, git_dir=git_dir, check=False).decode().strip() == part


def find(git_dir: Path, head: str, base: str, since_ms: int) -> Merge | None:
    """Return how the work up to ``head`` came into ``base`` (both commits), None while it has not.

    ``since_ms`` is when that work began: what the base had before is no work of it, whatever somebody says. Raises
    GitError.
    """
    fork = _git("merge-base", "--end-of-options", head, base, git_dir=git_dir, check=False).decode().strip()
    if fork == head:
        return None if _had_before(git_dir, head, base, since_ms) else _merge(git_dir, _brought_in(git_dir, head, base))
    if not fork:
        return None
    commit = _copied(git_dir, fork, head, base)
    return None if commit is None else _merge(git_dir, commit)


def _had_before(git_dir: Path, head: str, base: str, since_ms: int) -> bool:
    before = f"--before=@{since_ms // 1000 - SKEW_S}"
    old = _lines(git_dir, "rev-list", "--first-parent", "--max-count=1", before, "--end-of-options", base)
    return bool(old) and contains(git_dir, old[0], head)


def _brought_in(git_dir: Path, head: str, base: str) -> str:
    """Return the oldest commit on the base's own line that has ``head`` in its history.

    Where the base was pulled up to the trail, that one is the hub's, which observed what a person had made: then it is
    looked for on the line that was observed.
    """
    line = _lines(git_dir, "rev-list", "--first-parent", f"--max-count={FIRST_PARENTS}", "--end-of-options", base)
    if head in line:
        return head
    low, high = 0, len(line) - 1  # line[0] has it; find the last one that has
    while low < high:
        middle = (low + high + 1) // 2
        if contains(git_dir, line[middle], head):
            low = middle
        else:
            high = middle - 1
    observed = _observed(git_dir, line[low])
    if observed is not None and contains(git_dir, observed, head):
        return _brought_in(git_dir, head, observed)
    return line[low]


def _observed(git_dir: Path, commit: str) -> str | None:
    """Return the commit of people that a commit of the hub observed and has as a parent, None for any other commit."""
    how = f"--format=%P%x00%(trailers:key={SOURCE},valueonly,separator=%x20)"
    out = _git("log", "-1", "--no-show-signature", how, "--end-of-options", commit, git_dir=git_dir).decode()
    parents, _, source = out.strip("\n").partition("\0")
    return source if source in parents.split()[1:] else None


def _copied(git_dir: Path, fork: str, head: str, base: str) -> str | None:
    """Return the commit of the base with which all of the work stands there in other commits, None when it does not."""
    whole = _git("diff-tree", *_PATCH, "--end-of-options", fork, head, git_dir=git_dir)
    paths = _lines(git_dir, "diff-tree", "-r", "--name-only", "-z", "--no-renames", fork, head, by="\0")
    if not paths or len(paths) > FILES:
        return None
    since = (f"--max-count={COMPARED}", "--no-merges", base, f"^{fork}")
    theirs = _patch_ids(git_dir, _lines(git_dir, "rev-list", *since, "--", *paths))
    squashed = _patch_id(git_dir, whole)
    if squashed in theirs:
        return theirs[squashed]
    own = _lines(git_dir, "rev-list", "--no-merges", f"--max-count={COMPARED}", head, f"^{fork}")
    ours = list(_patch_ids(git_dir, own))
    if ours and all(patch in theirs for patch in ours):
        return theirs[ours[0]]
    return None


def _patch_id(git_dir: Path, patch: bytes) -> str:
    return _git("patch-id", "--stable", git_dir=git_dir, input=patch).decode().partition(" ")[0]


def _patch_ids(git_dir: Path, commits: list[str]) -> dict[str, str]:
    """Return patch id -> commit, the newest first; empty commits have none."""
    if not commits:
        return {}
    patches = _git("diff-tree", "--stdin", *_PATCH, git_dir=git_dir, input="\n".join(commits).encode() + b"\n")
    rows = _git("patch-id", "--stable", git_dir=git_dir, input=patches).decode().split()
    found: dict[str, str] = {}
    for patch, commit in zip(rows[::2], rows[1::2], strict=True):
        found.setdefault(patch, commit)
    return found


def _merge(git_dir: Path, commit: str) -> Merge:
    said = _git("log", "-1", "--no-show-signature", "--format=%an%x00%ae", "--end-of-options", commit, git_dir=git_dir)
    name, _, email = said.decode("utf-8", "replace").strip("\n").partition("\0")
    return Merge(commit, Author(name, email))


def _lines(git_dir: Path, *argv: str, by: str = "\n") -> list[str]:
    out = _git(*argv, git_dir=git_dir).decode("utf-8", "surrogateescape")
    return [line for line in out.split(by) if line]


def _git(*argv: str, git_dir: Path, input: bytes | None = None, check: bool = True) -> bytes:
    """Run git; it may ask the remote of a mirror for contents that are not there yet."""
    return run.git(*argv, git_dir=git_dir, input=input, check=check, timeout=TIMEOUT_S, env=network_env())
