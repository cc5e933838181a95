"""What the flow asks of a forge. Another forge keeps these four promises and changes nothing else."""

from typing import Protocol

from sidecar.gitflow.values import PullRequest, Wanted


class Forge(Protocol):
    """All of it raises Unreachable, NotAllowed, or FlowError with the forge's words."""

    def find(self, branch: str, commit: str) -> PullRequest | None:
        """Return the open pull request of a branch, else the one that merged this very commit."""
        ...

    def open(self, wanted: Wanted) -> PullRequest:
        """Open a pull request; one that is there already is returned."""
        ...

    def update(self, found: PullRequest, wanted: Wanted) -> PullRequest:
        """Give an open pull request another title and body."""
        ...

    def mark(self, found: PullRequest, wanted: Wanted) -> tuple[str, ...]:
        """Add labels and reviewers, take outdated labels away; return a line for each thing that the forge refuses."""
        ...

    def checks(self, commit: str) -> str:
        """Return success, failure, pending, or "" where nothing is checked."""
        ...
