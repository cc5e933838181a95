"""``agentcom validate``: the hub's own reading of people's files, before the commit."""

import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import (
    EXIT_FAILED,
    EXIT_FILES_WRONG,
    EXIT_NO_REPOSITORY,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    one_line,
    print_json,
)
from coordinator.cli.status_cmd import problem_line

if TYPE_CHECKING:
    from coordinator.files.observe import Known
    from coordinator.files.problem import Problem
    from coordinator.git.repo import Repo
    from coordinator.ground import Ground


@click.command("validate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--staged", is_flag=True, help="Check what the next commit would hold, and report what it would bring.")
@directory_option
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="json: one object, as --json. github: annotations of a GitHub workflow.",
)
@json_option
def command(paths: tuple[Path, ...], staged: bool, directory: Path, shape: str, as_json: bool) -> None:
    """Check BACKLOG.md, agentcom.yaml, tasks/ and agents/ as they are saved here, or only PATHS.

    Exit code 65 when something is wrong.
    """
    from dataclasses import asdict

    from coordinator.files.validate import validate
    from coordinator.git.repo import NoRepository, find_repo, head_ref
    from coordinator.ground import survey
    from coordinator.trail import CannotStart

    directory = directory.absolute()
    try:
        repo = find_repo(directory)
    except NoRepository as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    if repo.work_tree is None:
        fail(f"{repo.common_dir} has no work tree: run this in a clone of it", EXIT_FAILED)
    known = None
    try:
        ground = survey(directory)
        branch, known = ground.branch, _known(ground)
    except CannotStart:  # no place for a hub, but its files can be checked: a shallow clone, for example
        branch = (head_ref(repo) or "main").removeprefix("refs/heads/")
    top = repo.work_tree
    relative = [_below(top, path) for path in paths]
    found = _staged(repo, relative, branch) if staged else validate(top, relative, known=known, source_branch=branch)
    problems = [asdict(problem) for problem in found]
    if as_json or shape == "json":
        print_json({"problems": problems, "count": len(problems)})
    else:
        for problem in problems:
            click.echo(_annotation(problem) if shape == "github" else problem_line(problem))
        if not problems:
            click.echo("ok: nothing is wrong")
    if problems:
        raise click.exceptions.Exit(EXIT_FILES_WRONG)


def _known(ground: "Ground") -> "Known | None":
    """Return which tasks the trail knows, None where there is none: then no id is known to be wrong."""
    from coordinator.git.journal import GitStore
    from coordinator.memoir import known_ids
    from coordinator.ports import StoreError

    try:
        fold = GitStore(ground.repo, ground.root, ground.state_ref).load()
    except StoreError:  # its own commands say so; what a person wrote can be checked without it
        return None
    return None if fold.tip is None else known_ids(fold)


def _staged(repo: "Repo", paths: Sequence[Path], branch: str) -> "tuple[Problem, ...]":
    """Return the problems that the next commit would bring, all of them or those at or below some paths."""
    from coordinator.files.validate import introduced
    from coordinator.git.staged import in_head, in_index

    now, before = (cache(partial(read, repo)) for read in (in_index, in_head))
    found = introduced(now, before, source_branch=branch)
    return tuple(one for one in found if not paths or any(Path(one.path).is_relative_to(path) for path in paths))


def _annotation(problem: Mapping[str, Any]) -> str:
    """Return a problem as a workflow command of GitHub: an error at its place in the file."""
    title = f"AgentCom: {problem['field']}" if problem["field"] else "AgentCom"
    places = {"file": problem["path"], "line": problem["line"], "col": problem["column"], "title": title}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in places.items() if value)
    text = ", ".join(part for part in (problem["what"], problem["hint"]) if part)
    return f"::error {properties}::{_escaped(one_line(text))}"


def _escaped(text: str, more: str = "") -> str:
    """Write what would end a workflow command, or ``more``, as GitHub reads it back."""
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _below(top: Path, path: Path) -> Path:
    """Return a path as seen from the top; only its folder may be reached through links."""
    plain = Path(os.path.normpath(Path.cwd() / path))
    for candidate in (plain, plain.parent.resolve() / plain.name):
        if candidate.is_relative_to(top):
            return candidate.relative_to(top)
    fail(f"{path} lies outside of the repository {top}", EXIT_USAGE)
