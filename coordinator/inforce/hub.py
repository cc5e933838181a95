"""What a hub that is started here now would go by, and what the commands here do."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from coordinator import eventloop
from coordinator.config import HOOK_SECRET, Settled, usual_files
from coordinator.doctor.bundle import clean
from coordinator.files.schema import MachineFile
from coordinator.git.remotes import KEY, NONE, hub_remote
from coordinator.ground import ASKED, HEAD, Ground
from coordinator.inforce.rows import Row, Section, row, secret
from coordinator.listening import admitted
from coordinator.place import ADMIN_TOKEN, process_lives
from coordinator.reading import HUB, TOKEN, hub_named, token_for
from coordinator.sourced import Sourced, first
from coordinator.trail import CannotStart
from coordinator.verdicts import API, TOKENS, forge_named
from sidecar.gitflow import settings as flow

_EXIT_CONFIG = 78
#: What some program of AgentCom reads, or hands to an agent, besides what is named above.
_OTHERS = frozenset(
    "AGENTCOM_V1_TOKEN AGENTCOM_TASK_ID AGENTCOM_GENERATION AGENTCOM_TASK_FILE AGENTCOM_RESULT_FILE "
    "AGENTCOM_RESULTS_DIR AGENTCOM_PROFILE AGENTCOM_FAKE_DELAY AGENTCOM_FAKE_SLOW AGENTCOM_FAKE_LOG".split()
)
VARIABLES = frozenset(
    {HOOK_SECRET, ADMIN_TOKEN, HUB, TOKEN, API, *TOKENS, eventloop.VARIABLE, *flow.VARIABLES, *flow.TOKENS, *_OTHERS}
)


def hub(said: Settled, ground: Ground | None) -> Section:
    """Return how a hub started here would be set up; ``ground`` is None where there is no repository."""
    api, token = forge_named()
    rows = [
        row("hub.config", Sourced(said.machine.where, _found(said))),
        row("hub.repo", Sourced(said.repo.value.absolute(), said.repo.origin), _about("repo")),
        row("hub.remote", _remote(said, ground), _about("remote")),
        row("hub.source", _source(said, ground), _about("source")),
        *([] if ground is None else [row("hub.root", Sourced(ground.root, ground.root_from))]),
        row("hub.listen", said.listen, _about("listen")),
        *_tls(said),
        row("hub.behind_proxy", said.behind_proxy, _about("behind_proxy")),
        row("hub.plain", said.plain, _about("plain")),
        row("hub.public_url", said.public_url, _about("public_url")),
        row("hub.data_dir", _data_dir(said, ground), _about("data_dir")),
        _hook_secret(said, ground),
        *([] if ground is None else [_admin_token(ground)]),
        row("hub.event_loop", eventloop.chosen()),
        row("hub.forge_api", api),
        secret("hub.forge_token", token, f"{' or '.join(TOKENS)} would hold it"),
    ]
    notes = () if ground is None else (*_first_start(said, ground), *_running(ground))
    wrong = _objection(said)
    return Section("hub", tuple(rows), wrong, notes, _EXIT_CONFIG if wrong else 0)


def commands(ground: Ground | None, editor: Sourced[str]) -> Section:
    """Return which hub the commands here speak with, and as whom."""
    local = (None if ground is None else ground.place.read_hub()) or {}
    there = local.get("url")
    beside = "" if ground is None else str(ground.place.folder / "hub.json")
    found = hub_named(None) or Sourced(there if isinstance(there, str) else "", beside)
    named = first(None, (found.value or None, found.origin))
    here = named.value == there and process_lives(local)
    token: Sourced[str | None] = Sourced(None) if named.value is None else token_for(named.value, ground, here=here)
    rows = (
        row("commands.hub", named),
        secret("commands.token", token, f"{TOKEN} would hold it"),
        row("commands.editor", editor),
    )
    return Section("commands", rows, notes=strangers(os.environ))


def strangers(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each variable that looks as if it were ours, and that nothing reads."""
    lines = []
    for name in sorted(environ):
        if name.startswith("AGENTCOM_") and name not in VARIABLES and not name.startswith("AGENTCOM_GIT_"):
            near = difflib.get_close_matches(name, VARIABLES, 1)
            hint = f"did you mean {near[0]}?" if near else "unset it"
            lines.append(f"{name} in the environment: nothing reads it; {hint}")
    return tuple(lines)


def _about(key: str) -> str:
    return MachineFile.model_fields[key].description or ""


def _found(said: Settled) -> str:
    usual = usual_files()
    if said.machine.where is None:
        return f"there is no {' and no '.join(map(str, usual))}"
    return "found there" if said.machine.where in usual else "--config"


def _remote(said: Settled, ground: Ground | None) -> Sourced[str | None]:
    """Return the remote that the next start takes: what is asked for is remembered, else what was remembered."""
    if said.remote.value is not None or ground is None:
        return Sourced(None, said.remote.origin) if said.remote.value == NONE else said.remote
    return first(None, (hub_remote(ground.repo), f"git config {KEY} in {ground.repo.common_dir / 'config'}"))


def _source(said: Settled, ground: Ground | None) -> Sourced[str | None]:
    if ground is None:
        return said.source
    return Sourced(ground.branch, said.source.origin if ground.source_from == ASKED else ground.source_from)


def _tls(said: Settled) -> list[Row]:
    tls, marks = said.tls.value, said.machine.marks
    if tls is None:
        return [row("hub.tls", said.tls)]
    rows = []
    for key, path in (("tls.cert", tls.cert), ("tls.key", tls.key)):
        line = marks.get(key) if said.tls.origin.startswith(str(said.machine.where)) else None
        origin = said.tls.origin if line is None else f"{said.machine.where}:{line[0]}:{line[1]}"
        rows.append(row(f"hub.{key}", Sourced(path, origin)))
    return rows


def _data_dir(said: Settled, ground: Ground | None) -> Sourced[Path | None]:
    if said.data_dir.value is not None or ground is None:
        return said.data_dir
    return Sourced(ground.place.folder, said.data_dir.origin)


def _hook_secret(said: Settled, ground: Ground | None) -> Row:
    known = said.hook_secret if ground is None else ground.place.known_hook_secret(said.hook_secret)
    return secret("hub.hook_secret", known, "`agentcom hook secret` makes one")


def _admin_token(ground: Ground) -> Row:
    return secret("hub.admin_token", ground.place.known_admin_token(), "the first start of a hub makes one")


def _objection(said: Settled) -> tuple[str, ...]:
    """Return why a hub would not listen so."""
    try:
        admitted(said.listening())
    except CannotStart as error:
        return (str(error),)
    return ()


def _first_start(said: Settled, ground: Ground) -> tuple[str, ...]:
    remote = _remote(said, ground).value
    if remote is None or ground.source_from != HEAD:
        return ()
    return (f"the first start asks {clean(remote)} for its default branch, which then is the source instead of HEAD",)


def _running(ground: Ground) -> tuple[str, ...]:
    local = ground.place.read_hub()
    if local is None or not process_lives(local):
        return ()
    return (
        f"a hub runs at {local.get('url')} (pid {local.get('pid')}): it goes by the options, the environment and the "
        "hub.yaml of its start; what is shown is what one started here now would go by",
    )
