"""Which forge a remote belongs to, and by which way it is asked."""

import shutil
import subprocess
from urllib.parse import urlsplit

from coordinator.git.address import shown
from coordinator.git.forge import GITHUB_API, objection, place_of
from sidecar.gitflow.forge.port import Forge
from sidecar.gitflow.repository import Repository
from sidecar.gitflow.values import Misconfigured


def choose(repo: Repository, remote: str) -> tuple[Forge | None, str]:
    """Return the forge of a remote, or None and a line that says why there is none. Raises Misconfigured."""
    settings = repo.settings
    host, project = place_of(repo.urls.get(remote, ""))
    project = settings.project or project
    known = bool(settings.api) or settings.forge == "github" or host == "github.com"
    if settings.forge == "none" or not remote or not known:
        return None, ""
    if project.count("/") != 1:
        raise Misconfigured("which project on the forge? `git config agentcom-git.project OWNER/NAME`")
    api = settings.api or (GITHUB_API if host in ("", "github.com") else f"https://{host}/api/v3")
    if (against := objection(api)) is not None:
        raise Misconfigured(f"git config agentcom-git.api: {shown(api)!r}: {against}")
    from sidecar.gitflow.forge import github

    if settings.token:
        return github.GitHub(project, github.by_http(api, settings.token)), ""
    gh = shutil.which("gh", path=repo.environment.get("PATH"))
    host = "github.com" if api == GITHUB_API else urlsplit(api).hostname or ""
    if gh is not None and _logged_in(gh, host, repo):
        return github.GitHub(project, github.by_gh(host, repo.environment)), ""
    return None, "no pull request was opened: set GITHUB_TOKEN, or log in with `gh auth login`, then submit again"


def _logged_in(gh: str, host: str, repo: Repository) -> bool:
    argv = [gh, "auth", "token", "--hostname", host]
    try:
        return subprocess.run(argv, capture_output=True, timeout=10, env=repo.environment, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
