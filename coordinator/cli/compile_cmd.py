"""``agentcom compile``: what committing the saved files would do, and marks in BACKLOG.md when asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_FILES_WRONG,
    EXIT_WOULD_CHANGE,
    directory_option,
    fail,
    json_option,
    one_line,
    print_json,
    print_table,
)
from coordinator.cli.reading_options import open_ground

if TYPE_CHECKING:
    from coordinator.core.backlog import Item
    from coordinator.ground import Ground
    from coordinator.plan import Compiled, Plan, Planned

#: How many entries of one kind are listed before "and n more".
SHOWN = 20


@click.command("compile")
@directory_option
@click.option("--check", is_flag=True, help="Exit with 2 when something would change; write nothing.")
@click.option("--anchor", is_flag=True, help="Write each item's id behind its line: <!-- t-k3m9q2xa -->.")
@click.option("--tick", is_flag=True, help="Tick the lines of finished tasks.")
@click.option("--write", is_flag=True, help="Write what ready items ask for into tasks/backlog/, to be looked at.")
@json_option
def command(directory: Path, check: bool, anchor: bool, tick: bool, write: bool, as_json: bool) -> None:
    """Say what would happen if everything saved here were committed: tasks created, changed, moved, cancelled.

    Reads the state branch of this clone and the files as saved; asks no hub. Commits nothing.
    """
    from coordinator.plan import make_plan
    from coordinator.ports import StoreError

    ground = open_ground(directory)
    top = ground.repo.work_tree
    if top is None:
        fail(f"{ground.repo.common_dir} has no work tree: run this in a clone of it")
    try:
        compiled = make_plan(ground, top)
    except StoreError as error:
        fail(str(error))
    marks = _Marks(ground, top, compiled)
    if anchor:
        marks.anchor()
    if tick:
        marks.tick()
    if write:
        marks.write_specs()
    if not check:
        marks.save()
    if as_json:
        print_json({**compiled.plan.as_json(), "written": marks.written(), "not_marked": marks.left})
    else:
        show(compiled.plan)
        marks.show(saved=not check)
    stamping = anchor or tick or write
    if check and (marks.files if stamping else compiled.plan.changes):
        raise click.exceptions.Exit(EXIT_WOULD_CHANGE)


def show(plan: "Plan") -> None:
    """Print a plan in words."""
    from coordinator.plan import LISTS

    for name in LISTS:
        _list(f"{name}:", getattr(plan, name))
    if plan.agents:
        click.echo(f"agents: {', '.join(plan.agents)}")
    if plan.problems:
        click.echo("problems:")
        for problem in plan.problems:
            click.echo(f"  {one_line(str(problem))}")
    if not plan.changes:
        click.echo("nothing would change")


def _list(title: str, entries: "tuple[Planned, ...]") -> None:
    if not entries:
        return
    click.echo(title)
    rows = [(one.id or "-", _where(one), one.lane, one.priority, one.title[:60], one.why) for one in entries[:SHOWN]]
    print_table(rows, "  ", ("task", "where", "lane", "priority", "title", "why"))
    if len(entries) > SHOWN:
        click.echo(f"  and {len(entries) - SHOWN} more: --json has all of them")


def _where(one: "Planned") -> str:
    return f"line {one.line}" if one.line else one.where


class _Marks:
    """What shall be written: marks in BACKLOG.md, and specifications to be looked at."""

    def __init__(self, ground: "Ground", top: Path, compiled: "Compiled") -> None:
        self._ground = ground
        self._top = top
        self._compiled = compiled
        self._path = ground.path("BACKLOG.md")
        self.files: dict[str, bytes] = {}
        self.left: list[int] = []
        self._notes: list[str] = []

    def anchor(self) -> None:
        """Stamp the ids of all items that have none yet."""
        from coordinator.files import stamp

        items = self._compiled.seen.items
        ids = {item.line: name for name, item in items.items() if item.anchor is None and self._may_run(name, item)}
        stamped = stamp.anchor(self._text(), ids, self._compiled.seen.policy)
        self._keep(stamped.text, stamped.left)
        self._notes.append(f"anchors: {len(stamped.done)} written behind lines of {self._path}")

    def _may_run(self, name: str, item: "Item") -> bool:
        """Tell whether a line is a task or may become one; what was ticked before it ever was one is neither."""
        from coordinator.core.backlog import CANCELLED, DONE

        return name in self._compiled.states or item.check not in (DONE, CANCELLED)

    def tick(self) -> None:
        """Tick what is done, and strike what is cancelled."""
        from coordinator.core.backlog import CANCELLED, DONE
        from coordinator.core.machine import State
        from coordinator.files import stamp

        boxes = {State.DONE: DONE, State.CANCELLED: CANCELLED}
        states = self._compiled.states
        marks = {
            item.line: boxes[states[name]]
            for name, item in self._compiled.seen.items.items()
            if states.get(name) in boxes and item.check not in (DONE, CANCELLED)
        }
        stamped = stamp.tick(self._text(), marks, self._compiled.seen.policy)
        self._keep(stamped.text, stamped.left)
        self._notes.append(f"ticks: {len(stamped.done)} written in {self._path}")

    def write_specs(self) -> None:
        """Lay out what ready items ask for, as the hub keeps it."""
        from coordinator.core.task import Origin
        from coordinator.files.emitter import emit_spec

        specs = [spec for spec in self._compiled.seen.specs.values() if spec.origin is Origin.BACKLOG]
        for spec in specs:
            path = self._ground.path(f"tasks/backlog/{spec.id}.yaml")
            self._put(path, emit_spec(spec))
        self._notes.append(
            f"specifications: {len(specs)} in {self._ground.path('tasks/backlog')}/, the hub ignores them"
        )

    def save(self) -> None:
        """Write the files, each whole or not at all."""
        from coordinator.git.person import write_whole

        for path, data in self.files.items():
            write_whole(self._top / path, data)

    def written(self) -> list[str]:
        return sorted(self.files)

    def show(self, *, saved: bool) -> None:
        for note in self._notes:
            click.echo(note if saved else f"would be written: {note}")
        if self.left:
            lines = ", ".join(map(str, self.left))
            click.echo(f"left alone, for a mark would change what they say: line {lines}")

    def _text(self) -> str:
        data = self.files.get(self._path)
        try:
            return (data if data is not None else (self._top / self._path).read_bytes()).decode("utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:
            fail(f"{self._path} is not UTF-8: save it as UTF-8 first", EXIT_FILES_WRONG)

    def _keep(self, text: str, left: tuple[int, ...]) -> None:
        self.left += [line for line in left if line not in self.left]
        self._put(self._path, text.encode("utf-8"))

    def _put(self, path: str, data: bytes) -> None:
        target = self._top / path
        if target.is_symlink() or (target.exists() and not target.is_file()):
            fail(f"{path} is no plain file: AgentCom does not write there", EXIT_FILES_WRONG)
        if not target.exists() or target.read_bytes() != data:
            if data or target.exists():
                self.files[path] = data
        else:
            self.files.pop(path, None)
