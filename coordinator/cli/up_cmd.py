"""``agentcom up``: everything on one machine, in one terminal."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.board import Board
from coordinator.cli.common import EXIT_FAILED, EXIT_USAGE, fail, one_line, refuse, toned
from coordinator.cli.reading_options import open_ground
from coordinator.terminal import is_screen

if TYPE_CHECKING:
    from coordinator.ground import Ground
    from coordinator.up.together import Together

#: Laid down where there is no agentcom.yaml.
_POLICY = """\
# The settings of AgentCom here; all keys: docs/files.md of AgentCom, or `agentcom schema policy`.
default_repo: .     # agents work on branches of this repository; a merge into your branch is approval
"""
_PROFILES = ("read", "edit", "dev", "full")


@click.command("up")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help="An agent program: claude, codex, gemini, opencode, openclaw-agent, fake, or shell:PROGRAM. Several times for "
    "several agents (default: each that is on PATH).",
)
@click.option("--profile", type=click.Choice(_PROFILES), default="dev", show_default=True, help="What agents may do.")
@click.option("--port", type=click.IntRange(0, 65535), default=4000, show_default=True, help="Any free one if taken.")
@click.option("--check", is_flag=True, help="Let every agent do its small test task again.")
@click.option("--no-watch", is_flag=True, help="Do not commit what is saved, and do not pull the trail.")
@click.option("--open", "open_page", is_flag=True, help="Open the dashboard in a browser.")
def command(
    directory: Path,
    runtimes: tuple[str, ...],
    profile: str,
    port: int,
    check: bool,
    no_watch: bool,
    open_page: bool,
) -> None:
    """Run everything for the repository DIRECTORY (default: here): hub, one agent for each program, and watch.

    Makes or equips the repository where that is needed. Each agent does one small real task before it counts, once.
    Ctrl-C ends all; work in hand goes on at the next start.
    """
    ground = _equipped(directory)
    top = ground.repo.work_tree
    if top is None:
        fail(f"{ground.repo.common_dir} is a bare repository: run `agentcom up` in a clone of it")
    if profile == "full":
        text = "profile full: agents may do everything that you may do on this machine"
        click.echo(toned(text, "bad", err=True), err=True)
    from coordinator.up.together import Together, Wanted

    wanted = Wanted(runtimes, profile, port, check, not no_watch)
    board = Board(terminal=is_screen(sys.stdout))

    def say(line: str) -> None:
        board.say(f"{time.strftime('%H:%M:%S')} {one_line(line)}")

    _run(Together(ground, top, wanted, say, _show if open_page else lambda address: None, board.note))


def _show(address: str) -> None:
    import webbrowser

    webbrowser.open(address)


def _equipped(directory: Path) -> "Ground":
    """Return the repository, made or equipped by ``agentcom init`` where it is not yet."""
    from coordinator.cli.init_cmd import equip
    from coordinator.git.repo import NoRepository, find_repo
    from coordinator.place import Place

    try:
        ready = directory.exists() and Place(find_repo(directory).agentcom_dir).read_init() is not None
    except NoRepository:
        ready = False
    if not ready:
        equip(directory, steps=False)
        _work_here(open_ground(directory))
    return open_ground(directory)


def _work_here(ground: "Ground") -> None:
    """Let tasks be worked on in this repository, where nobody has said anything about that."""
    from coordinator.git.person import CannotCommit, commit_paths

    top = ground.repo.work_tree
    if top is None or (top / "agentcom.yaml").exists():
        return
    try:
        files = {"agentcom.yaml": _POLICY.encode()}
        commit_paths(ground.repo, ground.source_ref, files, "Let agents work in this repository")
    except CannotCommit as error:
        refuse(error)
    click.echo("  + agentcom.yaml: agents work on branches of this repository, and you merge what you like")


def _run(together: "Together") -> None:
    import asyncio
    import signal

    from coordinator.reading import HubUnreachable, TokenRefused
    from coordinator.up.minds import NoRuntime
    from coordinator.up.together import PATIENCE_S, NotUp

    async def up() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        running = asyncio.create_task(together.run(stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            together.say(f"stopping: agents finish or hand back what they have in hand, within {PATIENCE_S:g} s ...")
        stopping.cancel()
        await running

    try:
        asyncio.run(up())
    except NoRuntime as error:
        fail(str(error), EXIT_USAGE)
    except (NotUp, HubUnreachable, TokenRefused) as error:
        fail(str(error), EXIT_FAILED)
    finally:
        together.note("")
        for line in together.farewell():
            together.say(line)
