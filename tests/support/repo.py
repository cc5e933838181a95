"""Real temporary repositories, made and changed as a person would: with the git program, a work tree and commits.

Nothing of the machine's own git configuration is read.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.repo import Repo, find_repo

#: Who commits in these repositories unless a test says otherwise.
PERSON = ("Ada Lovelace", "ada@example.org")


def git_env(**extra: str) -> dict[str, str]:
    """Return an environment in which git reads no configuration but the repository's own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env.update(
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C",
    )
    env.update(extra)
    return env


@dataclass(frozen=True)
class Clone:
    """One repository with a work tree at ``path``, in the hands of a person."""

    path: Path

    @property
    def repo(self) -> Repo:
        return find_repo(self.path)

    def git(self, *argv: str, input: bytes | None = None, check: bool = True) -> str:
        """Run git in the work tree as the person; return what it printed, without the last line break."""
        done = subprocess.run(
            ["git", *argv], cwd=self.path, input=input, capture_output=True, env=git_env(), check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {' '.join(argv)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Save files in the work tree, without committing; None removes one."""
        for name, content in files.items():
            target = self.path / name
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(
        self,
        files: Mapping[str, str | bytes | None] | None = None,
        message: str = "edit",
        author: tuple[str, str] | None = None,
    ) -> str:
        """Save files and commit everything; return the commit's id."""
        self.write(files or {})
        self.git("add", "--all")
        who = () if author is None else (f"--author={author[0]} <{author[1]}>",)
        self.git("commit", "--quiet", "--allow-empty", *who, "-m", message)
        return self.head()

    def head(self, ref: str = "HEAD") -> str:
        return self.git("rev-parse", ref)

    def tree(self, ref: str = "HEAD") -> dict[str, str]:
        """Return path -> blob id of everything in a commit."""
        rows = (line.split("\t", 1) for line in self.git("ls-tree", "-r", ref).splitlines())
        return {path: head.split()[2] for head, path in rows}

    def show(self, path: str, ref: str = "HEAD") -> str:
        return self.git("cat-file", "blob", f"{ref}:{path}") + "\n"

    def fsck(self) -> str:
        """Check the whole repository strictly; return git's complaints, "" when there are none."""
        argv = ["git", "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
        done = subprocess.run(argv, cwd=self.path, capture_output=True, env=git_env(), check=False)
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        return said if said or done.returncode == 0 else f"exit status {done.returncode}"

    def snapshot(self) -> dict[str, bytes]:
        """Return every byte that belongs to the person: work tree, index, HEAD and all branches but the hub's."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            private = name.startswith(".git/") and name not in {".git/index", ".git/HEAD"}
            if path.is_file() and not private:
                found[name] = path.read_bytes()
        refs = self.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
        mine = [line for line in refs.splitlines() if not line.endswith("refs/heads/agentcom/state")]
        found["refs"] = "\n".join(mine).encode()
        return found


def make_repo(path: Path, files: Mapping[str, str | bytes] | None = None, *init: str) -> Clone:
    """Make a repository with branch main, an identity, and one commit when ``files`` are given."""
    path.mkdir(parents=True, exist_ok=True)
    clone = Clone(path)
    clone.git("init", "--quiet", "--initial-branch=main", *init)
    clone.git("config", "user.name", PERSON[0])
    clone.git("config", "user.email", PERSON[1])
    if files is not None:
        clone.commit(files, "first")
    return clone


def make_bare(path: Path) -> Path:
    """Make an empty bare repository; return its path."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True, env=git_env())
    return path


def lose(clone: Clone, oid: str) -> None:
    """Remove one object, wherever it stands, as a damaged disk does."""
    folder = clone.repo.common_dir / "objects/pack"
    aside = folder.parent.parent / "aside"
    aside.mkdir(exist_ok=True)
    for pack in list(folder.glob("*.pack")):
        pack.rename(aside / pack.name)
        pack.with_suffix(".idx").unlink(missing_ok=True)
        clone.git("unpack-objects", "-q", input=(aside / pack.name).read_bytes())
    for name in ("multi-pack-index",):
        (folder / name).unlink(missing_ok=True)
    loose = clone.repo.common_dir / "objects" / oid[:2] / oid[2:]
    loose.chmod(0o644)
    loose.unlink()
