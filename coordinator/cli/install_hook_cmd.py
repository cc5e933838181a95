"""``agentcom install-hook``: what people write is checked at every commit in this clone."""

import sys
from pathlib import Path

import click

from coordinator.cli.common import EXIT_NO_REPOSITORY, directory_option, fail, json_option, print_json


@click.command("install-hook")
@click.option("--uninstall", is_flag=True, help="Take the hook away.")
@directory_option
@json_option
def command(uninstall: bool, directory: Path, as_json: bool) -> None:
    """Install a git pre-commit hook that runs `agentcom validate --staged`.

    A commit with a wrong file is refused then; `git commit --no-verify` goes past it. A hook that is there already is
    never touched. Doing it twice changes nothing.
    """
    from coordinator.git.hooks import NotOurs, find_hook
    from coordinator.git.repo import NoRepository, find_repo

    try:
        repo = find_repo(directory.absolute())
    except NoRepository as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    if repo.work_tree is None:
        fail(f"{repo.common_dir} has no work tree, so nobody commits in it: run this in a clone of it")
    hook = find_hook(repo)
    try:
        changed = hook.uninstall() if uninstall else hook.install(sys.executable)
    except NotOurs as error:
        fail(str(error))
    if as_json:
        print_json({"hook": str(hook.path), "installed": not uninstall, "changed": changed})
        return
    done = "removed" if uninstall else "installed"
    already = "there was no hook" if uninstall else "installed already"
    click.echo(f"{done if changed else already}: {hook.path}")
    if changed and not uninstall and hook.shared:
        click.echo(
            "note: core.hooksPath leads there from other repositories too; without files of ours it says nothing"
        )
    if changed and not uninstall and hook.in_work_tree:
        click.echo("note: it lies in the work tree and names an interpreter of this machine: do not commit it")
