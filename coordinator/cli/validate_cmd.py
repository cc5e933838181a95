"""``agentcom validate``: the hub's own reading of people's files, before the commit."""

from pathlib import Path

import click

from coordinator.cli.common import EXIT_FILES_WRONG, EXIT_NO_REPOSITORY, fail, json_option, print_json
from coordinator.cli.status_cmd import problem_line


@click.command("validate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@json_option
def command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check BACKLOG.md, agentcom.yaml, tasks/ and agents/ as they are saved here, or only PATHS.

    Exit code 65 when something is wrong.
    """
    from coordinator.files.validate import validate
    from coordinator.git.repo import NoRepository, find_repo

    here = Path.cwd()
    try:
        top = find_repo(here).work_tree or here
    except NoRepository as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    relative = [_below(top, path) for path in paths]
    problems = [
        {"path": p.path, "line": p.line, "column": p.column, "field": p.field, "what": p.what, "hint": p.hint}
        for p in validate(top, relative)
    ]
    if as_json:
        print_json({"problems": problems, "count": len(problems)})
    else:
        for problem in problems:
            click.echo(problem_line(problem))
        if not problems:
            click.echo("ok: nothing is wrong")
    if problems:
        raise click.exceptions.Exit(EXIT_FILES_WRONG)


def _below(top: Path, path: Path) -> Path:
    absolute = path.absolute()
    try:
        return absolute.relative_to(top)
    except ValueError:
        fail(f"{path} lies outside of the repository {top}")
