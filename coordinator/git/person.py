"""A person's commit: exactly the files that AgentCom was asked to write or delete, or that the person has saved, under
that person's name and hooks.

This module decides when such a commit would get in the way of what the person is doing, and then refuses before
anything is touched. It never writes on a branch other than the source, and leaves other edits and staged work as they
are.

    CannotCommit                the commit was not made and nothing was changed; the text says what to do
      +-- NoWorkTree            the repository is bare
      +-- OtherBranch           another branch, or none, is checked out
      +-- Busy                  a merge, rebase or other git command is under way
      +-- NoIdentity            git does not know who the person is
      +-- NotCommitted          one of the files has edits of the person's own
      +-- StagedOtherwise       one of the saved files is staged with another content
      +-- Refused               git, or a hook, refused the commit; the files are as they were
      +-- NoUpstream            the commit should be pushed, but git knows no place to push it to
    NotPushed                   the commit stands, and git did not push it; the text says why in git's words
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.message import compose
from coordinator.git.repo import Repo, head_ref
from coordinator.git.run import GitError, git, git_as_person, literally
from coordinator.git.worktree import under_way


class CannotCommit(Exception):
    """The commit was not made and nothing was changed."""


class NoWorkTree(CannotCommit):
    """The repository is bare."""


class OtherBranch(CannotCommit):
    """Another branch than the source is checked out."""


class Busy(CannotCommit):
    """A git operation is under way in the work tree."""


class NoIdentity(CannotCommit):
    """Git does not know the person's name and address."""


class NotCommitted(CannotCommit):
    """A file that should be written has edits that are not committed."""


class StagedOtherwise(CannotCommit):
    """A saved file is staged as something else than what is saved."""


class Refused(CannotCommit):
    """Git or a hook refused the commit."""


class NoUpstream(CannotCommit):
    """The source has no upstream to push to."""


class NotPushed(Exception):
    """The commit was made and stays, but git did not push it."""


def commit_paths(
    repo: Repo, branch: str, files: Mapping[str, bytes | None], message: str, trailers: Sequence[tuple[str, str]] = ()
) -> str:
    """Bring ``files`` (repository path -> content, None deletes) into the work tree and commit them alone.

    ``branch`` is the source, as full ref or short name; the first line of ``message`` becomes the subject, the rest the
    body. Author, hooks and signing are the person's. Returns the commit id. Raises a CannotCommit, with the files as
    they were before.
    """
    work_tree = check_ready(repo, branch)
    if not files:
        raise ValueError("a commit without files")
    paths = sorted(files)
    heads = _head_blobs(repo, paths)
    for path in paths:
        _check_untouched(repo, work_tree, path, heads.get(path))
    subject, _, body = message.partition("\n")
    text = compose(subject, body.strip("\n"), trailers)
    return _commit(repo, work_tree, files, text, [path for path in paths if path not in heads])


def commit_word(repo: Repo, branch: str, message: str, trailers: Sequence[tuple[str, str]]) -> str:
    """Make a commit that changes no file and says something by its trailers; return its id.

    Edits and staged work stay as they are: git is shown an index of its own. Raises a CannotCommit.
    """
    work_tree = check_ready(repo, branch)
    subject, _, body = message.partition("\n")
    text = compose(subject, body.strip("\n"), trailers).encode("utf-8", "replace")
    with tempfile.TemporaryDirectory(dir=repo.git_dir, prefix="agentcom-") as folder:
        aside = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        how = ("-c", "i18n.commitEncoding=UTF-8", "commit", "--quiet", "--allow-empty", "--cleanup=whitespace")
        try:
            git_as_person("read-tree", "HEAD", cwd=work_tree, env=aside)
            git_as_person(*how, "--file=-", cwd=work_tree, input=text, env=aside)
        except (GitError, OSError) as error:
            said = error.stderr if isinstance(error, GitError) else str(error)
            raise Refused(f"the commit was refused and nothing was changed; git says: {said or error}") from error
    return git("rev-parse", "HEAD", git_dir=repo.git_dir).decode().strip()


@dataclass(frozen=True, slots=True)
class Made:
    """A commit of saved files; ``unlike`` are those of which it holds something else than was saved when it began."""

    commit: str
    unlike: tuple[str, ...] = ()


def commit_saved(repo: Repo, branch: str, paths: Sequence[str], message: str) -> Made:
    """Commit some files of the work tree as they are saved (a missing one is deleted), and nothing else.

    ``branch`` is the source, as full ref or short name; ``message`` is the subject. Author, hooks and signing are the
    person's. Another save in the moment of the commit, and a hook that writes, get into it: ``Made.unlike`` tells.
    Raises a CannotCommit, with work tree and index as they were before.
    """
    work_tree = check_ready(repo, branch)
    if not paths:
        raise ValueError("a commit without files")
    for path in paths:
        _check_plain(work_tree, path)
    saved = _stored(work_tree, paths)
    for path, staged in _staged(repo, work_tree, paths).items():
        if staged != saved.get(path):
            raise StagedOtherwise(
                f"{path} is staged with another content than what is saved: commit what you staged (`git commit`), or "
                f"stage what is saved (`git add {path}`)"
            )
    known = {row.decode("utf-8", "surrogateescape") for row in _rows(work_tree, "ls-files", "-z", "--", *paths)}
    added = [path for path in paths if path in saved and path not in known]
    try:
        if added:
            git_as_person("add", "--", *map(literally, added), cwd=work_tree)
        _make(work_tree, paths, compose(message))
    except BaseException as error:
        if added:
            git_as_person("update-index", "--force-remove", "--", *added, cwd=work_tree, check=False)
        if isinstance(error, GitError):
            raise _refused(error) from error
        raise
    heads = _head_blobs(repo, paths)
    unlike = tuple(path for path in paths if heads.get(path) != saved.get(path))
    return Made(git("rev-parse", "HEAD", git_dir=repo.git_dir).decode().strip(), unlike)


def _stored(work_tree: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the blob id under which git would keep each of these files; those that are not there are left out."""
    there = [path for path in paths if (work_tree / path).is_file()]
    asked = "".join(f"{path}\n" for path in there).encode("utf-8", "surrogateescape")
    try:
        ids = git("hash-object", "--stdin-paths", cwd=work_tree, input=asked, config=("core.safecrlf=false",))
    except GitError as error:
        raise _refused(error) from error
    return dict(zip(there, ids.decode().split(), strict=True))


def _staged(repo: Repo, work_tree: Path, paths: Sequence[str]) -> dict[str, str | None]:
    """Return what the index holds of those files that are not there as HEAD has them: a blob id, None for deleted."""
    base = "HEAD"
    if not git("rev-parse", "--verify", "--quiet", "HEAD", git_dir=repo.git_dir, check=False).strip():
        base = git("hash-object", "-t", "tree", "--stdin", cwd=work_tree, input=b"").decode().strip()
    how = ("--cached", "--ita-invisible-in-index", "--no-renames", "-z")
    rows = _rows(work_tree, "diff-index", *how, base, "--", *paths)
    found: dict[str, str | None] = {}
    for head, path in zip(rows[::2], rows[1::2], strict=True):
        oid = head.decode().split(" ")[3]
        found[path.decode("utf-8", "surrogateescape")] = oid if oid.strip("0") else None
    return found


def _rows(work_tree: Path, *argv: str) -> list[bytes]:
    return git(*argv, cwd=work_tree).split(b"\0")[:-1]


def check_ready(repo: Repo, branch: str) -> Path:
    """Return the work tree in which the person may commit to ``branch`` now; raise the CannotCommit that is in the way.

    Looks at everything but the files themselves.
    """
    if repo.work_tree is None:
        raise NoWorkTree(f"{repo.common_dir} has no work tree: run this in a clone of it")
    _check_branch(repo, _full(branch))
    _check_nothing_under_way(repo)
    _check_identity(repo.work_tree)
    return repo.work_tree


def check_committed(repo: Repo, path: str) -> None:
    """Raise NotCommitted unless one file is as HEAD has it, staged and saved alike; NoWorkTree when there is none."""
    if repo.work_tree is None:
        raise NoWorkTree(f"{repo.common_dir} has no work tree: run this in a clone of it")
    _check_untouched(repo, repo.work_tree, path, _head_blobs(repo, [path]).get(path))


def is_committed(repo: Repo, path: str) -> bool:
    """Tell whether one file of the work tree is as HEAD has it, staged and saved alike. Raises NoWorkTree."""
    try:
        check_committed(repo, path)
    except NotCommitted:
        return False
    return True


def upstream(repo: Repo, branch: str) -> tuple[str, str]:
    """Return remote and full ref that ``branch`` is pushed to. Raises NoUpstream."""
    name = _full(branch).removeprefix("refs/heads/")
    remote, ref = (_config(repo, f"branch.{name}.{key}") for key in ("remote", "merge"))
    if not remote or not ref:
        raise NoUpstream(
            f"{name} has no upstream to push to: run `git push -u REMOTE {name}` once, or leave --push away"
        )
    return remote, ref


def push(repo: Repo, branch: str) -> None:
    """Push ``branch`` alone to its upstream, never by force, as the person would. Raises NoUpstream, NotPushed."""
    remote, ref = upstream(repo, branch)
    brief = ("-c", "advice.pushUpdateRejected=false")
    how = ("--quiet", "--no-follow-tags", "--end-of-options", remote, f"{_full(branch)}:{ref}")
    try:
        git_as_person(*brief, "push", *how, cwd=repo.work_tree or repo.common_dir, env={"GIT_TERMINAL_PROMPT": "0"})
    except GitError as error:
        raise NotPushed(
            f"{_full(branch).removeprefix('refs/heads/')} was not pushed, the commit stays; git says: "
            f"{error.stderr or error}"
        ) from error


def _full(branch: str) -> str:
    return branch if branch.startswith("refs/") else f"refs/heads/{branch}"


def _config(repo: Repo, key: str) -> str:
    """Return one setting as the person's git sees it, "" when it is not set."""
    out = git_as_person("config", "--get", key, cwd=repo.work_tree or repo.common_dir, check=False)
    return out.decode("utf-8", "surrogateescape").strip()


def _check_branch(repo: Repo, ref: str) -> None:
    head = head_ref(repo)
    if head != ref:
        wanted = ref.removeprefix("refs/heads/")
        now = "no branch is checked out" if head is None else f"{head.removeprefix('refs/heads/')} is checked out"
        raise OtherBranch(f"{now}, but AgentCom reads {wanted}: run `git switch {wanted}` and try again")


def _check_nothing_under_way(repo: Repo) -> None:
    busy = under_way(repo)
    if busy is not None:
        what, name = busy
        raise Busy(f"{what} is under way in {repo.work_tree} ({name} exists): finish or abort it, then try again")


def _check_identity(work_tree: Path) -> None:
    try:
        for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            git_as_person("-c", "user.useConfigOnly=true", "var", who, cwd=work_tree)
    except GitError as error:
        raise NoIdentity(
            "git does not know who you are: run `git config --global user.name 'YOUR NAME'` and "
            "`git config --global user.email YOU@EXAMPLE.ORG`, then try again"
        ) from error


def _head_blobs(repo: Repo, paths: Sequence[str]) -> dict[str, str]:
    """Return the blob of each path in HEAD; empty when there is no commit yet."""
    if not git("rev-parse", "--verify", "--quiet", "HEAD", git_dir=repo.git_dir, check=False).strip():
        return {}
    out = git("ls-tree", "-z", "--full-tree", "HEAD", "--", *paths, git_dir=repo.git_dir)
    rows = (row.partition(b"\t") for row in out.split(b"\0")[:-1])
    return {path.decode("utf-8", "surrogateescape"): head.split()[2].decode() for head, _, path in rows}


def _check_plain(work_tree: Path, path: str) -> None:
    """Raise NotCommitted unless a path leads through real folders to a plain file, or to none."""
    for folder in list(Path(path).parents)[:-1]:
        if (work_tree / folder).is_symlink():
            raise NotCommitted(f"{folder} is a symbolic link: AgentCom writes only into real folders of {work_tree}")
        if (work_tree / folder).exists() and not (work_tree / folder).is_dir():
            raise NotCommitted(f"{folder} is a file, but {path} is to be written: rename it, then try again")
    target = work_tree / path
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise NotCommitted(f"{path} is no plain file: AgentCom does not write there")


def _check_untouched(repo: Repo, work_tree: Path, path: str, head: str | None) -> None:
    """Raise NotCommitted unless work tree and index hold just what HEAD holds; looks without refreshing the index."""
    _check_plain(work_tree, path)
    staged = {row.split()[1].decode() for row in _rows(work_tree, "ls-files", "-s", "-z", "--", path)}
    if staged != ({head} if head is not None else set()) or not _holds(work_tree, path, head):
        first = f"git add {path} && " if not staged and head is None else ""
        raise NotCommitted(
            f"{path} has edits that are not committed: "
            f"commit them (`{first}git commit -- {path}`) or put them aside, then try again"
        )


def saved_blob(repo: Repo, path: str) -> str | None:
    """Return the blob id under which git would keep a file of the work tree as it is saved, None without a file."""
    if repo.work_tree is None or not (repo.work_tree / path).is_file():
        return None
    return _hash(repo.work_tree, f"--path={path}", repo.work_tree / path)


def _hash(work_tree: Path, how: str, target: Path) -> str:
    return git("hash-object", how, "--stdin", cwd=work_tree, input=target.read_bytes()).decode().strip()


def _holds(work_tree: Path, path: str, head: str | None) -> bool:
    """Tell whether a file is saved as HEAD has it, converted as git would now, or byte by byte as it once was added."""
    target = work_tree / path
    if head is None or not target.exists():
        return head is None and not target.exists()
    return _hash(work_tree, f"--path={path}", target) == head or _hash(work_tree, "--no-filters", target) == head


@dataclass(frozen=True, slots=True)
class _Before:
    """One file as it was: content and mode."""

    content: bytes
    mode: int


def _commit(repo: Repo, work_tree: Path, files: Mapping[str, bytes | None], text: str, added: Sequence[str]) -> str:
    before = {path: _before(work_tree / path) for path in files}
    made = [folder for path in added for folder in _missing_folders(work_tree, path)]
    try:
        for path, content in files.items():
            if content is None:
                (work_tree / path).unlink()
            else:
                write_whole(work_tree / path, content)
        if added:
            git_as_person("add", "--force", "--", *map(literally, added), cwd=work_tree)
        _make(work_tree, files, text)
    except (GitError, OSError) as error:
        changed = _put_back(work_tree, before, added, made)
        raise _refused(error, changed) from error
    except BaseException:
        _put_back(work_tree, before, added, made)
        raise
    return git("rev-parse", "HEAD", git_dir=repo.git_dir).decode().strip()


def _make(work_tree: Path, paths: Iterable[str], text: str) -> None:
    """Commit some paths as they stand in the work tree, and leave whatever else is staged. Raises GitError."""
    commit = ("-c", "i18n.commitEncoding=UTF-8", "commit", "--quiet", "--only", "--cleanup=whitespace", "--file=-")
    git_as_person(*commit, "--", *map(literally, paths), cwd=work_tree, input=text.encode("utf-8", "replace"))


def _refused(error: GitError | OSError, changed: Sequence[str] = ()) -> Refused:
    """Say why nothing was committed; ``changed`` are files that could not be put back."""
    kept = "nothing was changed"
    if changed:
        kept = f"{', '.join(changed)} could not be put back: `git checkout -- {' '.join(changed)}`"
    if isinstance(error, GitError):
        return Refused(f"the commit was refused and {kept}; git says: {error.stderr or error}")
    return Refused(f"nothing was committed and {kept}: {error.strerror or error}")


def _before(target: Path) -> _Before | None:
    return _Before(target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) if target.exists() else None


def _put_back(
    work_tree: Path, before: Mapping[str, _Before | None], added: Sequence[str], made: Iterable[Path]
) -> list[str]:
    """Let the files be as they were; return those of which the disk does not let us."""
    changed: list[str] = []
    for path, was in before.items():
        if was is None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (work_tree / path).unlink()
        elif _before(work_tree / path) != was:
            try:
                write_whole(work_tree / path, was.content)
                (work_tree / path).chmod(was.mode)
            except OSError:
                changed.append(path)
    if added:
        git_as_person("update-index", "--force-remove", "--", *added, cwd=work_tree, check=False)
    for folder in sorted(set(made), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return changed


def _missing_folders(work_tree: Path, path: str) -> list[Path]:
    return [work_tree / folder for folder in list(Path(path).parents)[:-1] if not (work_tree / folder).exists()]


def write_whole(target: Path, content: bytes) -> None:
    """Replace a file in one step, keeping its mode; a new one gets what the umask leaves of 0666."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        mode = stat.S_IMODE(target.stat().st_mode)
    else:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".agentcom-tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
