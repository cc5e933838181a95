"""The remote of a hub: fetch one branch, push the state branch forward, and say in values what came of it.

This module decides what git's answers mean, and never when anything is done (``coordinator/syncing.py`` does). Only
tracking refs are written here, by exact names: whatever else a remote is configured to fetch is a person's business.
A push names a commit and is never forced.
"""

import re

from coordinator.git.address import shown
from coordinator.git.remotes import network_env, words
from coordinator.git.repo import STATE_REF, Repo, read_ref, tracking_ref
from coordinator.git.run import GitError, Leash, git
from coordinator.git.slips import BY_HUB
from coordinator.ports import Answer, End

#: How long one fetch or push may take, in seconds.
NETWORK_TIMEOUT_S = 120.0
#: What asks a forge not to run its pipelines for a push.
SKIP_CI = ("-o", "ci.skip")

_DURABLE = ("core.fsync=all", "fetch.unpackLimit=1")
_FETCH = ("--quiet", "--no-tags", "--refmap=", "--no-write-fetch-head", "--no-prune", "--no-recurse-submodules")
_PUSH = ("--porcelain", "--no-follow-tags", "--no-recurse-submodules", "--no-force-with-lease", "--no-signed")
_NO_OPTIONS = "does not support push options"
#: A line of ``git push --porcelain``: flag, refs, and either a range or the reason in brackets.
_ROW = re.compile(r"^([ +\-*!=])\t[^\t]*\t(.*)$", re.MULTILINE)
_RANGE = re.compile(r"([0-9a-f]{4,64})\.\.\.?[0-9a-f]{4,64}")
_BEHIND = re.compile(
    r"\[rejected\] \((?:fetch first|non-fast-forward|needs force|stale info)\)"
    # it was moved while we pushed:
    r"|\[remote rejected\] \((?:failed to update ref|cannot lock ref|incorrect old value|reference already exists)"
)
_REASON = re.compile(r"\[(?:remote )?rejected\] \((.*)\)")
_REMOTE_WORDS = re.compile(r"^remote: ?(.*)$", re.MULTILINE)


class GitRemote:
    """One remote of a real repository; keeps the contract of ``coordinator.ports.Remote``.

    Not for two threads at once; ``give_up`` may be called from any.
    """

    def __init__(self, repo: Repo, name: str, source_ref: str = "", *, timeout: float = NETWORK_TIMEOUT_S) -> None:
        """``source_ref`` is the full ref of the source on the remote, ``timeout`` in seconds for each call."""
        self.name = name
        self._repo = repo
        self._source_ref = source_ref
        self._timeout = timeout
        self._leash = Leash()
        self._push_options = True

    def give_up(self) -> None:
        """End the call under way and every later one soon: the hub stops."""
        self._leash.pull()

    def fetch_source(self) -> Answer:
        """Bring the tracking ref of the source up to date; one that is gone there stays as it was here."""
        return self._fetch(self._source_ref)

    def fetch_state(self) -> Answer:
        """Bring the tracking ref of the state branch up to date; it is removed when the remote has none."""
        answer = self._fetch(STATE_REF)
        if answer.end is End.GONE:
            git("update-ref", "--no-deref", "-d", tracking_ref(self.name, STATE_REF), git_dir=self._repo.common_dir)
        return answer

    def default_branch(self) -> str | None:
        """Return the full ref that the remote's HEAD names, None when it says none or cannot be asked."""
        try:
            out = self._git("ls-remote", "--symref", "--end-of-options", self.name, "HEAD")
        except GitError:
            return None
        first = out.decode("utf-8", "surrogateescape").partition("\n")[0]
        ref = first.removeprefix("ref: ").partition("\t")[0]
        return ref if first.startswith("ref: refs/heads/") else None

    def known_state(self) -> str | None:
        """Return what the remote's state branch named when it was heard of last, None when nothing can tell."""
        try:
            return read_ref(self._repo, tracking_ref(self.name, STATE_REF))
        except GitError:
            return None

    def push_state(self, tip: str) -> Answer:
        """Let the remote's state branch go forward to ``tip``. Whether it takes push options is found out once."""
        try:
            try:
                out = self._push(tip, SKIP_CI if self._push_options else ())
            except GitError as error:
                if _NO_OPTIONS not in error.stderr:
                    raise
                self._push_options = False
                out = self._push(tip, ())
        except GitError as error:
            return _failed_push(error)
        before = _before(out.decode("utf-8", "replace"))
        self._remember(tip)
        return Answer(End.DONE, tip, tip if before is None else before)

    def _push(self, tip: str, options: tuple[str, ...]) -> bytes:
        return self._git("push", *_PUSH, *options, "--end-of-options", self.name, f"{tip}:{STATE_REF}")

    def _remember(self, tip: str) -> None:
        """Note what the remote has now; git does it only where the remote is configured to be tracked whole."""
        ref = tracking_ref(self.name, STATE_REF)
        git("update-ref", "--no-deref", "-m", "agentcom: push", ref, tip, git_dir=self._repo.common_dir)

    def _fetch(self, ref: str) -> Answer:
        to = tracking_ref(self.name, ref)
        try:
            self._mend(to)
            self._git("fetch", *_FETCH, "--end-of-options", self.name, f"+{ref}:{to}")
            return Answer(End.DONE, read_ref(self._repo, to))
        except GitError as error:
            gone = f"couldn't find remote ref {ref}" in error.stderr
            return Answer(End.GONE if gone else End.AWAY, words=words(error))

    def _mend(self, ref: str) -> None:
        """Drop a tracking ref that holds garbage: it only repeats what the remote says, and stops every fetch."""
        try:
            read_ref(self._repo, ref)
        except GitError:
            (self._repo.common_dir / ref).unlink(missing_ok=True)

    def _git(self, *argv: str) -> bytes:
        return git(
            *argv,
            git_dir=self._repo.common_dir,
            timeout=self._timeout,
            config=_DURABLE,
            env=network_env(),
            leash=self._leash,
        )


def count_unpushed(repo: Repo, own: str | None, theirs: str | None) -> int:
    """Return how many commits of a hub stand on ``own`` and not on ``theirs``. Raises GitError."""
    if own is None:
        return 0
    but = () if theirs is None else (f"^{theirs}",)
    return int(git("rev-list", "--count", *BY_HUB, own, *but, git_dir=repo.common_dir))


def _failed_push(error: GitError) -> Answer:
    """Say what a failed push means: the remote decided, or it could not be asked."""
    out = error.stdout.decode("utf-8", "replace")
    row = next((match[2] for match in _ROW.finditer(out) if match[1] == "!"), "")
    if _BEHIND.search(row):
        return Answer(End.BEHIND, words=shown(row))
    reason = _REASON.search(row)
    if reason is None:
        return Answer(End.AWAY, words=words(error))
    said = [match[1].strip() for match in _REMOTE_WORDS.finditer(error.stderr)]
    spoken = "; ".join(line for line in said if line)
    return Answer(End.REFUSED, words=shown(f"{spoken} ({reason[1]})" if spoken else reason[1]))


def _before(out: str) -> str | None:
    """Return what the remote's branch named before a good push, "" when it is new, None when it had the commit."""
    for match in _ROW.finditer(out):
        if match[1] == "*":
            return ""
        if span := _RANGE.search(match[2]):
            return span[1]
    return None
