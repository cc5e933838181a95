"""Lines that stay, and on a terminal a last one that is written again and again and is gone in the end.

It moves nothing but its own line and hides no cursor, so that a program may be stopped, or killed, at any time.
"""

import shutil

import click

from coordinator.cli.common import one_line

#: Clears the rest of a terminal's line.
_ERASE = "\x1b[K"


class Board:
    """What a long command prints. Without a ``terminal`` only the lines that stay; ``err``: on standard error."""

    def __init__(self, *, terminal: bool, err: bool = False) -> None:
        self._terminal = terminal
        self._err = err
        self._note = ""

    def say(self, text: str) -> None:
        """Print one line, above the note."""
        self._wipe()
        click.echo(text, err=self._err)
        self._write()

    def note(self, text: str) -> None:
        """Show how things stand, instead of the last note; an empty text takes it away."""
        text = one_line(text)
        if text != self._note:
            self._wipe()
            self._note = text
            self._write()

    def _write(self) -> None:
        if self._note and self._terminal:
            from coordinator.cli.screen import cut

            shown = cut(self._note, shutil.get_terminal_size().columns - 1)
            click.echo(f"\r{shown}{_ERASE}", nl=False, color=True, err=self._err)

    def _wipe(self) -> None:
        if self._note and self._terminal:
            click.echo(f"\r{_ERASE}", nl=False, color=True, err=self._err)
