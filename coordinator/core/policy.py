"""The policy of one repository (agentcom.yaml): time-outs, retries, lanes, limits.

Durations are seconds. The values here are the defaults of DECISIONS 12; the loader fills in what people wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Lane(StrEnum):
    """What a heading of BACKLOG.md means for the items under it."""

    DRAFT = "draft"
    READY = "ready"
    IN_PROGRESS = "in_progress"
    DEFERRED = "deferred"
    DONE = "done"


#: Heading (folded) -> lane, when agentcom.yaml says nothing else (DESIGN 3).
DEFAULT_LANES: Mapping[str, Lane] = {
    "inbox": Lane.DRAFT,
    "ideas": Lane.DRAFT,
    "ready": Lane.READY,
    "to do": Lane.READY,
    "todo": Lane.READY,
    "next": Lane.READY,
    "now": Lane.READY,
    "in progress": Lane.IN_PROGRESS,
    "someday": Lane.DEFERRED,
    "later": Lane.DEFERRED,
    "icebox": Lane.DEFERRED,
    "done": Lane.DONE,
    "shipped": Lane.DONE,
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the hub waits before it acts by itself, in seconds."""

    lost_after: float = 120.0
    start_grace: float = 120.0
    accept: float = 60.0
    attempt: float = 7200.0
    stuck: float = 300.0
    stuck_fail: float = 900.0
    blocked: float = 86400.0
    release: float = 60.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failed attempt is repeated; back-off doubles from ``backoff`` to ``backoff_max`` seconds."""

    max: int = 2
    backoff: float = 10.0
    backoff_max: float = 600.0


class Reviews(StrEnum):
    """Which results wait for a person when their task says nothing: those with a repository, all, none."""

    WITH_REPO = "with_repo"
    ALWAYS = "always"
    NEVER = "never"


#: What ``repo`` and ``default_repo`` say where there is no repository.
NO_REPO = "none"


@dataclass(frozen=True, slots=True)
class RepoTarget:
    """One repository that tasks may name with ``repo:``."""

    url: str
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks may be in hand at once, in all and per repository; None is no limit."""

    total: int | None = None
    repo: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """agentcom.yaml as read; ``blob`` is the git id of the text it came from, empty for the defaults."""

    root: str = "."
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    lanes: Mapping[str, Lane] = field(default_factory=lambda: DEFAULT_LANES)
    default_lane: Lane = Lane.DRAFT
    repos: Mapping[str, RepoTarget] = field(default_factory=dict)
    default_repo: str | None = None
    limits: Limits = Limits()
    suspend: bool = False
    proposals: str = "hold"
    review: Reviews = Reviews.WITH_REPO
    blob: str = ""

    def repo_of(self, named: str | None, kind: str | None) -> str | None:
        """Return the repository of a task by what it names; notes that name none have none."""
        repo = named or (None if kind == "note" else self.default_repo)
        return None if repo == NO_REPO else repo

    def wants_review(self, asked: bool | None, repo: str | None) -> bool:
        """Tell whether a person must approve the result of a task in ``repo``; ``asked`` is its own word, if any."""
        if asked is not None:
            return asked
        return self.review is Reviews.ALWAYS or (self.review is Reviews.WITH_REPO and repo is not None)
