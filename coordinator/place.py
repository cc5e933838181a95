"""What belongs to one clone and to no branch: the files under ``<common git dir>/agentcom``.

Which hub this is (``hub-id``), the admin token, the secret for push hooks, where the running hub listens
(``hub.json``), and what ``agentcom init`` found (``init.json``). All of it may be deleted while no hub runs; the hub id
is then a new one, and the messages of agents, which others keep there, are gone.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.sourced import Sourced, variable

SCHEMA_VERSION = 1
#: Where the journal notes what it wrote last.
STATE_TIP = "state-tip"
#: Crockford's base 32, lower case (DECISIONS 8).
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_HUB_ID = re.compile(rf"h-[{_ALPHABET}]{{8}}")


#: The variable that may hold the admin's token instead of the file, and how long it must be at least.
ADMIN_TOKEN = "AGENTCOM_ADMIN_TOKEN"  # noqa: S105 - not a secret
SHORTEST_TOKEN = 32


class Exposed(Exception):
    """The admin's token is no secret; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder ``agentcom`` under the common git directory."""

    folder: Path

    def hub_id(self) -> str:
        """Return this clone's hub id, made at the first call: ``h-`` and 8 characters.

        A file that holds something else counts as none: the id stands in commits and names of branches.
        """
        path = self.folder / "hub-id"
        try:
            said = path.read_bytes().decode("utf-8", "replace").strip()
        except FileNotFoundError:
            said = ""
        if _HUB_ID.fullmatch(said):
            return said
        made = "h-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
        write_whole(path, made + "\n", 0o644)
        return made

    @property
    def has_written(self) -> bool:
        """Whether a hub of this clone ever wrote to the state branch, even if that is gone."""
        return (self.folder / STATE_TIP).exists()

    def admin_token(self) -> str:
        """Return the admin token of this machine: AGENTCOM_ADMIN_TOKEN, else a file, made at the first call.

        Raises Exposed when others may read the file, or the token could be guessed.
        """
        path = self.folder / "admin.token"
        named = os.environ.get(ADMIN_TOKEN, "").strip()
        if named:
            return _strong(named, f"{ADMIN_TOKEN} in the environment")
        try:
            said, mode = path.read_bytes().decode("ascii", "replace").strip(), path.stat().st_mode & 0o777
        except FileNotFoundError:
            made = new_token()
            write_whole(path, made + "\n", 0o600)
            return made
        if mode & 0o077:
            cure = f"chmod 600 {path}, or delete it for a new one; or set {ADMIN_TOKEN}"
            raise Exposed(f"{path} holds the admin's token and others may use it (mode {mode:o}): {cure}")
        return _strong(said, str(path))

    def known_admin_token(self) -> Sourced[str | None]:
        """Return the admin token of this machine, None when there is none or somebody else's."""
        named = os.environ.get(ADMIN_TOKEN, "").strip()
        if named:
            return Sourced(named, variable(ADMIN_TOKEN))
        path = self.folder / "admin.token"
        try:
            said = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            said = ""
        return Sourced(said, str(path)) if said else Sourced(None)

    def read_admin_token(self) -> str | None:
        """Return the admin token of this machine, None when there is none or somebody else's."""
        return self.known_admin_token().value

    @property
    def hook_file(self) -> Path:
        """Where the secret for push hooks is."""
        return self.folder / "hook.secret"

    def hook_secret(self, *, new: bool = False) -> str:
        """Return the secret for push hooks, made at the first call, or anew; readable by its owner alone."""
        known = None if new else self.read_hook_secret()
        if known is not None:
            return known
        made = secrets.token_urlsafe(32)
        write_whole(self.hook_file, made + "\n", 0o600)
        return made

    def known_hook_secret(self, said: Sourced[str | None]) -> Sourced[str | None]:
        """Return the secret for push hooks: what the hub's settings say, else the file here, None without either."""
        if said.value:
            return said
        there = self.read_hook_secret()
        return Sourced(there, str(self.hook_file)) if there else Sourced(None)

    def read_hook_secret(self) -> str | None:
        """Return the secret for push hooks of the file here, None when there is none."""
        try:
            return self.hook_file.read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    def write_hub(self, url: str, hub_id: str, started_at: int, more: Mapping[str, str] | None = None) -> None:
        """Say where the hub of this clone listens. ``started_at`` is ms since the epoch.

        ``more`` may name ``tls_cert``, by which commands of this machine know the hub, and ``public_url``.
        """
        said = {
            "schema_version": SCHEMA_VERSION,
            "url": url,
            "pid": os.getpid(),
            "hub_id": hub_id,
            "started_at": started_at,
            **(more or {}),
        }
        write_whole(self.folder / "hub.json", json.dumps(said, indent=1) + "\n", 0o644)

    def read_hub(self) -> dict[str, Any] | None:
        """Return what the last hub said of itself, None when none did. It may be dead."""
        return _read(self.folder / "hub.json")

    def forget_hub(self) -> None:
        """Say that this process's hub does not run any more; what another one said stays."""
        if (self.read_hub() or {}).get("pid") == os.getpid():
            (self.folder / "hub.json").unlink(missing_ok=True)

    def write_init(self, source: str, backlog: str | None) -> None:
        """Keep what init found: the source ref, and the blob id of the BACKLOG.md that existed then."""
        said = {"schema_version": SCHEMA_VERSION, "source": source, "backlog": backlog}
        write_whole(self.folder / "init.json", json.dumps(said, indent=1) + "\n", 0o644)

    def read_init(self) -> dict[str, Any] | None:
        """Return what init found, None when it never ran here."""
        return _read(self.folder / "init.json")

    def note_config(self, ours: Mapping[str, str]) -> None:
        """Keep which git settings init made, by key; nothing was set under these keys before."""
        said = self.read_init() or {"schema_version": SCHEMA_VERSION}
        write_whole(self.folder / "init.json", json.dumps({**said, "config": dict(ours)}, indent=1) + "\n", 0o644)

    def config_made(self) -> dict[str, str]:
        """Return the git settings that init made here, by key."""
        said = (self.read_init() or {}).get("config")
        return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}

    def existing_backlog(self) -> str:
        """Return the blob id of the BACKLOG.md that was there before init, empty when there was none."""
        said = (self.read_init() or {}).get("backlog")
        return said if isinstance(said, str) else ""


def process_lives(hub: Mapping[str, Any]) -> bool:
    """Tell whether the process that wrote this hub.json may still be there."""
    try:
        os.kill(int(hub["pid"]), 0)
    except (KeyError, TypeError, ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def new_token(kind: str = "ac_") -> str:
    """Return a new token: ``ac_`` and 43 url-safe characters, 256 random bits (DECISIONS 8); an invite has ``ai_``."""
    return kind + secrets.token_urlsafe(32)


def _strong(token: str, where: str) -> str:
    if len(token) < SHORTEST_TOKEN or not token.isascii() or any(char.isspace() for char in token):
        cure = f"use {SHORTEST_TOKEN} characters or more without blanks, all of them random"
        raise Exposed(f"{where} is no token for the admin: {cure}")
    return token


def _read(path: Path) -> dict[str, Any] | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def write_whole(path: Path, text: str, mode: int) -> None:
    """Write a small file whole and for good: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(
            handle, "wb"
        ) as file:  # os.write may stop in the middle of the text, on a disk that is nearly full
            file.write(text.encode())
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    for folder in (path.parent, path.parent.parent):  # the upper one names the folder, which may be new
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
