"""``agentcom watch``: what is saved, said as it is saved; committed after a while, and the trail pulled."""

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.board import Board
from coordinator.cli.common import EXIT_LOCKED, EXIT_USAGE, directory_option, fail, one_line, refuse
from coordinator.cli.reading_options import open_ground
from coordinator.terminal import is_screen

if TYPE_CHECKING:
    from coordinator.ground import Ground
    from coordinator.watch import Block, Watch

#: So many files are named in the countdown.
_NAMED = 3
#: Under the clock of a block, its other lines are indented by its width.
_INDENT = " " * len("HH:MM:SS ")


@click.command("watch")
@directory_option
@click.option("--commit", "commit", is_flag=True, help="Commit what is saved once nothing has changed for a while.")
@click.option(
    "--settle",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="How long nothing must change before a commit (default: 20).",
)
@click.option("--push", "push", is_flag=True, help="Push the branch to its upstream after each commit.")
def command(directory: Path, commit: bool, settle: float | None, push: bool) -> None:
    """Show what each save of BACKLOG.md, agentcom.yaml, tasks/ and agents/ would do, and with --commit commit it.

    A file with a mistake waits until it is mended, the others do not. Where the branch has no upstream, what the hub
    writes is pulled in quiet moments. Ctrl-C ends it.
    """
    if not commit and (push or settle is not None):
        fail(f"{'--push' if push else '--settle'} needs --commit: nothing is committed without it", EXIT_USAGE)
    ground = open_ground(directory)
    top = ground.repo.work_tree
    if top is None:
        fail(f"{ground.repo.common_dir} has no work tree: run this in a clone of it")
    if push:
        _check_upstream(ground)
    from coordinator.watch import AlreadyWatched, Watch, WatchLock
    from coordinator.watching import SETTLE_S

    wait = (SETTLE_S if settle is None else settle) if commit else None
    screen = Screen(is_screen(sys.stdout))
    watch = Watch(ground, top, screen, settle=wait, push=push)
    try:
        with WatchLock(ground.repo):
            _stop_on_signals(watch)
            kept = "BACKLOG.md, agentcom.yaml, tasks/ and agents/"
            then = (
                "nothing is committed"
                if wait is None
                else f"what you save in {kept} is committed {wait:g} s after the last change"
            )
            screen.say(f"watching {ground.branch} in {top}, {then}; Ctrl-C ends it")
            watch.run()
    except AlreadyWatched as error:
        fail(str(error), EXIT_LOCKED)


def _check_upstream(ground: "Ground") -> None:
    from coordinator.git.person import NoUpstream, upstream

    try:
        upstream(ground.repo, ground.source_ref)
    except NoUpstream as error:
        refuse(error)


def _stop_on_signals(watch: "Watch") -> None:
    """End cleanly at the first signal; a second one ends a git command that does not come back."""

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        watch.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


class Screen:
    """A terminal, where the countdown is one line written again and again, or a file of lines."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._board = Board(terminal=terminal)

    def say(self, text: str) -> None:
        self.stop_count()
        self._board.say(f"{time.strftime('%H:%M:%S')} {one_line(text)}")

    def show(self, block: "Block") -> None:
        from coordinator.cli.compile_cmd import SHOWN, show

        more = len(block.saved) - SHOWN
        first, *rest = (*block.saved[:SHOWN], *([f"and {more} files more"] if more > 0 else []))
        self.say(first)
        for line in rest:
            click.echo(_INDENT + one_line(line))
        show(block.plan)
        for note in block.notes:
            click.echo(one_line(note))

    def count(self, left: int, paths: tuple[str, ...], *, first: bool) -> None:
        names = ", ".join(paths[:_NAMED]) + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
        text = f"committing {names} in {left} s, unless something changes"
        if self._terminal:
            self._board.note(text)
        elif first:
            self.say(text)

    def stop_count(self) -> None:
        self._board.note("")
