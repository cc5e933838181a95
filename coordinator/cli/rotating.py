"""``agentcom agent rotate-token``: another token for an agent, while the one before goes on for a time.

The new one is made by the hub, or here, with its hash committed into the agent's file where the tokens are there. It
goes to the sidecar on this machine, to a file, or is printed once; never into an argument list. What is kept between
two runs, until the sidecar has the token, is the token made here, or the key of the request for one.
"""

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.agent_words import Desk, Known
from coordinator.cli.common import EXIT_FAILED, EXIT_USAGE, fail, local_time, print_json

if TYPE_CHECKING:
    from coordinator.cli.sidecar_here import SidecarHere

#: How long a hub is waited for until it has read a commit and accepts the new token, in seconds; how often is looked.
SOON, LOOK_EVERY = 60.0, 0.2
#: A number of mail that is never reached: the question tells whose token it is and reads nothing.
_NO_MAIL = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was asked for; ``grace`` is as typed, ``given`` a token to be used, ``now``: stop work for it."""

    folder: Path | None
    token_file: Path | None
    given: str | None
    grace: str
    now: bool
    dry_run: bool
    as_json: bool


def rotate(agent_id: str, directory: Path, hub: str | None, how: Rotation) -> None:
    """Give an agent another token; whatever is in the way ends the command with one line."""
    _Rotating(agent_id, directory, hub, how).run()


class _Rotating:
    def __init__(self, agent_id: str, directory: Path, hub: str | None, how: Rotation) -> None:
        from coordinator.cli.sidecar_here import find_sidecar

        self.how = how
        self.grace_ms = _grace(how.grace)
        self.desk = Desk(agent_id, directory, hub)
        self.here: SidecarHere | None = find_sidecar(agent_id, how.folder)
        if self.here is not None and how.token_file is not None:
            fail(f"--token-file: the token goes to {self.here.file}, where the sidecar reads it", EXIT_USAGE)

    def run(self) -> None:
        path = self._file_with_tokens()
        known = self.desk.known()
        if path is None and known.shown is None:
            self.desk.unknown()
        if path is None and self.how.given is not None:
            fail("--token-stdin: the hub makes this agent's tokens itself", EXIT_USAGE)
        if path is None and not known.live:
            self.desk.ask("GET", "/api/agents")
        if self.how.dry_run:
            self._would(path, known)
            return
        with self._reserved():
            token, commit, until_ms = self._by_git(path) if path is not None else self._by_hub(known)
        steps = self._hand_over(token, known)
        self._tell(token, path, commit, until_ms, steps)

    # --- a new token

    def _file_with_tokens(self) -> str | None:
        """Return the agent's file in this clone, if its tokens are there; of others the hub makes them."""
        from coordinator.cli.writing import said_plainly
        from coordinator.files.agentfile import check

        path = self.desk.file
        if path is None:
            return None
        data = self.desk.data(path)
        with said_plainly():
            return path if check(path, data).tokens else None

    def _by_git(self, path: str) -> tuple[str, str | None, int]:
        from coordinator.cli.writing import said_plainly
        from coordinator.core.agent import Token
        from coordinator.files.agentfile import prefix_of, rotated
        from coordinator.place import new_token
        from coordinator.web.auth import digest

        kept = self._kept("token")
        token = self.how.given or kept or new_token()
        if kept != token:
            self._keep("token", token)
        now = time.time_ns() // 1_000_000
        before = self.desk.data(path)
        with said_plainly():
            after = rotated(path, before, Token(digest(token), prefix_of(token)), now + self.grace_ms, now)
        commit = None
        if after != before:
            commit = self.desk.commit(path, after, f"Rotate the token of agent {self.desk.agent_id}")
        return token, commit, now + self.grace_ms

    def _by_hub(self, known: Known) -> tuple[str, None, int]:
        key = self._kept("key")
        if key is None:
            self._refuse_third()
            key = secrets.token_hex(16)
            self._keep("key", key)
        said = {"agent_id": self.desk.agent_id, "grace": self.grace_ms}
        made = self.desk.ask("POST", "/admin/tokens", said, key)
        return str(made["token"]), None, time.time_ns() // 1_000_000 + self.grace_ms

    def _refuse_third(self) -> None:
        """End with one line when a third token would end the one that a sidecar may still use."""
        found = self.desk.ask("GET", "/admin/tokens").get("tokens", [])
        issued = [one for one in found if one["agent_id"] == self.desk.agent_id and "status/agents/" in one["where"]]
        newest = str(issued[-1]["token_prefix"]) if issued else ""
        if self.how.now or len(issued) < 2 or (self.here is not None and self.here.config.token.startswith(newest)):
            return
        end = issued[0]["not_after"]
        until = "" if end is None else f" until {local_time(end)}"
        fail(
            f"{self.desk.agent_id} has two tokens already, the older one ({issued[0]['token_prefix']}...){until}: its "
            "sidecar may still use that one, which would end at once; wait, or --now"
        )

    # --- where it goes

    def _hand_over(self, token: str, known: Known) -> list[str]:
        """Give the token to the sidecar here and let it use it; return what is left to a person."""
        if self.here is None:
            if self.how.token_file is not None:
                self._write(self.how.token_file, token)
            return ["give it to the agent's sidecar (`token` in its config file) and start that again"]
        if not self._accepted(self.here, token):
            push = self.desk.ground.to_push if self.desk.ground else ""
            fail(
                f"no hub at {self.here.config.hub_url} accepts the new token yet; "
                f"{push or 'let the hub run'}, then run this again: the sidecar keeps the old one until then"
            )
        self.here.give(token)
        self._forget()
        return self._start_again(self.here, known)

    def _accepted(self, here: "SidecarHere", token: str) -> bool:
        """Wait until the hub of the sidecar knows the agent by the new token; tell whether it does."""
        from coordinator.reading import HubClient, HubUnreachable, TokenRefused, address

        client = HubClient(address(here.config.hub_url), token)
        end = time.monotonic() + (0 if self.desk.ground and self.desk.ground.to_push else SOON)
        while True:
            try:
                return client.call("GET", f"/api/mailbox/{self.desk.agent_id}?since={_NO_MAIL}")[0] == 200
            except TokenRefused:
                if time.monotonic() > end:
                    return False
            except HubUnreachable:
                return False
            time.sleep(LOOK_EVERY)

    def _start_again(self, here: "SidecarHere", known: Known) -> list[str]:
        """Let the sidecar read its config file; return what a person has to do for that."""
        from coordinator.services import machine

        running = here.running
        if not running:
            return [f"if its sidecar runs, start it again: agentcom-sidecar run --config {here.file}"]
        names = ", ".join(plan.service.name for plan in running)
        if known.in_hand and not self.how.now:
            return [f"{', '.join(known.in_hand)} is in its hands: start {names} again when that is finished"]
        for plan in running:
            try:
                machine.restart(plan, machine.run_program)
            except machine.Failed as error:
                fail(f"{here.file} has the new token, but {error}")
        return []

    # --- what is kept between two runs

    def _note(self) -> Path | None:
        return None if self.here is None else self.here.file.with_name("rotating.json")

    def _kept(self, what: str) -> str | None:
        note = self._note()
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(note.read_text(encoding="utf-8")) if note is not None else {}
            return str(said[what]) if what in said else None
        return None

    def _keep(self, what: str, value: str) -> None:
        if (note := self._note()) is not None:
            self._write(note, json.dumps({what: value}))

    def _forget(self) -> None:
        if (note := self._note()) is not None:
            note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[None]:
        """See that the token can be written where it is wanted before there is one."""
        if (file := self.how.token_file) is None:
            yield
            return
        if file.exists():
            fail(f"--token-file {file}: is there already; name a new file", EXIT_USAGE)
        self._write(file, "")
        try:
            yield
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _write(self, file: Path, text: str) -> None:
        from coordinator.place import write_whole

        try:
            write_whole(file, f"{text}\n" if text else "", 0o600)
        except OSError as error:
            fail(f"{file}: {error.strerror or error}; nothing was changed, make room and run this again", EXIT_FAILED)

    # --- what is said

    def _would(self, path: str | None, known: Known) -> None:
        how = f"commit {path} with the hash of a new token" if path else f"ask {self.desk.client.url} for a new token"
        place = self.here.file if self.here is not None else self.how.token_file
        lines = [f"would {how}", self._old(time.time_ns() // 1_000_000 + self.grace_ms)]
        lines.append(f"would write it to {place}" if place else "would print it once")
        if self.here is not None and known.in_hand and not self.how.now:
            lines.append(f"{', '.join(known.in_hand)} is in its hands: its sidecar is not stopped for it")
        if self.how.as_json:
            print_json({"agent_id": self.desk.agent_id, "what": "rotate-token", "dry_run": True, "would": lines})
        else:
            click.echo("\n".join(lines))

    def _old(self, until_ms: int) -> str:
        if self.grace_ms == 0:
            return "the one before ends at once"
        return f"the one before goes on until {local_time(until_ms)}"

    def _tell(self, token: str, path: str | None, commit: str | None, until_ms: int, steps: list[str]) -> None:
        ground, place = self.desk.ground, self.here.file if self.here is not None else self.how.token_file
        if commit and ground is not None and ground.to_push:
            steps = [ground.to_push, *steps]
        if self.how.as_json:
            said: dict[str, Any] = {"agent_id": self.desk.agent_id, "what": "rotate-token"}
            said |= {"how": "git" if path else "hub", "path": path, "commit": commit, "dry_run": False}
            shown = None if place else token
            print_json({**said, "token": shown, "token_in": place and str(place), "old_until": until_ms, "next": steps})
            return
        if commit:
            click.echo(f"committed {commit[:8]}: {path}")
        if place is None:
            click.echo(f"token (shown once, only its hash is kept): {token}")
        else:
            click.echo(f"{self.desk.agent_id} has a new token, in {place}")
        click.echo(self._old(until_ms))
        if self.here is not None and not steps:
            click.echo("its service was started again with it")
        for step in steps:
            click.echo(f"next: {step}")


def _grace(text: str) -> int:
    """Return how long the token before goes on, in ms, or end with one line."""
    from coordinator.files.convert import parse_duration
    from coordinator.registry import LONGEST_MS

    if text.strip() == "0":
        return 0
    with contextlib.suppress(ValueError):
        span = round(1000 * parse_duration(text))
        if 0 < span <= LONGEST_MS:
            return span
    fail(f"--grace {text}: write a number and s, m, h or d, at most 30d, or 0", EXIT_USAGE)


def token_from_stdin() -> str:
    """Return the token that stands on standard input, or end with one line."""
    token = sys.stdin.readline().strip()
    if len(token) < 32 or not token.isascii() or not token.isprintable():
        fail("--token-stdin: standard input holds no token of at least 32 characters", EXIT_USAGE)
    return token
