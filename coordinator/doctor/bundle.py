"""A support bundle: what somebody who helps needs to see, and nothing that opens anything.

Only what is listed here goes in: no file of people but agentcom.yaml, no mail, no token, no variable of the
environment, of git's configuration only what has to do with the hub. All of it goes through ``clean`` besides, which
takes out whatever looks like a secret, and those of this machine whatever they look like.
"""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coordinator.doctor.examine import Report
from coordinator.doctor.running import installed
from coordinator.files import secrets
from coordinator.files.observe import POLICY
from coordinator.git import address
from coordinator.git.run import GitError, git
from coordinator.ground import Ground
from coordinator.log import redact
from coordinator.services import machine

README = """\
A support bundle of AgentCom, made by `agentcom doctor --bundle`.

It holds no token, no password, no mail, no file of yours but agentcom.yaml. It does hold titles of tasks (in trail.txt
and service.log), names of agents and people, paths of this machine, and addresses of remotes without credentials: look
through it before you give it to somebody.
"""
#: So many of the last commits of the trail are told, by their subjects.
TRAIL = 200
#: Of git's configuration, what has to do with the hub; ``url.*`` and ``http.*`` may hold credentials.
_CONFIG = re.compile(r"(?:agentcom|core|gc|receive|fetch|extensions|maintenance|pack|repack|branch)\.|remote\..*\.url$")
_STILL_SECRET = re.compile(
    r"(?i)((?:token|password|secret|api[_-]?key|authorization)[\"']?\s*[:=]\s*[\"']?)([^\s\"',;]{6,})"
)
_HIDDEN = r"\1[redacted]"


def write(target: Path, report: Report) -> tuple[str, ...]:
    """Write the bundle, readable by its owner alone; return the names of what is in it. Raises OSError."""
    parts = dict(contents(report))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(f"agentcom-support/{name}", text)
    target.unlink(missing_ok=True)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data.getvalue())
    return tuple(parts)


def contents(report: Report) -> Iterable[tuple[str, str]]:
    """Yield name and text of each part, cleaned."""
    known = _known_secrets(report.ground)
    yield "README.txt", README
    yield "doctor.json", clean(_json({"findings": [finding.json() for finding in report.findings]}), known)
    if report.summary is not None:
        yield "hub-status.json", clean(_json(report.summary), known)
    if report.ground is None:
        return
    for name, make in _PARTS.items():
        try:
            text = make(report.ground)
        except (GitError, OSError) as error:
            text = f"could not be told: {error}\n"
        yield name, clean(text, known)


def clean(text: str, known: Iterable[str] = ()) -> str:
    """Return a text without secrets: those that are known, those that look like one, those that are named as one."""
    for secret in known:
        text = text.replace(secret, "[redacted]")
    return _STILL_SECRET.sub(_HIDDEN, secrets.hide(redact(address.shown(text))))


def _known_secrets(ground: Ground | None) -> tuple[str, ...]:
    """Return the secrets of this machine that a text might hold, whatever they look like."""
    named = [name for name in os.environ if name.startswith("AGENTCOM_") and name.endswith(("TOKEN", "SECRET"))]
    found = [os.environ[name] for name in named]
    if ground is not None:
        found += [ground.place.read_admin_token() or "", ground.place.read_hook_secret() or ""]
    return tuple(secret for secret in found if len(secret) >= 6)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=list) + "\n"


def _git(ground: Ground, *argv: str) -> str:
    return git(*argv, git_dir=ground.repo.common_dir).decode("utf-8", "replace")


def _config(ground: Ground) -> str:
    rows = (row.partition("\n") for row in _git(ground, "config", "--list", "-z").split("\0") if row)
    return "".join(f"{key}={value}\n" for key, _, value in rows if _CONFIG.match(key))


def _trail(ground: Ground) -> str:
    how = ("log", "--first-parent", f"-{TRAIL}", "--format=%h %cI %s", ground.state_ref)
    return _git(ground, *how)


def _refs(ground: Ground) -> str:
    how = ("for-each-ref", "--format=%(objectname:short) %(committerdate:iso-strict) %(refname)")
    return _git(ground, *how, "refs/heads", "refs/remotes", "refs/agentcom")


def _objects(ground: Ground) -> str:
    listed = sorted((ground.repo.common_dir / "objects/pack").glob("*"))
    return _git(ground, "count-objects", "-v") + "".join(f"{path.stat().st_size:>12} {path.name}\n" for path in listed)


def _policy(ground: Ground) -> str:
    return _git(ground, "cat-file", "blob", f"{ground.watched_ref}:{POLICY}")


def _hub(ground: Ground) -> str:
    names = [f"{path.stat().st_mode & 0o777:o} {path.name}" for path in sorted(ground.place.folder.iterdir())]
    return _json({"hub": ground.place.read_hub(), "init": ground.place.read_init(), "files": names})


def _service(ground: Ground) -> str:
    return "".join(f"{plan.file}\n{plan.file.read_text()}\n{machine.said(plan)}\n" for plan in installed(ground))


_PARTS: Mapping[str, Callable[[Ground], str]] = {
    "agentcom.yaml": _policy,
    "git-config.txt": _config,
    "refs.txt": _refs,
    "objects.txt": _objects,
    "trail.txt": _trail,
    "hub.json": _hub,
    "service.log": _service,
}
