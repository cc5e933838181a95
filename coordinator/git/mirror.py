"""A mirror of a repository that tasks work in: just enough of it to see whether work has come into its base.

Bare, without contents of files until somebody compares them, in the data directory of the hub. Only named branches are
fetched, and only when the remote says that one of them has moved.
"""

from collections.abc import Sequence
from pathlib import Path

from coordinator.git import address
from coordinator.git.remotes import network_env, words
from coordinator.git.run import GitError, Leash, git

#: How long one question to a remote may take, in seconds.
NETWORK_TIMEOUT_S = 120.0
_HEADS = "refs/heads/"
_FETCH = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=blob:none", "--force")


class Away(Exception):
    """The remote cannot be asked now; the text says why, without credentials. Trying again may help."""


class Mirror:
    """The mirror of one address in one folder; for one thread, but ``give_up`` may be called from any."""

    def __init__(self, folder: Path, url: str, *, timeout: float = NETWORK_TIMEOUT_S) -> None:
        self.git_dir = folder
        self._url = url
        self._timeout = timeout
        self._leash = Leash()

    def give_up(self) -> None:
        """End the call under way and every later one soon."""
        self._leash.pull()

    def look(self, branches: Sequence[str]) -> dict[str, str]:
        """Return branch -> commit for those of ``branches`` that the remote has; their commits are here then.

        Raises Away.
        """
        against = address.objection(self._url)
        if against is not None:
            raise Away(f"{address.shown(self._url)}: {against}")
        try:
            self._make()
            refs = [f"{_HEADS}{branch}" for branch in branches]
            there = self._ls(refs)
            have = self._have()
            moved = [ref for ref, commit in there.items() if have.get(ref) != commit]
            if moved:
                self._network("fetch", *_FETCH, "--end-of-options", "origin", *(f"+{ref}:{ref}" for ref in moved))
                have = self._have()
        except GitError as error:
            raise Away(words(error)) from None
        return {ref.removeprefix(_HEADS): have[ref] for ref in there if ref in have}

    def default_branch(self) -> str | None:
        """Return the branch that the remote's HEAD names, None when it names none. Raises Away."""
        try:
            self._make()
            out = self._network("ls-remote", "--symref", "--end-of-options", "origin", "HEAD").decode(
                "utf-8", "surrogateescape"
            )
        except GitError as error:
            raise Away(words(error)) from None
        ref = out.partition("\n")[0].removeprefix("ref: ").partition("\t")[0]
        return ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else None

    def _make(self) -> None:
        if not (self.git_dir / "HEAD").exists():
            git("init", "--quiet", "--bare", "--template=", "--end-of-options", str(self.git_dir), cwd=Path("/"))
            for key, value in (
                ("core.repositoryformatversion", "1"),
                ("extensions.partialclone", "origin"),
                ("remote.origin.promisor", "true"),
                ("remote.origin.partialclonefilter", "blob:none"),
                ("gc.auto", "0"),
            ):
                git("config", key, value, git_dir=self.git_dir)
        git("config", "remote.origin.url", self._url, git_dir=self.git_dir)

    def _ls(self, refs: list[str]) -> dict[str, str]:
        rows = self._network("ls-remote", "--refs", "--end-of-options", "origin", *refs)
        wanted = set(refs)
        found = (row.partition("\t") for row in rows.decode("utf-8", "surrogateescape").splitlines())
        return {ref: commit for commit, _, ref in found if ref in wanted}

    def _have(self) -> dict[str, str]:
        rows = git("for-each-ref", "--format=%(objectname) %(refname)", _HEADS, git_dir=self.git_dir)
        lines = rows.decode("utf-8", "surrogateescape").splitlines()
        return {ref: commit for commit, _, ref in (line.partition(" ") for line in lines)}

    def _network(self, *argv: str) -> bytes:
        return git(*argv, git_dir=self.git_dir, timeout=self._timeout, env=network_env(), leash=self._leash)
