"""The audit trail of a clone, found without reading a file of people: which repository, which branch, which folder.

A command that shows the trail and nothing else stands on this alone, because reading people's files costs an
interpreter more time to get ready than git needs for the history of a task. It knows no task and no specification.

    CannotStart              the repository cannot be used as it is; the text says what to do, ``exit_code`` which way
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.core.timers import rfc3339
from coordinator.git.history import Edition, Record, Wanted, editions, log, search
from coordinator.git.message import ROOT, trailer
from coordinator.git.recovery import last_known
from coordinator.git.repo import STATE_REF, NoRepository, Repo, RepoError, check_repo, find_repo, read_ref, trail_ref
from coordinator.place import Place

#: What is said where there is no state branch.
NEVER = "no hub has run in this repository yet: start one with `agentcom hub`"
GONE = "agentcom/state was deleted while no hub was running: the next `agentcom hub` puts it back"


class CannotStart(Exception):
    """The repository cannot be used as it is; the text is one line for people, ``exit_code`` of DECISIONS 17."""

    def __init__(self, text: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Trail:
    """The state branch as this clone sees it: ``ref`` is its own, or a remote's as it was fetched last."""

    repo: Repo
    ref: str
    root: str

    @property
    def exists(self) -> bool:
        """Tell whether a hub ever wrote here."""
        return read_ref(self.repo, self.ref) is not None

    @property
    def nothing(self) -> str:
        """Say why there is nothing to read where the branch does not exist."""
        return GONE if Place(self.repo.agentcom_dir).has_written else NEVER

    def records(self, task_id: str | None, limit: int | None) -> tuple[Record, ...]:
        """Return at most ``limit`` commits (None: all), newest first, of everything or of one task. Raises GitError."""
        return log(self.repo, self.ref, task_id, limit, root=self.root)

    def search(self, wanted: Wanted, limit: int) -> tuple[Record, ...]:
        """Return at most ``limit`` commits that are wanted, newest first. Raises GitError."""
        return search(self.repo, self.ref, wanted, limit)

    def editions(self, records: Sequence[Record]) -> tuple[Edition, ...]:
        """Return what a task's specification said as of each of its records that changed it, oldest first."""
        return editions(self.repo, records, self.root)


def usable_repo(directory: Path) -> Repo:
    """Return the repository around ``directory``. Raises CannotStart when there is none, or none for a hub."""
    try:
        repo = find_repo(directory)
        check_repo(repo)
    except NoRepository as error:
        raise CannotStart(str(error), 66) from None
    except RepoError as error:
        raise CannotStart(str(error), 78) from None
    return repo


def find_trail(directory: Path) -> Trail:
    """Return where the trail is read from; before any hub ran the folder does not matter. Raises CannotStart."""
    repo = usable_repo(directory)
    ref = trail_ref(repo)
    return Trail(repo, ref, root_in_force(repo, ref) or ".")


def root_in_force(repo: Repo, ref: str = STATE_REF) -> str | None:
    """Return the folder that the hub of this branch writes in, ``.`` at the top, None when no hub ever wrote to it.

    What people write into agentcom.yaml afterwards moves nothing. Raises GitError when the branch cannot be read.
    """
    commit = last_known(repo, ref)
    return None if commit is None else trailer(commit.message, ROOT) or "."


def record_json(record: Record) -> dict[str, Any]:
    """Return one commit of the audit trail as JSON."""
    return {
        "commit": record.commit,
        "time": rfc3339(record.time_ms),
        "time_ms": record.time_ms,
        "author": record.author,
        "subject": record.subject,
        "event": record.event,
        "task": record.task,
        "agent": record.agent,
        "generation": record.generation,
        "reason": record.reason,
    }
