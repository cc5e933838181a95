"""Everything a sidecar needs, looked at in its order: ``agentcom-sidecar doctor``.

The last check is a small real task, given to the agent just as the sidecar gives tasks, in a folder of its own: edit a
file, run a command, report, all with a nonce. Nothing is said to the hub but questions that change nothing there.
"""

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from coordinator.wire.frames import TaskAssign
from sidecar.config import Config, ConfigError, exposed, load, missing_program, runtime_of
from sidecar.events import Ended
from sidecar.folder import Folder
from sidecar.outbox import Outbox
from sidecar.probing import ask, is_older, login_complaint, version_of
from sidecar.relay import StayHere
from sidecar.runner import Runner, RunSettings, without_secrets
from sidecar.values import Blocked, Key, Outcome, Success

#: How long the hub may take to answer, in seconds.
HUB_WITHIN_S = 10.0
#: How long the round trip may take, in seconds, unless the config file allows less.
ROUND_TRIP_S = 300.0
#: A number of mail that is never reached: the question tells whose token it is and reads nothing.
_NO_MAIL = 2**53 - 1
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NOTE = "This line says BEFORE.\n"
_PROVE = "#!/bin/sh\ncksum note.txt > proof.txt\n"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and what to do if it is not well."""

    name: str
    passed: bool
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return it for people."""
        remedy = f" -> {self.remedy}" if self.remedy and not self.passed else ""
        return f"{'ok  ' if self.passed else 'FAIL'}  {self.name:<11} {self.text}{remedy}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"name": self.name, "passed": self.passed, "text": self.text, "remedy": self.remedy or None}


async def examine(config_file: Path, show: Callable[[Check], None]) -> None:
    """Make every check that can be made, and show each as soon as it is known."""
    try:
        config = load(config_file)
    except ConfigError as error:
        show(Check("config", False, str(error), "correct the file"))
        return
    one = config.runtime
    show(Check("config", True, f"{config_file}: agent {config.agent_id}, runtime {one.definition.name}, {one.profile}"))
    show(_permissions(config_file, config))
    able = True
    for check in (_program, _version, _login):
        seen = await asyncio.to_thread(check, config)
        if seen is not None:
            show(seen)
            able = able and seen.passed
        if not able:
            break
    hub = await asyncio.to_thread(_hub, config)
    show(hub)
    if hub.passed:
        show(await asyncio.to_thread(_token, config))
    else:
        show(Check("token", False, "not tried without the hub", "start the hub first"))
    if able:
        show(await _round_trip(config))
    else:
        show(Check("round trip", False, "not tried without a working runtime", "mend the lines above first"))


# --- this machine -----------------------------------------------------------------------------------------------------


def _permissions(config_file: Path, config: Config) -> Check:
    remark = exposed(config_file)
    if remark is not None:
        what, _, remedy = remark.rpartition(": ")
        return Check("permissions", False, what, remedy)
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = config.state_dir / f".doctor-{secrets.token_hex(4)}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        text = f"{config.state_dir} cannot be written: {error.strerror}"
        return Check("permissions", False, text, "change state_dir, or its owner")
    return Check("permissions", True, f"the token is yours alone; {config.state_dir} can be written")


def _environment(config: Config) -> dict[str, str]:
    return without_secrets(os.environ, frozenset({config.token})) | dict(config.runtime.env)


def _program(config: Config) -> Check:
    missing = missing_program(config)
    if missing is not None:
        what, _, remedy = missing.partition("; ")
        return Check("program", False, what, remedy or "make it executable")
    one = config.runtime
    words = one.program or one.definition.argv or one.argv
    program = sys.executable if words[0] == "${PYTHON}" else words[0]
    return Check("program", True, f"{program} is there")


def _version(config: Config) -> Check | None:
    wanted = config.runtime.definition.version
    if wanted is None:
        return None
    version, said = version_of(runtime_of(config), _environment(config))
    if version is None:
        command = " ".join(runtime_of(config).question(wanted.argv))
        first = (said.splitlines() or ["nothing"])[0]
        return Check(
            "version", False, f"`{command}` says: {first[:200]}", "run that by hand until it tells its version"
        )
    if is_older(version, wanted.minimum):
        return Check("version", False, f"{version} is older than {wanted.minimum}", "install a newer one")
    return Check("version", True, f"{version}, at least {wanted.minimum} is needed")


def _login(config: Config) -> Check | None:
    if config.runtime.definition.login is None or not config.runtime.check_login:
        return None
    complaint = login_complaint(runtime_of(config), _environment(config))
    if complaint is not None:
        what, _, remedy = complaint.rpartition(": ")
        return Check("login", False, what, remedy)
    return Check("login", True, "it does not say that it cannot work")


# --- the hub ----------------------------------------------------------------------------------------------------------


def _get(config: Config, path: str, token: str | None = None) -> int:
    """Return the status of a GET. Raises OSError when the hub cannot be reached."""
    url = config.hub_api_url.rstrip("/") + path
    if urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"hub_api_url {config.hub_api_url!r} is no http address")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    handlers = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in _LOOPBACK else []
    try:
        with urllib.request.build_opener(StayHere, *handlers).open(request, timeout=HUB_WITHIN_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _hub(config: Config) -> Check:
    try:
        status = _get(config, "/health")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = f"{config.hub_api_url} does not answer: {reason}"
        return Check("hub", False, text, "start it (`agentcom hub`), or correct hub_url")
    if status != 200:
        text = f"{config.hub_api_url}/health answers {status}"
        return Check("hub", False, text, "is this an AgentCom hub? correct hub_url or hub_api_url")
    return Check("hub", True, f"{config.hub_api_url} answers")


def _token(config: Config) -> Check:
    try:
        status = _get(config, f"/api/mailbox/{quote(config.agent_id)}?since={_NO_MAIL}", config.token)
    except (OSError, ValueError) as error:
        return Check("token", False, f"the hub does not answer: {getattr(error, 'reason', error)}", "try again")
    add = f"`agentcom agent add {config.agent_id}` shows a new one"
    match status:
        case 200:
            return Check("token", True, f"the hub knows {config.agent_id} by it")
        case 401:
            return Check("token", False, "the hub refuses it", add)
        case 403:
            return Check("token", False, f"it is not that of {config.agent_id}", "correct agent_id or token")
        case 404:
            return Check("token", False, f"the hub knows no agent {config.agent_id}", add)
    return Check("token", False, f"the hub answers {status}", "look into the hub's log")


# --- the round trip ---------------------------------------------------------------------------------------------------


async def _round_trip(config: Config) -> Check:
    """Give the agent a small task as the sidecar would, and look at what it did."""
    home = config.state_dir / "doctor"
    began = time.monotonic()
    try:
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        outbox = Outbox(home)
        outbox.prepare()
        nonce = secrets.token_hex(4)
        key = Key(f"doctor-{nonce}", 1)
        outcome = await _run(config, outbox, _task(config, key, nonce))
        complaint = await asyncio.to_thread(_missed, config, Folder(outbox.folder(key)), nonce, outcome)
    except OSError as error:
        return Check("round trip", False, f"{error.filename or home}: {error.strerror}", "change state_dir")
    if complaint is not None:
        log = outbox.folder(key) / "output.log"
        return Check("round trip", False, complaint, f"what the program printed is in {log}")
    return Check("round trip", True, f"the agent did a small task in {time.monotonic() - began:.0f} s")


def _demands(config: Config) -> tuple[bool, bool]:
    """Return whether the agent must edit a file, and run a command."""
    profile = config.runtime.profile
    if config.runtime.definition.round_trip == "report" or profile == "read":
        return False, False
    return True, profile != "edit"


def _task(config: Config, key: Key, nonce: str) -> TaskAssign:
    edit, run = _demands(config)
    steps = []
    if edit:
        steps.append(f"In the file note.txt, which is in your working folder, replace the word BEFORE by {nonce}.")
    if run:
        steps.append("Then run the command `sh prove.sh` in that folder.")
    steps.append(f"Report success; the summary must hold the word {nonce}.")
    return TaskAssign(
        task_id=key.task_id,
        generation=key.generation,
        title="Check that this agent can work",
        description="\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)),
        assigned_at=0,
    )


async def _run(config: Config, outbox: Outbox, task: TaskAssign) -> Outcome | None:
    one = config.runtime
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    settings = RunSettings(
        env=one.env,
        timeout=min(one.timeout or ROUND_TRIP_S, ROUND_TRIP_S),
        kill_grace=config.kill_grace,
        check_login=False,
        secrets=frozenset({config.token}),
        seed={"note.txt": _NOTE, "prove.sh": _PROVE},
    )
    runner = Runner(outbox, runtime_of(config), settings, ended.set_result)
    runner.start(task)
    try:
        return (await ended).outcome
    finally:
        await runner.close()


def _missed(config: Config, folder: Folder, nonce: str, outcome: Outcome | None) -> str | None:
    """Return what the agent did not do, None when it did everything."""
    if isinstance(outcome, Blocked):
        return f"it asked instead of working: {outcome.question}"
    if not isinstance(outcome, Success):
        return outcome.error if outcome is not None else "it was ended"
    edit, run = _demands(config)
    note, proof = folder.work / "note.txt", folder.work / "proof.txt"
    text = note.read_text(encoding="utf-8", errors="replace") if note.exists() else ""
    if edit and (nonce not in text or "BEFORE" in text):
        return "it says that it is done, but did not edit note.txt"
    if run:
        real = ask(("cksum", str(note)), os.environ, HUB_WITHIN_S).output.split()[:2]
        shown = proof.read_text(encoding="utf-8", errors="replace").split()[:2] if proof.exists() else []
        if shown != real:
            return "it says that it is done, but did not run the command"
    if config.runtime.definition.round_trip == "work" and nonce not in json.dumps(dict(outcome.result)):
        return "it says that it is done, but did not name the nonce in its report"
    return None
