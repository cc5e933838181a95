"""Which forge a remote belongs to, and by which way it is asked."""

import re
import shutil
import subprocess
from urllib.parse import urlsplit

from sidecar.gitflow.forge.port import Forge
from sidecar.gitflow.repository import Repository
from sidecar.gitflow.values import Misconfigured

_SCP = re.compile(r"(?:[^@/:]+@)?([^/:]+):(.+)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def place_of(url: str) -> tuple[str, str]:
    """Return (host, OWNER/NAME) of a remote's address, ("", "") when it is a path of this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "http", "ssh", "git"):
        host, path = parts.hostname or "", parts.path
    elif not parts.scheme and (match := _SCP.fullmatch(url)):
        host, path = match[1], match[2]
    else:
        return "", ""
    return host, "/".join(path.strip("/").removesuffix(".git").split("/")[-2:])


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
    api = settings.api or ("https://api.github.com" if host == "github.com" else f"https://{host}/api/v3")
    parts = urlsplit(api)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise Misconfigured(f"git config agentcom-git.api: {api!r}: write https://..., a token is sent there")
    from sidecar.gitflow.forge import github

    if settings.token:
        return github.GitHub(project, github.by_http(api, settings.token)), ""
    gh = shutil.which("gh", path=repo.environment.get("PATH"))
    if gh is not None and _logged_in(gh, host or "github.com", repo):
        return github.GitHub(project, github.by_gh(host or "github.com", repo.environment)), ""
    return None, "no pull request was opened: set GITHUB_TOKEN, or log in with `gh auth login`, then submit again"


def _logged_in(gh: str, host: str, repo: Repository) -> bool:
    argv = [gh, "auth", "token", "--hostname", host]
    try:
        return subprocess.run(argv, capture_output=True, timeout=10, env=repo.environment, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
