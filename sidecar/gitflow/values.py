"""What the git flow speaks of: tasks, workplaces, what git shows, what was submitted, and how it fails.

Values are frozen. This module decides nothing and knows neither git nor files.

    FlowError                   the command did nothing, or less than was asked; the text says what to do next
      +-- Misused               asked for in a way that has no meaning
      +-- Refused               the work is not fit for it; ``refusals`` says each reason
      +-- NoWorkplace           no repository there, or no workplace of a task
      +-- Unreachable           the remote or the forge does not answer: try again later
      +-- Busy                  the same task is being worked on by another command now
      +-- NotAllowed            the remote or the forge says no: rights, tokens, protected branches
      +-- Misconfigured         a setting must be changed
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

#: An id becomes part of a branch's and of a folder's name, so nothing else is ever accepted.
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class FlowError(Exception):
    """The command did not do what was asked; ``exit_code`` as docs/agentcom-git.md lists it."""

    exit_code: ClassVar[int] = 1


class Misused(FlowError):
    """Asked for in a way that has no meaning."""

    exit_code = 64


class NoWorkplace(FlowError):
    """There is no repository, or no workplace of a task."""

    exit_code = 66


class Unreachable(FlowError):
    """The remote or the forge does not answer."""

    exit_code = 69


class Busy(FlowError):
    """Another command works on the same task now."""

    exit_code = 75


class NotAllowed(FlowError):
    """The remote or the forge refuses."""

    exit_code = 77


class Misconfigured(FlowError):
    """A setting must be changed."""

    exit_code = 78


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why work is not submitted; ``code`` is for programs, ``text`` says what to do next."""

    code: str
    text: str


class Refused(FlowError):
    """The work is not fit to be submitted, or to be put on the newest base."""

    exit_code = 65

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(refusal.text for refusal in self.refusals))


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done; ``attempt`` is the generation, 0 when nobody said it.

    ``base`` is the branch that the work is for ("" leaves it to the repository), ``branch`` the one to go on from.
    """

    id: str
    title: str = ""
    description: str = ""
    priority: str = "normal"
    acceptance: tuple[str, ...] = ()
    attempt: int = 0
    base: str = ""
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a task is worked on.

    ``resumed``: it, or its branch, was there already; ``continued_from`` is the branch of another agent that it goes on
    from, ``remarks`` are lines for people. Commits are full ids.
    """

    task_id: str
    agent: str
    path: Path
    branch: str
    base: str
    base_commit: str
    commit: str
    remote: str = ""
    resumed: bool = False
    continued_from: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a diff; ``added`` and ``removed`` count lines, None for what is not text."""

    path: str
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the agent says of its work, for the pull request; ``tokens`` is None when nobody counted."""

    summary: str = ""
    tested: str = ""
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What git shows of a workplace, judged by ``judging``.

    ``branch`` is what is checked out ("" when detached), ``own_branch`` what should be. ``ahead`` and ``behind`` count
    commits beside the base; ``dirty`` and ``untracked`` are paths; ``under_way`` names a git operation; ``reverted``
    are files that hold again what the base had before somebody changed them; ``foreign`` counts commits that only the
    remote's branch has and that were never this workplace's.
    """

    branch: str
    own_branch: str
    base: str
    base_commit: str
    commit: str
    ahead: int = 0
    behind: int = 0
    changes: tuple[FileChange, ...] = ()
    dirty: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    under_way: str = ""
    reverted: tuple[str, ...] = ()
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge knows it; ``state`` is open, merged or closed."""

    number: int
    url: str
    state: str = "open"
    title: str = ""
    body: str = ""
    draft: bool = False
    commit: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pull request as it should be; ``outdated`` are labels that an earlier submission may have given it."""

    title: str
    body: str
    branch: str
    base: str
    labels: tuple[str, ...] = ()
    outdated: frozenset[str] = frozenset()
    reviewers: tuple[str, ...] = ()
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission.

    ``pull_request`` where there is a forge; otherwise ``request`` is a text to send (a remote without a forge), and
    ``merge`` is the line with which somebody takes the work. ``pushed`` tells that the remote's branch moved,
    ``forced`` that it was replaced after a rebase. ``left_out`` are files that were saved and not committed.
    """

    task_id: str
    branch: str
    commit: str
    base: str
    base_commit: str
    title: str
    risk: str
    merge: str
    pushed: bool = False
    forced: bool = False
    pull_request: PullRequest | None = None
    created: bool = False
    request: str = ""
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
