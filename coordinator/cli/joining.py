"""``agentcom agent add`` with ``--hub`` or ``--repo``: from nothing to an agent that has done a task, in eight steps.

Each step looks at what is there before it does anything, so the whole can be run again after any failure. What is kept
between two runs is the sidecar's config file and, until that is written, the key of the request for its token.
"""

import hashlib
import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coordinator.cli.common import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    busy,
    fail,
    one_line,
    print_json,
)

if TYPE_CHECKING:
    from coordinator.ground import Ground
    from coordinator.reading import HubClient
    from coordinator.services.values import Service
    from sidecar.runtimes.catalogue import Definition

STEPS = 8
#: Free space that a sidecar is not set up without, in bytes: a clone, an attempt, its output.
ROOM = 200 * 1024 * 1024
#: How far the hub's clock may be from ours, in seconds: its times are whole seconds, answers may take a while.
CLOCK_OFF = 30.0
#: How long is waited for what the hub or a sidecar does, in seconds, and how often is looked.
SOON, TASK_WITHIN, LOOK_EVERY = 60.0, 600.0, 0.2
#: Programs that are looked for when no runtime is named, in this order.
_USUAL = ("claude", "codex", "gemini")
#: A number of mail that is never reached: the question tells whose token it is and reads nothing.
_NO_MAIL = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; ``clone`` is where a person's file is to be committed, if anywhere."""

    agent_id: str
    name: str | None
    capabilities: tuple[str, ...]
    hub: str | None
    clone: Path | None
    install: bool
    runtime: str | None
    command: tuple[str, ...]
    options: Mapping[str, str]
    profile: str
    folder: Path
    show_token: bool
    token: str | None
    dry_run: bool
    as_json: bool

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"


def usual_folder(agent_id: str) -> Path:
    """Return where the config and state of an agent's sidecar are unless somebody says otherwise."""
    import os

    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "agentcom/agents" / agent_id


def join(wanted: Wanted) -> None:
    """Take all steps; whatever is in the way ends the command with one line."""
    _Join(wanted).run()


class _Join:
    def __init__(self, wanted: Wanted) -> None:
        from coordinator.cli.reading_options import open_ground
        from coordinator.reading import HubUnreachable, NoAddress, ground_or_none, running_hub

        self.w = wanted
        self.ground: Ground | None = (
            ground_or_none(Path.cwd()) if wanted.clone is None else open_ground(wanted.clone.absolute())
        )
        try:
            self.asker: HubClient = running_hub(self.ground, wanted.hub, clone_first=wanted.clone is not None)
        except NoAddress as error:
            fail(str(error), EXIT_USAGE)
        except HubUnreachable as error:
            fail(f"{error}: start it with `agentcom hub`, or name another with --hub", EXIT_NO_HUB)
        self.url = self.asker.url
        self.number = 0
        self.token = ""
        self.runs = False

    def run(self) -> None:
        runtime = self._preflight()
        config_there = self._agree()
        if self.w.dry_run:
            self._plan(runtime, there=config_there)
            return
        try:
            self._enlist(runtime)
        except OSError as error:
            fail(f"{error.filename or self.w.folder}: {error.strerror}; make room, then run this again", EXIT_FAILED)
        self._service()
        state = self._identified()
        self._wake()
        task = self._task()
        self._end(state, task)

    # --- 1

    def _preflight(self) -> str:
        import shutil

        self._step("preflight")
        if shutil.which("git") is None:
            self._stop("git is not on PATH: install it, agents work in clones")
        self._healthy()
        runtime = self._runtime()
        self._room()
        version = ".".join(map(str, sys.version_info[:3]))
        aside = self._set_aside()
        self._done(f"python {version}, git, runtime {runtime}, disk, clock; the hub answers at {self.url}{aside}")
        return runtime

    def _set_aside(self) -> str:
        """Say that AGENTCOM_HUB names another hub than the one that is asked."""
        from coordinator.reading import hub_named

        named = None if self.w.hub is not None else hub_named(None)
        if named is None or named.value.rstrip("/") == self.url:
            return ""
        return f", which is that of {self.w.clone}; AGENTCOM_HUB ({named.value}) is not asked"

    def _healthy(self) -> None:
        import http.client
        import urllib.request
        from email.utils import parsedate_to_datetime

        direct = urllib.request.ProxyHandler({})
        from coordinator.reading import is_here

        opener = urllib.request.build_opener(*((direct,) if is_here(self.url) else ()))
        began = time.time()
        try:
            with opener.open(f"{self.url}/health", timeout=10) as answer:
                date = answer.headers.get("Date")
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._stop(
                f"no hub answers at {self.url} ({getattr(error, 'reason', error)}): start it there with `agentcom "
                "hub`, or correct the address",
                EXIT_NO_HUB,
            )
        if date:
            try:
                off = parsedate_to_datetime(date).timestamp() - (began + time.time()) / 2
            except ValueError:
                return
            if abs(off) > CLOCK_OFF:
                self._stop(
                    f"the hub's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this one: set both by "
                    "NTP, deadlines and ends of tokens would come at the wrong time"
                )

    def _runtime(self) -> str:
        """Return the runtime to be used, once its program is there and logged in."""
        import os
        import shutil

        from sidecar.config import ConfigError, load, missing_program, runtime_of
        from sidecar.probing import login_complaint
        from sidecar.runtimes.catalogue import Runtime, find, known

        if self.w.config.exists():
            try:
                config = load(self.w.config)
            except ConfigError as error:
                self._stop(str(error), EXIT_CONFIG)
            there = config.runtime.definition.name
            if self.w.runtime not in (None, there):
                self._stop(
                    f"{self.w.config} has runtime {there}, not {self.w.runtime}: change it there, or leave "
                    "--runtime away",
                    EXIT_USAGE,
                )
            if missing := missing_program(config):
                self._stop(f"{self.w.config}: {missing}", EXIT_CONFIG)
            if config.runtime.check_login:
                self._logged_in(login_complaint(runtime_of(config), {**os.environ, **config.runtime.env}))
            return there
        name = self.w.runtime or next((one for one in _USUAL if shutil.which(one)), None)
        if name is None:
            self._stop(
                f"no agent program ({', '.join(_USUAL)}) is on PATH: install one, or --runtime fake to only try it",
                EXIT_CONFIG,
            )
        found = find(name, self.w.folder / "runtimes")
        if found is None:
            self._stop(f"--runtime {name}: known are {', '.join(known(self.w.folder / 'runtimes'))}", EXIT_USAGE)
        self._needs(found)
        if self.w.profile not in {str(one) for one in found.profiles}:
            self._stop(f"--profile {self.w.profile}: {name} has {', '.join(found.profiles)}", EXIT_USAGE)
        argv = found.argv or self.w.command
        if argv and not argv[0].startswith("$") and shutil.which(argv[0]) is None:
            how = f"npm install -g {found.install.npm}" if found.install else "install it"
            what = "is no program that can be run" if "/" in argv[0] else f"is not on PATH: {how}"
            self._stop(f"{argv[0]} {what}", EXIT_CONFIG)
        runtime = Runtime(found, argv=self.w.command, profile=self.w.profile, options=self.w.options)
        self._logged_in(login_complaint(runtime, os.environ))
        return name

    def _needs(self, found: "Definition") -> None:
        """Stop unless the command line says just what a runtime needs."""
        name, own = found.name, self.w.command
        if found.argv is None and not own:
            self._stop(f"--runtime {name} needs the program that it runs: --command 'python3 work.py'", EXIT_USAGE)
        if found.argv is not None and own:
            self._stop(f"--command: {name} has a command of its own; it is for shell and wake", EXIT_USAGE)
        if unknown := sorted(self.w.options.keys() - found.options.keys()):
            there = ", ".join(found.options) or "none"
            self._stop(f"--option {unknown[0]}: {name} does not know it; known are {there}", EXIT_USAGE)
        for key, option in found.options.items():
            if option.required and not self.w.options.get(key):
                self._stop(f"--runtime {name} needs --option {key}=... ({option.about})", EXIT_USAGE)

    def _logged_in(self, complaint: str | None) -> None:
        if complaint:
            self._stop(one_line(complaint), EXIT_CONFIG)

    def _room(self) -> None:
        """See that there is room and that files of some size can be written where the sidecar will be."""
        import shutil

        there = self.w.folder
        while not there.exists():
            there = there.parent
        if (free := shutil.disk_usage(there).free) < ROOM:
            self._stop(f"{there} has {free // 2**20} MiB free, {ROOM // 2**20} are needed: make room or name --dir")
        if self.w.dry_run:
            return
        probe = self.w.folder / ".probe"  # of one name: what a kill leaves here goes with the next run
        try:
            self.w.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe.write_bytes(bytes(65536))
        except OSError as error:
            self._stop(f"{self.w.folder} cannot be written: {error.strerror}; make room, or name another --dir")
        finally:
            probe.unlink(missing_ok=True)

    # --- 2

    def _agree(self) -> bool:
        """See that what is there is of this agent and this hub; return whether a config file is."""
        from coordinator.reading import address
        from coordinator.services import machine
        from sidecar.config import load

        self._step("identity")
        config = self.w.config
        if not config.exists():
            others = [f"{plan.file}" for plan in self._named_alike()]
            if others:
                self._stop(
                    f"{others[0]} is a service of that name for another config file: remove it, or choose an id",
                )
            self._done(f"{config} does not exist yet")
            return False
        said = load(config)
        if said.agent_id != self.w.agent_id:
            self._stop(f"{config} is of agent {said.agent_id}, not {self.w.agent_id}: name another --dir", EXIT_CONFIG)
        if address(said.hub_url) != self.url:
            self._stop(f"{config} is for the hub at {address(said.hub_url)}, not {self.url}: correct it", EXIT_CONFIG)
        if self.w.token is not None and self.w.token != said.token:
            self._stop(f"{config} holds another token than standard input: correct one of them", EXIT_CONFIG)
        own = f"agentcom-sidecar-{self.w.agent_id}"
        for plan in machine.services_of(config.resolve()):
            if plan.service.name != own:
                self._stop(f"{plan.file} runs {config} under another agent's name: remove that service", EXIT_CONFIG)
        self.token = said.token
        self._done(f"{config} is of {self.w.agent_id} at {self.url}")
        return True

    def _named_alike(self) -> Iterator[Any]:
        from coordinator.services import choice, machine
        from coordinator.services.values import owner_of

        for plan in choice.places(machine.look(), self._unit()):
            if plan.file.exists():
                owner = owner_of(plan.file.read_text(encoding="utf-8", errors="replace"))
                if owner != str(plan.service.owner):
                    yield plan

    # --- 3

    def _enlist(self, runtime: str) -> None:
        """Register, and write the config file."""
        from coordinator.place import new_token

        self._step("register")
        known = bool(self.token)
        if self.ground is not None and self.w.clone is not None:
            token = self.token or self.w.token or new_token()
            path = self._check_file(self.ground, token)
            if not known:
                self._write(token, runtime)
            done = self._commit(self.ground, token) if path else "the file in the clone is of this token"
            self._done(done)
        elif known or self.w.token:
            if not known:
                self._whose(self.w.token or "")
                self._write(self.w.token or "", runtime)
            self._done("it has a token")
        else:
            self._write(self._registered(), runtime)
            self._done(f"{self.url} knows {self.w.agent_id}")
        self._until(lambda: self._whose(self.token, final=False), "the hub to accept the token", EXIT_REFUSED)
        self._step("config")
        self.w.config.chmod(0o600)
        self._done(f"{self.w.config}, readable by you alone")

    def _registered(self) -> str:
        """Return a new token of the hub; an earlier request without an answer gets its answer now."""
        asked = self.w.folder / "asked.json"
        again = asked.exists()
        key = str(json.loads(asked.read_text())["key"]) if again else secrets.token_hex(16)
        if not again:
            _private(asked, json.dumps({"key": key}))
        said: dict[str, Any] = {"agent_id": self.w.agent_id}
        if self.w.name:
            said["name"] = self.w.name
        if self.w.capabilities:
            said["capabilities"] = list(self.w.capabilities)
        status, answer = self._ask(self.asker, "POST", "/api/onboard/register", said, key, forget=asked)
        if status == 409 and again and self._never_seen():
            status, answer = self._ask(self.asker, "POST", "/admin/tokens", {**said, "grace": 0}, secrets.token_hex(16))
        if status not in (200, 201):
            asked.unlink(missing_ok=True)
            hint = one_line(str(answer.get("hint") or answer.get("error") or status))
            self._stop(
                f"{self.url} does not register {self.w.agent_id}: {hint}; choose another id, or if it is yours, give "
                "its token with --token-stdin"
            )
        return str(answer["token"])

    def _never_seen(self) -> bool:
        """Tell whether nobody has come with the token that was lost: the first task was never handed out.

        That is on the branch; when an agent was there last, a hub that is started again does not know.
        """
        status, said = self._ask(self.asker, "GET", f"/api/agents/{self.w.agent_id}/state")
        if status != 200 or said.get("connected_at") is not None or said.get("last_state_change") is not None:
            return False
        status, said = self._ask(self.asker, "GET", f"/api/tasks?assignee={self.w.agent_id}")
        tasks = said.get("tasks") or []
        return status == 200 and bool(tasks) and all(one.get("generation") == 0 for one in tasks)

    def _write(self, token: str, runtime: str) -> None:
        text = [
            f"agent_id: {json.dumps(self.w.agent_id)}",
            f"token: {json.dumps(token)}",
            f"hub_url: {json.dumps(self.url.replace('http', 'ws', 1) + '/ws')}",
        ]
        if self.w.name:
            text.append(f"name: {json.dumps(self.w.name)}")
        if self.w.capabilities:
            text.append(f"capabilities: {json.dumps(list(self.w.capabilities))}")
        more = f", argv: {json.dumps(list(self.w.command))}" if self.w.command else ""
        more += f", options: {json.dumps(dict(self.w.options))}" if self.w.options else ""
        text.append(f"runtime: {{name: {json.dumps(runtime)}, profile: {self.w.profile}{more}}}")
        _private(self.w.config, "\n".join(text) + "\n")
        (self.w.folder / "asked.json").unlink(missing_ok=True)
        self.token = token

    def _check_file(self, ground: "Ground", token: str) -> bool:
        """Return whether agents/ID.yaml is to be written; stop when it is of another token."""
        top = ground.repo.work_tree
        if top is None:
            self._stop(f"{ground.repo.common_dir} has no work tree: name a clone of it")
        file = top / ground.path(f"agents/{self.w.agent_id}.yaml")
        if not file.exists():
            return True
        if hashlib.sha256(token.encode()).hexdigest() not in file.read_text(encoding="utf-8", errors="replace"):
            self._stop(f"{file} is there with other tokens: choose another id, or give its token with --token-stdin")
        return False

    def _commit(self, ground: "Ground", token: str) -> str:
        from coordinator.cli.agent_cmd import write_agent

        path, commit = write_agent(ground, self.w.agent_id, self.w.name, self.w.capabilities, token)
        push = f"; {ground.to_push}" if ground.to_push else ""
        return f"committed {commit[:8]}: {path}{push}"

    def _whose(self, token: str, *, final: bool = True) -> bool:
        """Tell whether a token is this agent's; when that is final, stop if it is not."""
        from coordinator.reading import HubClient, HubUnreachable, TokenRefused

        client = HubClient(self.url, token)
        try:
            status, _ = client.call("GET", f"/api/mailbox/{self.w.agent_id}?since={_NO_MAIL}")
        except TokenRefused as error:
            if final:
                self._stop(f"this token is not of {self.w.agent_id}: {error}", EXIT_REFUSED)
            return False
        except HubUnreachable as error:
            if final:
                self._stop(str(error), EXIT_NO_HUB)
            return False
        return status == 200

    # --- 5

    def _unit(self) -> "Service":
        from coordinator.cli.serving import search_path, unfit
        from coordinator.services import ours
        from coordinator.services.values import Unfit

        try:
            return ours.sidecar(self.w.config.resolve(), self.w.agent_id, 10.0, search_path())
        except Unfit as error:
            unfit(error)

    def _service(self) -> None:
        from coordinator.services import choice, machine

        self._step("service")
        if not self.w.install:
            self._done(f"not asked for (--install); keep this running: {self._by_hand()}")
            return
        try:
            plan = choice.plan(machine.look(), self._unit(), choice.Wish())
            changed = machine.install(plan, machine.run_program)
        except choice.NoManager as error:
            self._done(f"{error}; keep this running: {self._by_hand()}")
            return
        except machine.Failed as error:
            self._stop(str(error))
        self.runs = True
        self._done(f"{plan.service.name} {'installed and started' if changed else 'runs already'}, {plan.file}")

    def _by_hand(self) -> str:
        return shlex.join(("agentcom-sidecar", "run", "--config", str(self.w.config)))

    # --- 6 to 8

    def _identified(self) -> str:
        self._step("identified")
        if self.runs:
            self._until(lambda: self._state() not in ("", "offline"), "the sidecar to be identified")
        state = self._state() or "unknown"
        self.runs = self.runs or state not in ("offline", "unknown")
        self._done(state if self.runs else "the sidecar does not run yet; start it, and run this again to see the rest")
        return state

    def _state(self) -> str:
        from coordinator.reading import HubClient

        status, said = self._ask(HubClient(self.url, self.token), "GET", f"/api/agents/{self.w.agent_id}/state")
        return str(said.get("fsm_state", "")) if status == 200 else ""

    def _wake(self) -> None:
        import subprocess

        self._step("wake round trip")
        argv = (sys.executable, "-P", "-m", "sidecar", "doctor", "--json", "--config", str(self.w.config))
        with self._busy("the agent does a small task"):
            done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        try:
            checks = json.loads(done.stdout)["checks"]
        except (ValueError, KeyError):
            self._stop(f"`agentcom-sidecar doctor` says: {one_line(done.stderr.decode('utf-8', 'replace'))}")
        wrong = [f"{one['name']}: {one['text']} -> {one['remedy']}" for one in checks if not one["passed"]]
        if wrong:
            self._stop(one_line("; ".join(wrong)))
        self._done(str(checks[-1]["text"]))

    def _task(self) -> dict[str, Any] | None:
        from coordinator.reading import HubClient

        self._step("test task")
        own = HubClient(self.url, self.token)
        task = self._find_task(own) or self._made_task()
        if task is None:
            self._done("none: with an admin's token one is made")
            return None
        name = str(task["id"])
        if not self.runs:
            self._done(f"{name} waits for the sidecar")
            return task

        def ended() -> bool:
            task.update(self._ask(own, "GET", f"/api/tasks/{name}")[1])
            return task.get("status") in ("done", "failed", "rejected", "cancelled")

        self._until(ended, f"{name} to end", within=TASK_WITHIN)
        if task.get("status") != "done":
            self._stop(f"{name} is {task.get('status')}: `agentcom task show {name}` says why")
        self._done(f"{name} is done")
        return task

    def _find_task(self, own: "HubClient") -> dict[str, Any] | None:
        query = f"/api/tasks?label=onboarding&assignee={self.w.agent_id}&limit=50"
        found = self._ask(own, "GET", query)[1].get("tasks") or []
        return next((dict(one) for one in found), None)

    def _made_task(self) -> dict[str, Any] | None:
        from coordinator.reading import HubBusy, HubUnreachable, TokenRefused

        said = {
            "title": f"Say hello as {self.w.agent_id}",
            "description": "There is nothing to change. Report success, with one line about who you are.",
            "assignee": self.w.agent_id,
            "kind": "note",
            "review": "none",
            "labels": ["onboarding"],
        }
        key = hashlib.sha256(f"hello {self.token}".encode()).hexdigest()[:32]
        try:
            status, made = self.asker.call("POST", "/api/tasks", said, {"Idempotency-Key": key})
        except (HubBusy, HubUnreachable, TokenRefused):
            return None
        return made if status in (200, 201) else None

    def _end(self, state: str, task: dict[str, Any] | None) -> None:
        w = self.w
        link = f"{self.url}/dashboard/agent/{w.agent_id}"
        if w.as_json:
            print_json(
                {
                    "agent_id": w.agent_id,
                    "token": self.token,
                    "config": str(w.config),
                    "state": state,
                    "running": self.runs,
                    "task_id": None if task is None else task.get("id"),
                    "dashboard": link,
                }
            )
            return
        click.echo(f"token: {self.token}" if w.show_token else f"token: in {w.config} (--show-token shows it)")
        click.echo(f"config: {w.config}\nstate: {state}\ndashboard: {link}")
        if not self.runs:
            click.echo(f"next: {self._by_hand()}")

    # --- parts

    def _plan(self, runtime: str, *, there: bool) -> None:
        w = self.w
        how = f"commit agents/{w.agent_id}.yaml" if w.clone else f"register {w.agent_id} at {self.url}"
        lines = [
            "has its token: nothing to do" if there else f"would {how}",
            "is there" if there else f"would write {w.config} (0600), runtime {runtime}, profile {w.profile}",
            f"would install {self._unit().name}" if w.install else f"would say: {self._by_hand()}",
            "would wait until the hub has seen it",
            "would give the agent's program a small task (agentcom-sidecar doctor)",
            "would give the agent one task through the hub",
        ]
        for what, line in zip(("register", "config", "service", "identified", "wake", "task"), lines, strict=True):
            self._step(what)
            self._done(line)
        if w.as_json:
            print_json({"agent_id": w.agent_id, "dry_run": True, "config": str(w.config), "would": lines})

    def _step(self, what: str) -> None:
        self.number += 1
        self.what = what

    def _done(self, text: str) -> None:
        click.echo(f"[{self.number}/{STEPS}] {self.what}: {one_line(text)}", err=self.w.as_json)

    def _busy(self, text: str) -> AbstractContextManager[None]:
        return busy(f"[{self.number}/{STEPS}] {self.what}: {text} ...", quietly=self.w.as_json)

    def _stop(self, text: str, code: int = EXIT_FAILED) -> NoReturn:
        fail(f"[{self.number}/{STEPS}] {self.what}: {text}", code)

    def _until(
        self, condition: Callable[[], bool], what: str, code: int = EXIT_FAILED, *, within: float = SOON
    ) -> None:
        end = time.monotonic() + within
        if condition():
            return
        with self._busy(f"waiting for {what}"):
            while not condition():
                if time.monotonic() > end:
                    self._stop(f"waited {within:g} s for {what}; run this again to go on", code)
                time.sleep(LOOK_EVERY)

    def _ask(
        self,
        client: "HubClient",
        method: str,
        path: str,
        said: dict[str, Any] | None = None,
        key: str | None = None,
        *,
        forget: Path | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Ask the hub; ``forget`` is removed when it has refused for good."""
        from coordinator.reading import HubUnreachable, NotAllowed, TokenRefused

        try:
            return client.call(method, path, said, {} if key is None else {"Idempotency-Key": key})
        except TokenRefused as error:
            if forget is not None:
                forget.unlink(missing_ok=True)
            if not said:
                self._stop(str(error), EXIT_REFUSED)
            joint = "; set AGENTCOM_TOKEN to" if isinstance(error, NotAllowed) else ","
            self._stop(
                f"{error}{joint} an invite for {self.w.agent_id} (`agentcom invite --for "
                f"{self.w.agent_id}` in the hub's clone), or to the admin's token (.git/agentcom/admin.token there)",
                EXIT_REFUSED,
            )
        except HubUnreachable as error:
            self._stop(f"{error}; run this again to go on", EXIT_NO_HUB)


def _private(path: Path, text: str) -> None:
    from coordinator.place import write_whole

    write_whole(path, text, 0o600)
