"""What stands around a repository: versions, disk, permissions. Nothing is written here."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from coordinator import __version__
from coordinator.config import find
from coordinator.doctor.findings import Cure, Finding, bad, ok, warn
from coordinator.git.run import GitError, git
from coordinator.ground import Ground
from coordinator.trail import CannotStart

#: Where ``core.fsync`` came in.
OLDEST_GIT = (2, 36)
OLDEST_PYTHON = (3, 11)
#: What nobody but the hub's user may read, in the clone's folder.
SECRETS = ("admin.token", "hook.secret")
#: Below this a flush or a repack may not fit, in bytes.
TOO_FULL = 64 << 20
#: Below this it is time to make room, in bytes.
NEARLY_FULL = 1 << 30
#: Where so few of the disk's files are left (one in so many), it is time to make room.
FEW_FILES = 100

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?")


def versions() -> Iterator[Finding]:
    """Say which programs and packages are used, and which are missing or too old."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield bad("python", f"Python {python}", "install Python 3.11 or newer")
    else:
        yield ok("python", f"Python {python} ({sys.executable}), agentcom {__version__}, {platform.platform()}")
    yield _git()
    yield _packages()


def _git() -> Finding:
    try:
        said = git("version").decode("utf-8", "replace").strip()
    except GitError as error:
        return bad("git", error.stderr, "install git 2.36 or newer")
    if _number(said.removeprefix("git version ")) < OLDEST_GIT:
        return bad("git", said, "install git 2.36 or newer: an older one cannot be told to write durably")
    return ok("git", said)


def _packages() -> Finding:
    try:
        wanted = metadata.requires("agentcom") or []
    except metadata.PackageNotFoundError:
        return warn("packages", "agentcom runs without being installed", "install it: pip install agentcom")
    wrong: list[str] = []
    fine: list[str] = []
    for line in wanted:
        match = _REQUIREMENT.match(line)
        if match is None or ";" in line:
            continue
        try:
            there = metadata.version(match[1])
        except metadata.PackageNotFoundError:
            wrong.append(f"{match[1]} is missing")
            continue
        if _number(there) < _number(match[2] or "0"):
            wrong.append(f"{match[1]} is {there}, {match[2]} is needed")
        fine.append(f"{match[1]} {there}")
    if wrong:
        return bad("packages", "; ".join(wrong), f"{sys.executable} -m pip install --upgrade agentcom")
    return ok("packages", ", ".join(fine))


def _number(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def disk(ground: Ground) -> Iterator[Finding]:
    """Say how much room is left where the repository is, and where mail is kept."""
    yield from _room(ground.repo.common_dir)
    try:
        elsewhere = find(None).data_dir
    except CannotStart:  # said where settings are looked at
        return
    if elsewhere is not None and elsewhere.is_dir():
        yield from _room(elsewhere)


def _room(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    text = f"{free >> 20:,} MiB free at {folder}"
    if free < TOO_FULL:
        yield bad("disk", text, "make room: the hub is read-only on a full disk, and goes on by itself afterwards")
    elif free < NEARLY_FULL:
        yield warn("disk", text, "make room soon: on a full disk the hub is read-only")
    else:
        yield ok("disk", text)
    state = os.statvfs(folder)
    if state.f_files and state.f_favail * FEW_FILES < state.f_files:
        text = f"only {state.f_favail:,} more files fit on the disk of {folder}"
        yield (warn if state.f_favail else bad)("disk", text, "delete what is many and small")


def permissions(ground: Ground) -> Iterator[Finding]:
    """Say whether whoever asks may write where a hub must, and whether others may read the admin's token."""
    place = ground.place.folder
    for secret in (path for name in SECRETS if (path := place / name).exists()):
        mode, owner = secret.stat().st_mode & 0o777, secret.stat().st_uid
        if mode & 0o077:
            text = f"{secret} can be read by others (mode {mode:o})"
            mine = owner == os.geteuid()
            yield bad("permissions", text, f"chmod 600 {secret}", Cure.CLOSE_SECRETS if mine else None)
        if not os.access(secret, os.R_OK):
            yield warn(
                "permissions", f"{secret} belongs to somebody else", "be who runs the hub, or set AGENTCOM_TOKEN"
            )
    common = ground.repo.common_dir
    closed = [path for path in _written(common, place) if not os.access(path, os.W_OK)]
    if closed:
        shown = ", ".join(map(str, closed[:3]))
        more = f" and {len(closed) - 3} more" if len(closed) > 3 else ""
        advice = f"give them back to who runs the hub, as root: chown -R USER {common}"
        yield bad("permissions", f"cannot be written by {os.geteuid()}: {shown}{more}", advice)
    else:
        yield ok("permissions", f"{common} can be written")


def _written(common: Path, place: Path) -> Iterator[Path]:
    """Yield the folders in which hub or git write files; those of somebody else's git are found too."""
    for name in (".", "objects", "objects/pack", "objects/info", "refs", "refs/heads"):
        if (common / name).is_dir():
            yield common / name
    yield from (folder for folder in sorted((common / "objects").glob("[0-9a-f][0-9a-f]")) if folder.is_dir())
    if place.is_dir():
        yield place
