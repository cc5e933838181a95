"""The repository that a command was called in: where it is, how it is set up, and what git says of it.

This module runs git and decides nothing about tasks. Every command of the flow begins with ``find``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.git.address import ALLOWED, shown
from coordinator.git.run import GitError, git
from sidecar.gitflow import settings as reading
from sidecar.gitflow.naming import ref_objection
from sidecar.gitflow.settings import NO_REMOTE, SECTION, Settings
from sidecar.gitflow.values import Misconfigured, NotAllowed, NoWorkplace, Unreachable

#: How long the remote may take for an answer, and for a transfer, in seconds.
ANSWER_S = 60.0
TRANSFER_S = 600.0
#: Few protocols, and no questions.
NETWORK = {"GIT_ALLOW_PROTOCOL": ALLOWED, "SSH_ASKPASS_REQUIRE": "never"}
#: For checking out and rebasing, in seconds.
LOCAL_S = 600.0

_ADVICE = ("hint:", "To ", "Please make sure", "and the rep", "remote: error:", "error: failed to push some refs")
_NO_RIGHTS = re.compile(
    r"permission (?:to .* )?denied|authentication failed|could not read (?:username|password)|error: 40[13]|"
    r"access denied|insufficient permission|terminal prompts disabled|not allowed|unauthorized",
    re.IGNORECASE,
)
_NOT_SPOKEN = re.compile(r"transport '(\S+)' not allowed")
_WHERE = ("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir")
#: What a git operation leaves in the git directory while it waits for somebody.
_UNDER_WAY = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository seen from one place: ``top`` is the work tree there (the git directory in a bare one).

    ``urls`` are the remotes' addresses, ``environment`` the variables of the command.
    """

    top: Path
    git_dir: Path
    common_dir: Path
    settings: Settings
    urls: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def own_dir(self) -> Path:
        """Where AgentCom keeps what belongs to this clone."""
        return self.common_dir / "agentcom"

    @property
    def main(self) -> Path:
        """The folder that people know as the repository: its first work tree, or itself when it is bare."""
        return self.common_dir.parent if self.common_dir.name == ".git" else self.common_dir

    def git(self, *argv: str, at: Path | None = None, input: bytes | None = None, timeout: float = LOCAL_S) -> str:
        """Run git in a work tree (default: this one) and return what it printed. Raises GitError."""
        out = git(*argv, cwd=at or self.top, input=input, timeout=timeout, env=NETWORK)
        return out.decode("utf-8", "surrogateescape").removesuffix("\n")

    def says(self, *argv: str, at: Path | None = None) -> bool:
        """Tell whether a git command ends with 0; 1 means no. Raises GitError for anything else."""
        try:
            git(*argv, cwd=at or self.top)
        except GitError as error:
            if error.code == 1:
                return False
            raise
        return True

    def resolve(self, name: str, at: Path | None = None) -> str:
        """Return the commit that a full ref or HEAD names, "" when there is none."""
        out = git("rev-parse", "-q", "--verify", f"{name}^{{commit}}", cwd=at or self.top, check=False)
        return out.decode().strip()

    def tips(self, *refs: str) -> dict[str, str]:
        """Return what each full ref of a branch names, "" when there is none: git is asked once."""
        how = "--format=%(objectname) %(objecttype) %(refname)"
        try:
            rows = [
                line.split(" ", 2) for line in self.git("for-each-ref", how, *refs, at=self.common_dir).splitlines()
            ]
        except GitError:  # one of them names what is not here: to us that is no commit
            return {ref: self.resolve(ref, self.common_dir) for ref in refs}
        found = {name: oid for oid, _, name in rows}
        return {ref: found.get(ref, "") for ref in refs}

    def remote(self) -> str:
        """Return the remote that this repository works with, "" for none. Raises Misconfigured when it is unclear."""
        wanted = self.settings.remote
        if wanted == NO_REMOTE or (not wanted and not self.urls):
            return ""
        if wanted:
            if wanted not in self.urls:
                raise Misconfigured(
                    f"git config {SECTION}.remote: there is no remote {wanted}: `git remote add {wanted} URL`"
                )
            return wanted
        if len(self.urls) == 1:
            return next(iter(self.urls))
        if "origin" in self.urls:
            return "origin"
        raise Misconfigured(
            f"several remotes ({', '.join(self.urls)}) and none is origin: say which one counts: "
            f"`git config {SECTION}.remote NAME`"
        )

    def at(self, top: Path) -> "Repository":
        """Return the same repository seen from another work tree of its."""
        return find(top, self.environment)


def find(directory: Path, environment: Mapping[str, str] | None = None) -> Repository:
    """Return the repository that ``directory`` lies in. Raises NoWorkplace, Misconfigured."""
    environment = os.environ if environment is None else environment
    try:
        places = _lines(git(*_WHERE, "--show-toplevel", cwd=directory, check=False))
        if len(places) < 3:  # no work tree there: it may be a git directory
            places = _lines(git(*_WHERE, cwd=directory))
        git_dir, common_dir = places[:2]
        top = Path(places[-1] if len(places) > 2 else git_dir)
    except GitError as error:
        if "not a git repository" in error.stderr:
            raise NoWorkplace(
                f"{directory.absolute()} is not inside a git repository: go into one, or name it with --repo DIR"
            ) from None
        raise NoWorkplace(f"{directory.absolute()} cannot be used as a repository: {words(error)}") from None
    pairs = configuration(top)
    urls = {key.split(".", 1)[1].rpartition(".")[0]: value for key, value, _ in pairs if key.startswith("remote.")}
    return Repository(top, Path(git_dir), Path(common_dir), reading.read(pairs, environment), urls, environment)


def configuration(top: Path) -> list[tuple[str, str, str]]:
    """Return what git configuration says to us, and the addresses of remotes: key, value, file; lowest file first."""
    out = git(
        "config", "-z", "--show-origin", "--get-regexp", rf"^({SECTION}\.|remote\..*\.url$)", cwd=top, check=False
    )
    words = out.decode("utf-8", "surrogateescape").split("\0")
    pairs = (item.partition("\n") for item in words[1::2])
    return [(key, value, file.removeprefix("file:")) for file, (key, _, value) in zip(words[::2], pairs, strict=False)]


def under_way(git_dir: Path) -> str:
    """Return which git operation waits for somebody in a work tree, "" for none."""
    return next((word for name, word in _UNDER_WAY.items() if (git_dir / name).exists()), "")


def base_name(repo: Repository, wanted: str) -> str:
    """Return the base branch: as wanted, as set, as the remote's HEAD was cloned, or what the repository stands on.

    Raises Misconfigured.
    """
    name = wanted or repo.settings.base
    remote = repo.remote()
    if not name and remote:
        out = git("symbolic-ref", "-q", f"refs/remotes/{remote}/HEAD", cwd=repo.top, check=False)
        name = out.decode("utf-8", "surrogateescape").strip().removeprefix(f"refs/remotes/{remote}/")
    if not name and not remote:
        out = git("symbolic-ref", "-q", "HEAD", cwd=repo.common_dir, check=False)
        name = out.decode("utf-8", "surrogateescape").strip().removeprefix("refs/heads/")
        if not name:
            raise Misconfigured(f"HEAD names no branch here: say which is the base: `git config {SECTION}.base main`")
    if name and (against := ref_objection(name)):
        raise Misconfigured(f"base {name!r}: {against}")
    return name


def words(error: GitError) -> str:
    """Return what git or the remote said, in one line, without credentials and git's advice."""
    lines = [line.strip() for line in (error.stderr or str(error)).splitlines()]
    kept = [line for line in lines if line and not line.startswith(_ADVICE)]
    said = [line.removeprefix("fatal:").removeprefix("error:").strip().rstrip(".") for line in kept]
    return shown("; ".join(dict.fromkeys(said))) or "nothing"


def remote_error(error: GitError, what: str) -> Unreachable | NotAllowed | Misconfigured:
    """Name by its remedy what went wrong with a remote; ``what`` says what did not happen."""
    said = words(error)
    if (scheme := _NOT_SPOKEN.search(error.stderr)) is not None:
        return Misconfigured(
            f"{what}: {scheme[1]}:// is not spoken here: `git remote set-url` with an https or ssh address, or a path"
        )
    if _NO_RIGHTS.search(error.stderr):
        return NotAllowed(f"{what}: the remote refuses: {said}; check your key, token or rights there")
    return Unreachable(
        f"{what}: the remote does not answer: {said}; try again when it does, or mend its address (`git remote -v`)"
    )


def same(repo: Repository, **changes: object) -> Repository:
    """Return the repository with some settings replaced (those that are not empty)."""
    wanted = {key: value for key, value in changes.items() if value not in ("", None, ())}
    return replace(repo, settings=replace(repo.settings, **wanted)) if wanted else repo  # type: ignore[arg-type]


def _lines(out: bytes) -> list[str]:
    return out.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
