"""The agents of ``agentcom up``: which programs are on this machine, and the sidecar that each of them gets.

A mind keeps its folder, its token and what was checked of it between two runs. Nothing is started here.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.place import write_whole
from sidecar.runtimes.catalogue import find, known

#: Runtimes that are looked for on PATH, in this order; the others are for people who name them.
LOOKED_FOR = ("claude", "codex", "gemini", "opencode", "openclaw-agent")
#: What is offered where none of them is there.
WITHOUT = ("shell", "fake")


class NoRuntime(Exception):
    """A runtime that was asked for is not known or not there; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Mind:
    """One agent: its id, its runtime with a profile, the words of a ``shell``, and the folder of its sidecar."""

    agent: str
    runtime: str
    profile: str
    folder: Path
    argv: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """The config file of its sidecar."""
        return self.folder / "sidecar.json"

    @property
    def checked(self) -> Path:
        """What the last check was made of, if it was passed."""
        return self.folder / "checked.json"


def on_path() -> list[str]:
    """Return the runtimes whose programs are on PATH."""
    nowhere = Path(os.devnull)
    found = [(name, find(name, nowhere)) for name in LOOKED_FOR]
    return [name for name, one in found if one is not None and one.argv and shutil.which(one.argv[0]) is not None]


def chosen(asked: Sequence[str], profile: str, folder: Path, taken: Mapping[str, str]) -> list[Mind]:
    """Return one mind for each runtime that was asked for, or else found; several of one kind get numbers.

    ``shell:PROGRAM`` is a program of one's own. ``taken`` maps ids of agents that are not ours to where they are from:
    such an id gets a number too. Raises NoRuntime.
    """
    minds: list[Mind] = []
    for words in asked or on_path():
        name, _, program = words.partition(":")
        _check(name, program, folder)
        number, agent = 1, name
        while agent in taken or any(mind.agent == agent for mind in minds):
            number += 1
            agent = f"{name}-{number}"
        argv = (str(Path(program).absolute()),) if program else ()
        minds.append(Mind(agent, name, profile, folder / agent, argv))
    return minds


def _check(name: str, program: str, folder: Path) -> None:
    one = find(name, folder / "runtimes")
    if one is None:
        raise NoRuntime(f"there is no runtime {name}: use {', '.join(known(folder / 'runtimes'))}")
    if one.argv is None and not one.scripted and not program:
        raise NoRuntime(f"{name} runs a program of yours: --runtime {name}:./work.sh")
    if program and one.argv is not None:
        raise NoRuntime(f"{name} has its own program: --runtime {name}")
    wanted = program or (one.argv[0] if one.argv else "")
    if wanted and not wanted.startswith("$") and shutil.which(wanted) is None:
        cure = f"install it (npm install -g {one.install.npm})" if one.install else "correct the path, or chmod +x"
        raise NoRuntime(f"{wanted} is not there, or cannot be executed: {cure}")


def token_of(mind: Mind) -> str | None:
    """Return the token that a mind was given in an earlier run."""
    try:
        said = json.loads(mind.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    token = said.get("token")
    return token if isinstance(token, str) and said.get("agent_id") == mind.agent else None


def write(mind: Mind, token: str, hub_url: str, repo: Path) -> None:
    """Write the config file of a mind's sidecar; ``repo`` is where tasks of this repository are worked on."""
    runtime: dict[str, Any] = {"name": mind.runtime, "profile": mind.profile}
    if mind.argv:
        runtime["argv"] = list(mind.argv)
    said = {
        "agent_id": mind.agent,
        "token": token,
        "hub_url": f"{hub_url.replace('http', 'ws', 1)}/ws",
        "hub_api_url": hub_url,
        "reconnect_max": "5s",
        "runtime": runtime,
        "repos": {".": str(repo)},
    }
    mind.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(mind.config, json.dumps(said, indent=1) + "\n", 0o600)


def fingerprint(mind: Mind) -> dict[str, Any]:
    """Return what a check is good for: the same program, as it is now, with the same profile."""
    one = find(mind.runtime, mind.folder / "runtimes")
    words = mind.argv or (one.argv if one is not None else None) or ()
    path = shutil.which(words[0]) if words else None
    stamp = Path(path).resolve().stat() if path else None
    return {
        "runtime": mind.runtime,
        "profile": mind.profile,
        "program": path,
        "size": stamp.st_size if stamp else None,
        "changed": stamp.st_mtime_ns if stamp else None,
    }


def was_checked(mind: Mind) -> bool:
    """Tell whether the check was passed by what is there now."""
    try:
        return bool(json.loads(mind.checked.read_text(encoding="utf-8")) == fingerprint(mind))
    except (OSError, ValueError):
        return False


def note_checked(mind: Mind) -> None:
    """Remember that the check was passed: it costs an agent's time and tokens."""
    write_whole(mind.checked, json.dumps(fingerprint(mind)) + "\n", 0o600)
