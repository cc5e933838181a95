"""``agentcom init``: make a repository, or equip one that is there, without asking anything."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

import coordinator
from coordinator.cli.common import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NO_REPOSITORY,
    fail,
    json_option,
    print_json,
    refuse,
    table,
)

#: What init lays down; each file only where there is none.
TEMPLATE = (
    "BACKLOG.md",
    "tasks/README.md",
    "tasks/example.yaml.sample",
    "agents/README.md",
    "agents/example.yaml.sample",
)


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@json_option
def command(directory: Path, as_json: bool) -> None:
    """Make DIRECTORY a repository for AgentCom, or equip the one that is there.

    Writes BACKLOG.md, tasks/ and agents/ where they are missing and commits them as you. Nothing of yours is changed.
    """
    from coordinator.files.emitter import blob_id
    from coordinator.files.validate import fates
    from coordinator.git.person import CannotCommit, commit_paths
    from coordinator.git.repo import GitSource, Repo, RepoError, check_repo, find_repo, head_ref, read_ref
    from coordinator.git.run import GitError
    from coordinator.place import Place

    made = _make_repository(directory)
    try:
        repo: Repo = find_repo(directory)
        check_repo(repo)
    except RepoError as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    top = repo.work_tree
    if top is None:
        fail(f"{directory} is a bare repository: run `agentcom init` in a clone of it", EXIT_FAILED)
    ref = head_ref(repo)
    if ref is None:
        fail(f"{top} has a detached HEAD: switch to the branch that people work on, for example `git switch main`")
    if ref.startswith("refs/heads/agentcom/"):
        fail(f"{ref.removeprefix('refs/heads/')} belongs to the hub: switch to the branch that people work on")
    tip = read_ref(repo, ref)
    if tip is not None and read_ref(repo, "refs/heads/agentcom/state") is None:
        problems = GitSource(repo, ref).problems(tip, first=True)
        if problems:
            fail("; ".join(problems), EXIT_CONFIG)
    backlog = top / "BACKLOG.md"
    existed = backlog.is_file()
    before = blob_id(backlog.read_bytes()) if existed else None
    missing = {name: _template(name).read_bytes() for name in TEMPLATE if not (top / name).exists()}
    commit: str | None = None
    try:
        if missing:
            commit = commit_paths(repo, ref, missing, "Equip this repository for AgentCom")
    except CannotCommit as error:
        refuse(error)
    except GitError as error:
        fail(str(error))
    place = Place(repo.agentcom_dir)
    if place.read_init() is None:
        place.write_init(ref, before)
    runs = [fate for fate in fates(top) if fate.runs] if existed else []
    if as_json:
        would_run = [{"line": fate.line, "title": fate.title, "priority": fate.priority} for fate in runs]
        said = {"directory": str(top), "source": ref, "made": made, "commit": commit, "would_run": would_run}
        print_json({**said, "files": sorted(missing)})
        return
    click.echo(f"{'made' if made else 'equipped'} {top}, source branch {ref.removeprefix('refs/heads/')}")
    for name in sorted(missing):
        click.echo(f"  + {name}")
    if not missing:
        click.echo("  everything was there already; nothing was changed")
    if existed:
        lines = f"{len(runs)} of its lines would run:" if runs else "none of its lines would run"
        click.echo(f"  BACKLOG.md is kept as it is; {lines}")
        if runs:
            click.echo(table([(f"line {fate.line}", fate.priority, fate.title[:80]) for fate in runs], "    "))
    _next_steps(top)


def _next_steps(top: Path) -> None:
    here = "" if top == Path.cwd() else f"cd {top} && "
    click.echo("next:")
    click.echo(f"  {here}agentcom hub                              # in a terminal of its own")
    click.echo("  agentcom agent add NAME                    # an agent and its token")
    click.echo('  agentcom add "What you want done"          # a line under Ready, committed')


def _make_repository(directory: Path) -> bool:
    """Run ``git init`` where there is no repository; return whether it did."""
    from coordinator.git.repo import NoRepository, find_repo
    from coordinator.git.run import GitError, git_as_person

    try:
        directory.mkdir(parents=True, exist_ok=True)
        find_repo(directory)
        return False
    except NoRepository:
        pass
    except OSError as error:
        fail(f"{directory}: {error.strerror or error}")
    try:
        git_as_person("init", "--quiet", cwd=directory)
    except GitError as error:
        fail(f"git init failed in {directory}: {error.stderr}")
    return True


def _template(name: str) -> Traversable:
    """Return a template file: from the installed package, or from the top of a checkout."""
    installed = files("coordinator") / "template" / name
    if installed.is_file():
        return installed
    checkout = Path(coordinator.__file__).parent.parent / name
    if not checkout.is_file():
        fail(f"the template {name} is missing from this installation: install AgentCom again")
    return checkout
