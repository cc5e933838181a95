"""``agentcom config show``: every setting in force, and who said it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from coordinator.cli.common import (
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    one_line,
    print_json,
    print_table,
    toned,
)

if TYPE_CHECKING:
    from coordinator.inforce.rows import Section


_HEADS = ("key", "value", "from")


@click.group("config")
def command() -> None:
    """Show the settings in force."""


@command.command("show", short_help="Show every setting in force, and who said it.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@directory_option
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hub's machine config (default: as `agentcom hub` finds it).",
)
@click.option(
    "--dir",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="A sidecar's folder or config file (default: all that `agent add` and `up` have made here).",
)
@json_option
@click.pass_context
def show(
    context: click.Context,
    words: tuple[str, ...],
    directory: Path,
    config: Path | None,
    folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Show every setting in force around this clone, and who said it: option, variable, file and line, or default.

    A WORD shows less: a section (hub, commands, policy, git, agentcom-git, sidecar.ID), a key (hub.listen), or what
    has the word in its key or its purpose (port). Of a secret only whether it is set, and where. Asks no hub and
    changes nothing.
    """
    from coordinator.cli.editor import chosen
    from coordinator.cli.joining import usual_folder
    from coordinator.config import Asked
    from coordinator.inforce.gather import NothingLikeIt, everything, only

    given = context.get_parameter_source("directory") is not ParameterSource.DEFAULT
    asked = Asked(repo=directory if given else None)
    sections = everything(asked, config, folders, usual_folder("any").parent, chosen())
    try:
        sections = only(sections, words) if words else sections
    except NothingLikeIt as error:
        fail(str(error), EXIT_USAGE)
    if as_json:
        print_json(
            {
                "settings": [row.json() for section in sections for row in section.rows],
                "problems": [problem for section in sections for problem in section.problems],
                "notes": [note for section in sections for note in section.notes],
            }
        )
    else:
        for section in sections:
            _print(section)
    if code := max(section.exit_code for section in sections):
        raise click.exceptions.Exit(code)


def _print(section: "Section") -> None:
    click.echo(f"{section.name}:")
    prefix = f"{section.name}."
    print_table(
        [(row.key.removeprefix(prefix), row.text, row.origin) for row in section.rows], "  ", _HEADS, whole=True
    )
    for line in section.notes:
        click.echo(f"  note: {one_line(line)}")
    for line in section.problems:
        click.echo(f"  {toned('wrong', 'bad')}: {one_line(line)}")
