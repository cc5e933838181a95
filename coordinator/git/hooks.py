"""The pre-commit hook of a clone: where git looks for it, what ours says, and never touching another's.

The hook runs one command of ours by the interpreter that installed it, so that no environment need be active. Only
wrong files stop a commit (exit code 65); whatever else goes wrong is said, with how to remove the hook.

    NotOurs                     a hook of the person is in the way, or ours was changed; the text says what to do
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.repo import Repo
from coordinator.git.run import git_as_person

_PYTHON = re.compile(r"^python=(.*)$", re.MULTILINE)
#: Without the current directory on the path: a repository must not bring modules of its own.
_CHECK = "-E -P -m coordinator validate --staged"


class NotOurs(Exception):
    """The hook that stands there is not as AgentCom wrote it."""


@dataclass(frozen=True, slots=True)
class Hook:
    """The file that git runs before a commit.

    ``shared`` tells that other repositories run it as well, ``in_work_tree`` that it is a file among the person's.
    """

    path: Path
    shared: bool = False
    in_work_tree: bool = False

    def install(self, python: str) -> bool:
        """Let the hook check by an interpreter; return whether anything changed. Raises NotOurs, OSError."""
        text = script(python)
        now = self._read()
        line = f"{shlex.quote(python)} {_CHECK}"
        if now is not None and line in now:
            return False  # the person's own hook runs it
        if now is not None and not _ours(now):
            raise NotOurs(f"{self.path} is there already and is not ours: add this line to it: {line} || exit 1")
        if now == text and self.path.stat().st_mode & 0o111:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.agentcom-tmp")
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        temporary.chmod(0o755)
        temporary.replace(self.path)
        return True

    def uninstall(self) -> bool:
        """Delete the hook; return whether there was one. Raises NotOurs, OSError."""
        now = self._read()
        if now is None:
            return False
        if not _ours(now):
            raise NotOurs(f"{self.path} is not as AgentCom wrote it: take what names agentcom out of it by hand")
        self.path.unlink()
        return True

    def names_us(self) -> bool:
        """Tell whether what stands there runs AgentCom, be it ours or a person's hook with our line."""
        return _CHECK in (self._read() or "")

    def _read(self) -> str | None:
        """Return the text of the hook, None when there is none; a link counts as another's."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            return ""
        return self.path.read_bytes().decode("utf-8", "surrogateescape") if self.path.exists() else None


def find_hook(repo: Repo) -> Hook:
    """Return the pre-commit hook as git looks for it: in core.hooksPath, else where all work trees share it."""
    top = repo.work_tree or repo.common_dir
    out = git_as_person("rev-parse", "--path-format=absolute", "--git-path", "hooks", cwd=top)
    folder = Path(out.decode("utf-8", "surrogateescape").removesuffix("\n"))
    within_git = folder.is_relative_to(repo.common_dir)
    among_files = not within_git and folder.is_relative_to(top)
    return Hook(folder / "pre-commit", not within_git and not among_files, among_files)


def script(python: str) -> str:
    """Return the text of the hook that checks by the interpreter ``python``."""
    return f"""#!/bin/sh
# Checks BACKLOG.md, agentcom.yaml, tasks/ and agents/ of what is being committed.
# Written by `agentcom install-hook`; `agentcom install-hook --uninstall` takes it away.
python={shlex.quote(python)}
if [ -x "$python" ]; then
    said=$("$python" {_CHECK} 2>&1)
    code=$?
else
    said="agentcom: $python is gone"
    code=127
fi
[ "$code" -eq 0 ] && exit 0
printf '%s\\n' "$said" >&2
if [ "$code" -eq 65 ]; then
    echo 'agentcom: correct and stage these files, or commit without the check: git commit --no-verify' >&2
    exit 1
fi
echo "agentcom: this commit was not checked: run \\`agentcom install-hook\\` again, or remove the hook: rm '$0'" >&2
exit 0
"""


def _ours(text: str) -> bool:
    """Tell whether a text is our hook, for whichever interpreter, without a change."""
    named = _PYTHON.search(text)
    try:
        words = shlex.split(named[1]) if named else []
    except ValueError:
        return False
    return len(words) == 1 and text == script(words[0])
