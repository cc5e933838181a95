"""``agentcom uninstall``: take back what init and install-hook set up, and say what is left."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_LOCKED,
    EXIT_NO_REPOSITORY,
    directory_option,
    fail,
    json_option,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from coordinator.git.repo import Repo


@click.command("uninstall")
@directory_option
@json_option
def command(directory: Path, as_json: bool) -> None:
    """Take back the git settings of `agentcom init` and the hook of `agentcom install-hook`.

    Your files, your commits and the branch agentcom/state stay; what else is left is named, with the command that
    removes it. A setting or a hook that somebody changed since then is left too. Doing it twice changes nothing.
    """
    from coordinator.git import settings
    from coordinator.git.lock import HubLock, RepositoryLocked
    from coordinator.git.repo import NoRepository, find_repo
    from coordinator.place import Place

    try:
        repo = find_repo(directory.absolute())
    except NoRepository as error:
        fail(str(error), EXIT_NO_REPOSITORY)
    made: dict[str, str] = {}
    changed: dict[str, str] = {}
    if repo.agentcom_dir.is_dir():
        place = Place(repo.agentcom_dir)
        try:
            with HubLock(repo):
                made = place.config_made()
                changed = dict(settings.take_back(repo, made))
                if made:
                    place.note_config({})
        except RepositoryLocked as error:
            fail(str(error), EXIT_LOCKED)
    unset = sorted(made.keys() - changed.keys())
    hook, why_not = _take_hook_away(repo)
    left = _left(repo)
    if as_json:
        found = {"unset": unset, "changed": changed, "hook": hook, "hook_left": why_not}
        print_json({**found, "left": [{"what": what, "command": remove} for what, remove in left]})
        return
    if unset:
        click.echo(f"unset in git config: {', '.join(unset)}")
    for key, value in changed.items():
        click.echo(f"git config {key} is {value} by now, which is not from here, and stays")
    if hook is not None:
        click.echo(f"removed: {hook}")
    if why_not is not None:
        click.echo(why_not)
    if not (unset or hook):
        click.echo("there was nothing to take back")
    click.echo("left: your files (BACKLOG.md, agentcom.yaml, tasks/, agents/) and your commits")
    if left:
        click.echo("left, and what removes it for good:")
        print_table(left, "  ", whole=True)


def _take_hook_away(repo: "Repo") -> tuple[str | None, str | None]:
    """Remove the hook where it is ours and this repository's alone; return its path, or why it stays."""
    from coordinator.git.hooks import NotOurs, find_hook

    if repo.work_tree is None:
        return None, None
    hook = find_hook(repo)
    if not hook.names_us():
        return None, None
    if hook.shared:
        return None, f"{hook.path} stays: other repositories run it too; `agentcom install-hook --uninstall` removes it"
    try:
        return (str(hook.path) if hook.uninstall() else None), None
    except NotOurs as error:
        return None, str(error)


def _left(repo: "Repo") -> list[tuple[str, str]]:
    """Return what AgentCom made and leaves in the repository, each with the command that removes it."""
    import shlex

    from coordinator.git.run import git
    from coordinator.services import machine

    branches, others = (
        git("for-each-ref", f"--format=%(refname:lstrip={cut})", where, git_dir=repo.common_dir).decode().split()
        for where, cut in (("refs/heads/agentcom/", 2), ("refs/agentcom/", 0))
    )
    services = [plan.service.name for plan in machine.services_of(repo.common_dir.resolve())]
    rows = [(f"the service {name}", f"agentcom hub uninstall --name {name}") for name in services]
    rows += [(f"the trail, branch {name}", f"git branch -D {name}") for name in branches]
    rows += [(ref, f"git update-ref -d {ref}") for ref in others]
    if remote := git("config", "--get", "agentcom.remote", git_dir=repo.common_dir, check=False).decode().strip():
        rows.append((f"the remote of the hub, {remote}", "git config --unset agentcom.remote"))
    if repo.agentcom_dir.is_dir():
        rows.append(("hub id and admin token", f"rm -r {shlex.quote(str(repo.agentcom_dir))}"))
    return rows
