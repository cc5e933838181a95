"""Which remote the hub of this clone has, and how it gets one: remembered in its configuration as ``agentcom.remote``.

A remote that merely exists is not the hub's: somebody has to name it once. This module decides by which name a remote
is known and which addresses are refused, and asks one that is new whether anybody answers; it moves no branch and
fetches nothing but a first clone.

    CannotUseRemote             the text says what to name instead, ``wrong`` whether the fault is in what was asked
"""

import os
import shutil
from pathlib import Path

from coordinator.git import address
from coordinator.git.repo import STATE_REF, Repo
from coordinator.git.run import GitError, git

#: What turns the remote off.
NONE = "none"
#: How long a first clone may take, in seconds.
CLONE_TIMEOUT_S = 3600.0
#: How long an address that is new here may take to answer, in seconds.
ANSWER_TIMEOUT_S = 120.0
#: What a remote is called when it is the first one, and when that name is taken.
_FIRST, _SECOND = "origin", "agentcom"
KEY = "agentcom.remote"
#: Git answers this when there was nothing to unset.
_NOTHING_UNSET = 5


class CannotUseRemote(Exception):
    """The remote cannot be the hub's; the text is one line for people and holds no credentials."""

    def __init__(self, text: str, *, wrong: bool = True) -> None:
        self.wrong = wrong
        super().__init__(address.shown(text))


def hub_remote(repo: Repo) -> str | None:
    """Return the name of the remote that the hub of this clone has, None when it has none."""
    return _config(repo, KEY) or None


def choose(repo: Repo, wanted: str) -> str | None:
    """Remember which remote the hub has, by name or address, and return its name; ``none``: it has none any more.

    An address that no remote has yet is added, as ``origin`` where that is free, if it answers. Raises CannotUseRemote.
    """
    if wanted == NONE:
        try:
            git("config", "--local", "--unset-all", KEY, git_dir=repo.common_dir)
        except GitError as error:
            if error.code != _NOTHING_UNSET:
                raise
        return None
    names = _names(repo)
    name = wanted if wanted in names else next((n for n in names if _is_at(repo, n, wanted)), None)
    if name is None:
        name = _add(repo, wanted, names)
    url_of(repo, name)
    git("config", "--local", KEY, name, git_dir=repo.common_dir)
    return name


def url_of(repo: Repo, name: str) -> str:
    """Return the address that a remote is fetched from, as people may see it. Raises CannotUseRemote."""
    if name not in _names(repo):
        raise CannotUseRemote(
            f"this clone has no remote named {name}, which {KEY} names: give another by --remote NAME, "
            f"or none by --remote {NONE}"
        )
    for how in ((), ("--push",)):
        for url in _ask(repo, "remote", "get-url", *how, "--all", name).splitlines():
            against = address.objection(url)
            if against is not None:
                raise CannotUseRemote(f"remote {name} is {url}: {against}")
    return url_shown(repo, name)


def url_fetched(repo: Repo, name: str) -> str:
    """Return the address that a remote is fetched from as it is: it may hold credentials and is not for people."""
    return _ask(repo, "remote", "get-url", name)


def url_shown(repo: Repo, name: str) -> str:
    """Return the address of a remote as people may see it, whatever is wrong with it; empty when it has none."""
    return address.shown(url_fetched(repo, name))


def clone(url: str, directory: Path) -> None:
    """Make a whole clone of ``url`` at ``directory``, which must be absent or empty: all of it or nothing.

    Raises CannotUseRemote.
    """
    against = address.objection(url)
    if against is not None:
        raise CannotUseRemote(f"--remote {url}: {against}")
    half = directory.with_name(f".{directory.name}.agentcom-clone-{os.getpid()}")
    how = ("--quiet", "--no-local", "--no-single-branch", "--no-recurse-submodules", f"--origin={_FIRST}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        git(
            *("clone", *how, "--end-of-options", url, str(half)),
            cwd=directory.parent,
            timeout=CLONE_TIMEOUT_S,
            config=("core.fsync=all",),
            env=network_env(),
        )
        half.rename(directory)
    except GitError as error:
        raise CannotUseRemote(f"{url} cannot be cloned; git says: {words(error)}", wrong=False) from None
    except OSError as error:
        raise CannotUseRemote(f"{directory}: {error.strerror or error}", wrong=False) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def network_env() -> dict[str, str]:
    """Return the variables of a git command that speaks with a remote: few protocols, and no questions."""
    return {"GIT_ALLOW_PROTOCOL": address.ALLOWED, "SSH_ASKPASS_REQUIRE": "never"}


def words(error: GitError) -> str:
    """Return what git or the remote said, in one line, without credentials and git's advice."""
    lines = [line.strip() for line in (error.stderr or str(error)).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("hint:", "To ", "Please make sure", "and the rep"))]
    said = [line.removeprefix("fatal:").removeprefix("error:").strip().rstrip(".") for line in kept]
    return address.shown("; ".join(dict.fromkeys(said))) or "nothing"


def _is_at(repo: Repo, name: str, wanted: str) -> bool:
    urls = _ask(repo, "config", "--get-all", f"remote.{name}.url").splitlines()
    return any(address.same(url, wanted) for url in urls)


def _add(repo: Repo, url: str, names: tuple[str, ...]) -> str:
    against = address.objection(url)
    if against is not None:
        raise CannotUseRemote(f"--remote {url}: no remote here has that name, and as an address: {against}")
    name = _FIRST if _FIRST not in names else _SECOND
    if name in names:
        raise CannotUseRemote(
            f"--remote {url}: remotes named {_FIRST} and {_SECOND} are there already: `git remote add NAME URL`, "
            f"then --remote NAME"
        )
    _check_reachable(repo, url)
    git("remote", "add", "--end-of-options", name, url, git_dir=repo.common_dir)
    return name


def _check_reachable(repo: Repo, url: str) -> None:
    """Refuse an address where no repository answers: a slip of the pen would stay as a remote, and be the hub's."""
    try:
        git(
            *("ls-remote", "--quiet", "--end-of-options", url, STATE_REF),
            git_dir=repo.common_dir,
            timeout=ANSWER_TIMEOUT_S,
            env=network_env(),
        )
    except GitError as error:
        text = f"--remote {url} cannot be reached, and no remote was added; git says: {words(error)}"
        raise CannotUseRemote(text, wrong=False) from None


def _names(repo: Repo) -> tuple[str, ...]:
    return tuple(_ask(repo, "remote").splitlines())


def _config(repo: Repo, key: str) -> str:
    return _ask(repo, "config", "--local", "--get", key)


def _ask(repo: Repo, *argv: str) -> str:
    return git(*argv, git_dir=repo.common_dir, check=False).decode("utf-8", "surrogateescape").strip()
