"""``agentcom init``: make a repository, or equip one that is there, without asking anything."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_CONFIG,
    EXIT_NO_REPOSITORY,
    EXIT_USAGE,
    fail,
    json_option,
    print_json,
    print_table,
    refuse,
)
from coordinator.cli.reading_options import open_ground
from coordinator.cli.template import SCHEMAS, schema, template

if TYPE_CHECKING:
    from coordinator.git.repo import Repo
    from coordinator.git.settings import Wishes
    from coordinator.ground import Ground

#: What init lays down below root besides the schemas; each file only where there is none.
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
    """Make DIRECTORY (default: here) a repository for AgentCom, or equip the one that is there.

    Writes BACKLOG.md, tasks/ and agents/ where they are missing and commits them as you. Makes settings in the
    repository's git configuration where you have none, and says which; `agentcom uninstall` takes them back. Nothing of
    yours is changed.
    """
    equip(directory, as_json=as_json)


def equip(directory: Path, *, as_json: bool = False, steps: bool = True) -> None:
    """Do it, and say what was done; with ``steps`` also what comes next."""
    from coordinator.files.validate import fates
    from coordinator.git.person import CannotCommit, commit_paths, is_committed, saved_blob
    from coordinator.git.settings import set_up

    directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolves .. and no links
    made = _make_repository(directory)
    ground, top = _ground(directory)
    _refuse_occupied(ground, top)
    name = ground.path("BACKLOG.md")
    existed = (top / name).is_file() and not (top / name).is_symlink()
    odd = (top / name).is_symlink() or (top / name).is_dir()
    before = saved_blob(ground.repo, name)
    sources = {file: template(file) for file in TEMPLATE} | {file: schema(kind) for file, kind in SCHEMAS.items()}
    missing = {
        ground.path(file): source.read_bytes()
        for file, source in sources.items()
        if not (top / ground.path(file)).exists()
    }
    commit: str | None = None
    try:
        if missing:
            commit = commit_paths(ground.repo, ground.source_ref, missing, "Equip this repository for AgentCom")
    except CannotCommit as error:
        refuse(error)
    if ground.place.read_init() is None:
        ground.place.write_init(ground.source_ref, before)
    wishes = set_up(ground.repo, ground.place.config_made(), ground.place.note_config)
    runs = [fate for fate in fates(top) if fate.runs] if existed else []
    saved_only = existed and not is_committed(ground.repo, name)
    if as_json:
        would_run = [{"line": fate.line, "title": fate.title, "priority": fate.priority} for fate in runs]
        said = {"directory": str(top), "source": ground.source_ref, "root": ground.root, "made": made, "commit": commit}
        config = {"set": dict(wishes.missing), "yours": dict(wishes.otherwise)}
        found = {"would_run": would_run, "backlog_committed": not saved_only}
        print_json({**said, "files": sorted(missing), "config": config, **found})
        return
    equipped = missing or wishes.missing
    click.echo(f"{'made' if made else 'equipped' if equipped else 'nothing to do in'} {top}, source {ground.branch}")
    for file in sorted(missing):
        click.echo(f"  + {file}")
    if existed:
        lines = f"{len(runs)} of its lines wait for `agentcom confirm`:" if runs else "none of its lines would run"
        click.echo(f"  {name} is kept as it is; {lines}")
        print_table([(f"line {fate.line}", fate.priority, fate.title[:80]) for fate in runs], "    ")
    _say_settings(wishes)
    if odd:
        click.echo(f"  {name} is a link or a folder, and only plain files are read: put the file itself there")
    if saved_only:
        click.echo(f"  {name} is saved but not committed, and only commits count: git add {name} && git commit")
    if steps:
        _next_steps(top)


def _say_settings(wishes: "Wishes") -> None:
    from coordinator.git.settings import WANTED

    if wishes.missing:
        click.echo("  git config of this repository (`agentcom uninstall` takes it back):")
        print_table([(key, value, f"# {WANTED[key][1]}") for key, value in wishes.missing.items()], "    ", whole=True)
    for key, value in wishes.otherwise.items():
        wanted, why = WANTED[key]
        click.echo(f"  git config {key} is {value}, as you set it, and stays; AgentCom would set {wanted}: {why}")


def _next_steps(top: Path) -> None:
    rows = [
        ("agentcom hub", "# in a terminal of its own"),
        ("agentcom agent add NAME", "# an agent and its token"),
        ('agentcom add "What you want done"', "# a line under Ready, committed"),
    ]
    click.echo("next:")
    print_table(([] if top == Path.cwd() else [(f"cd {top}", "")]) + rows, "  ", whole=True)


def _make_repository(directory: Path) -> bool:
    """Run ``git init`` where there is no repository; return whether it did."""
    from coordinator.git.repo import NoRepository, find_repo
    from coordinator.git.run import GitError, git_as_person

    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    try:
        repo = find_repo(there)
    except NoRepository as error:
        if any((folder / ".git").exists() for folder in (there, *there.parents)):
            fail(str(error), EXIT_NO_REPOSITORY)  # there is one, but git does not want to use it, and says why
    else:
        if there != directory:
            fail(
                f"{directory} does not exist and would lie inside the repository {repo.work_tree or repo.common_dir}: "
                f"run `agentcom init` there, or `git init {directory}` first for a repository of its own",
                EXIT_USAGE,
            )
        return False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        configured = git_as_person("config", "--get", "init.defaultBranch", cwd=directory, check=False).strip()
        how = () if configured else ("--initial-branch=main",)
        git_as_person("init", "--quiet", *how, cwd=directory)
    except OSError as error:
        fail(f"{directory}: {error.strerror or error}")
    except GitError as error:
        fail(f"git init failed in {directory}: {error.stderr}")
    return True


def _ground(directory: Path) -> "tuple[Ground, Path]":
    """Return the repository and its work tree; refuse places where people do not write."""
    from coordinator.git.repo import NoRepository, find_repo, head_ref

    try:
        repo: Repo = find_repo(directory)
    except NoRepository as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    if repo.work_tree is None:
        fail(f"{repo.common_dir} is a bare repository: run `agentcom init` in a clone of it")
    head = head_ref(repo)
    if head is None:
        fail(
            f"{repo.work_tree} has a detached HEAD: switch to the branch that people work on (`git switch main`)",
            EXIT_CONFIG,
        )
    if head == "refs/heads/agentcom":
        fail(
            "a branch named agentcom leaves no room for agentcom/state: `git branch -m main`, then try again",
            EXIT_CONFIG,
        )
    if head.startswith("refs/heads/agentcom/"):
        fail(f"{head.removeprefix('refs/heads/')} belongs to the hub: switch to the branch that people work on")
    return open_ground(directory), repo.work_tree


def _refuse_occupied(ground: "Ground", top: Path) -> None:
    """Refuse a source that uses the hub's paths for something else, and a root that is not in force yet."""
    from coordinator.files.validate import read_policy
    from coordinator.git.repo import GitSource, read_ref

    if read_ref(ground.repo, ground.state_ref) is not None:
        return
    saved = read_policy(top).root
    if saved != ground.root:
        fail(
            f"agentcom.yaml says root: {saved}, but that is not committed: `git add agentcom.yaml && git commit`, "
            "then run `agentcom init` again"
        )
    tip = read_ref(ground.repo, ground.source_ref)
    problems = () if tip is None else GitSource(ground.repo, ground.source_ref, ground.root).problems(tip, first=True)
    if problems:
        fail("; ".join(problems), EXIT_CONFIG)
