"""One text in a person's own editor, until it is right or they give up; what they typed is never lost."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from coordinator.cli.common import EXIT_CONFIG, EXIT_FAILED, EXIT_FILES_WRONG, fail
from coordinator.sourced import Sourced, first, variable


@dataclass(frozen=True, slots=True)
class Copy:
    """The file outside of the repository in which a text is edited."""

    path: Path

    def forget(self) -> None:
        """Delete the copy and its folder."""
        self.path.unlink(missing_ok=True)
        self.path.parent.rmdir()

    def keep(self, what: str, exit_code: int = EXIT_FAILED) -> NoReturn:
        """End the command and say where the text is."""
        fail(f"{what}; nothing is committed, your text is in {self.path}", exit_code)


def edited(name: str, text: bytes, complain: Callable[[bytes], bool]) -> tuple[bytes, Copy]:
    """Let the person change a text; return it, and the copy that still has to be forgotten, once nothing is wrong.

    ``complain`` prints what is wrong with a text and tells whether anything is. Ends the command when the person gives
    up, or changes nothing.
    """
    copy = Copy(Path(tempfile.mkdtemp(prefix="agentcom-")) / name)
    copy.path.write_bytes(text)
    while True:
        try:
            status = _run(copy)
            after = copy.path.read_bytes()
            if after == text:
                copy.forget()
                fail(f"nothing was changed in {name}" + (f" (the editor ended with status {status})" if status else ""))
            if status:
                copy.keep(f"the editor ended with status {status}")
            if not complain(after):
                return after, copy
            if not sys.stdin.isatty() or not click.confirm("edit again?", default=True, err=True):
                copy.keep("it is wrong", EXIT_FILES_WRONG)
        except (KeyboardInterrupt, click.Abort):
            copy.keep("stopped")
        except FileNotFoundError:
            copy.forget()
            fail(f"the editor took {name} away: nothing is committed")


def chosen() -> Sourced[str]:
    """Return the command of the editor, and who named it."""
    return first("vi", *((os.environ.get(name) or None, variable(name)) for name in ("VISUAL", "EDITOR")))


def _run(copy: Copy) -> int:
    """Run the editor on the copy and return its exit status."""
    named = chosen().value
    try:
        argv = [*shlex.split(named), str(copy.path)]
        return subprocess.run(argv, check=False).returncode
    except (OSError, ValueError) as error:
        copy.forget()
        fail(f"the editor {named} cannot be started ({error}): set EDITOR to one that can, or use options", EXIT_CONFIG)
