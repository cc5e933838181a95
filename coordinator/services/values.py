"""What a service is, and what is to be done so that a service manager runs it: plain values.

A file that a service is installed by carries a mark with what the service belongs to (``owner``), so that nobody's unit
is overwritten and no two agents or repositories can be mixed up under one name.

    Unfit                       the service cannot be written down for a manager as it is; the text says what to change
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

#: What stands before the owner in the file of a service.
MARK = "agentcom-service-of: "
#: Exit codes after which another start makes no sense until a person has changed something (DECISIONS 17).
FINAL = (64, 66, 75, 78)
#: Pause before a service that failed is started anew, in seconds.
PAUSE = 5
#: A loop that gives no sign of life for so long is ended and started anew, in seconds.
WATCHDOG = 60
#: How long a start may take, in seconds: the first clone of a large repository.
START_WITHIN = 600

_SLUG = re.compile(r"[^a-z0-9]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,79}\Z")


class Unfit(Exception):
    """The service cannot be written down as it is."""


class Manager(StrEnum):
    """Who can run a service; ``NONE`` is a person in a terminal, or the command of a container."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"
    PM2 = "pm2"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Service:
    """One hub or sidecar that is to run always.

    ``owner`` is the path that it belongs to (a git directory, a config file), ``path`` the PATH of its programs,
    ``grace`` the seconds that it may take to stop. ``alone``: it starts no program of people's choice but git, so it
    can be shut in more tightly. ``writes`` are the folders that it must be able to write.
    """

    name: str
    title: str
    owner: Path
    argv: tuple[str, ...]
    cwd: Path
    path: str
    grace: int
    alone: bool
    writes: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise Unfit(f"{self.name!r} is no name for a service: use a-z, 0-9 and -, at most 80")
        texts = (self.title, str(self.owner), str(self.cwd), self.path, *self.argv, *map(str, self.writes))
        if any(not text.isprintable() for text in texts):
            raise Unfit(f"{self.name}: a path with a line break or control character cannot stand in a unit: rename it")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a manager comes to run a service: its file, and argument lists in their order.

    ``fresh`` makes room for a start and may fail, because there may be nothing to clear away. ``status`` succeeds while
    the service runs, ``log`` shows what it said. ``notes`` are lines for people.
    """

    manager: Manager
    service: Service
    file: Path
    text: str
    fresh: tuple[tuple[str, ...], ...]
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    after_removal: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    log: tuple[str, ...]
    notes: tuple[str, ...] = ()


def mark_of(owner: Path) -> str:
    """Return the text that marks a file as that of a service of ``owner``; it can stand in any comment."""
    return MARK + str(owner).replace("%", "%25").replace("--", "-%2D")


def owner_of(text: str) -> str | None:
    """Return what the service in a file belongs to, None when the file is not ours."""
    at = text.find(MARK)
    return None if at < 0 else unquote(text[at + len(MARK) :].partition("\n")[0].removesuffix(" -->"))


def slug(text: str) -> str:
    """Return a text as a part of a service's name."""
    return _SLUG.sub("-", text.lower()).strip("-")[:40].strip("-") or "repository"
