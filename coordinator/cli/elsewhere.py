"""What the writing commands do with ``--hub URL``: the word goes to that hub's HTTP API instead of into a file here."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from coordinator.cli.common import EXIT_NO_HUB, EXIT_REFUSED, EXIT_USAGE, fail, print_json

if TYPE_CHECKING:
    from coordinator.reading import HubClient

#: So often a new task is asked for when the hub could not make it durable in time; by its key it is made once.
TRIES = 3

#: Word of the command line -> last part of the route, and what follows.
_WORDS = {
    "cancel": ("cancel", "it is cancelled"),
    "rerun": ("retry", "it is queued again, with retries forgotten"),
    "answer": ("answer", "the answer is handed on"),
    "approve": ("approve", "it is done"),
    "reject": ("reject", "it is queued again, with your note"),
}


class Elsewhere:
    """A hub that is spoken to by its address; whatever is in the way ends the command with one line."""

    def __init__(self, url: str, directory: Path, *, push: bool, as_json: bool) -> None:
        from coordinator.reading import NoAddress, ground_or_none, running_hub

        if push:
            fail("--push and --hub exclude one another: nothing is committed here", EXIT_USAGE)
        try:
            self._client: HubClient = running_hub(ground_or_none(directory.absolute()), url)
        except NoAddress as error:
            fail(str(error), EXIT_USAGE)
        self._as_json = as_json

    def new(self, values: Mapping[str, Any]) -> None:
        """Make a task."""
        key = secrets.token_hex(16)
        made = self._ask("POST", "/api/tasks", values, tries=TRIES, idempotency_key=key)
        waits = "it waits until a person has looked: `agentcom confirm`"
        held = f"it waits until `agentcom task release {made['id']}`" if values.get("hold") else ""
        follows = waits if made["held"] else held or "a fitting agent gets it as soon as it may run"
        self._tell(made["id"], "created", follows, made)

    def edit(self, task_id: str, values: Mapping[str, Any]) -> None:
        """Change keys of what is wanted."""
        if not values:
            fail("say by options what to change: with --hub there is no file for an editor", EXIT_USAGE)
        self._tell(task_id, "edited", "it is in force", self._change(task_id, values))

    def hold(self, task_id: str, *, hold: bool) -> None:
        """Let a task wait, or let it go on, also one that an agent proposed."""
        changed = self._change(task_id, {"hold": hold})
        follows = f"it waits until `agentcom task release {task_id}`" if hold else "it goes on"
        self._tell(task_id, "held" if hold else "released", follows, changed)

    def word(self, name: str, task_id: str, said: Mapping[str, Any]) -> None:
        """Say a word about a task."""
        route, follows = _WORDS[name]
        answer = self._ask("POST", f"{_path(task_id)}/{route}", said)
        self._tell(task_id, answer["status"], follows, answer)

    def remove(self, task_id: str) -> None:
        """Delete a task; it takes the admin's token."""
        follows = "it is cancelled and hidden, its id is never used again"
        self._tell(task_id, "deleted", follows, self._ask("DELETE", _path(task_id)))

    def confirm(self, commits: Sequence[str]) -> list[str]:
        """Let go on what is held under these names; return those that were."""
        return [batch["commit"] for batch in self._ask("POST", "/api/confirm", {"commits": list(commits)})["confirmed"]]

    def _change(self, task_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change a task as it stands now; refused when somebody else changed it in this moment."""
        seen = self._ask("GET", _path(task_id))["revision"]
        return self._ask("PATCH", _path(task_id), values, if_match=f'"{seen}"')

    def _ask(
        self, method: str, path: str, said: Mapping[str, Any] | None = None, *, tries: int = 1, **headers: str
    ) -> dict[str, Any]:
        from coordinator.reading import HubBusy, HubUnreachable, TokenRefused

        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            status, answer = self._client.call(method, path, said, named)
        except HubBusy as error:
            if tries > 1:
                again = {name.replace("-", "_"): value for name, value in named.items()}
                return self._ask(method, path, said, tries=tries - 1, **again)
            fail(f"{error}: the hub did not make it durable in time; look with `agentcom task list --hub`")
        except TokenRefused as error:
            fail(str(error), EXIT_REFUSED)
        except HubUnreachable as error:
            fail(str(error), EXIT_NO_HUB)
        if status in (200, 201):
            return answer
        fail(_why(status, answer), EXIT_USAGE if status in (400, 422) else 1)

    def _tell(self, task_id: str, what: str, follows: str, answer: Mapping[str, Any]) -> None:
        if self._as_json:
            print_json({"id": task_id, "what": what, "hub": self._client.url, "answer": dict(answer)})
        else:
            click.echo(f"{what} {task_id} at {self._client.url}: {follows}")


def _path(task_id: str) -> str:
    return f"/api/tasks/{quote(task_id, safe='')}"


def _why(status: int, answer: Mapping[str, Any]) -> str:
    """Return in one line why a hub refused."""
    if errors := answer.get("errors"):
        return "; ".join(f"{one.get('field')}: {one.get('detail')}" for one in errors)
    return str(answer.get("hint") or answer.get("error") or f"the hub answers {status}")
