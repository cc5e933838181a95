"""What a repository says: its policy (agentcom.yaml) as it is in force, and git's settings."""

import dataclasses
from collections.abc import Mapping

from coordinator.core.backlog import fold
from coordinator.files.loader import marks
from coordinator.files.observe import POLICY
from coordinator.files.schema import Model, PolicyFile
from coordinator.git.remotes import KEY
from coordinator.git.settings import SECTION, WANTED, in_force
from coordinator.ground import Ground, policy_in_force
from coordinator.inforce.rows import Section, flat, row, secret
from coordinator.ports import StoreError
from coordinator.sourced import DEFAULT, Sourced, first
from sidecar.gitflow import repository, settings
from sidecar.gitflow.values import FlowError

#: What a command ends with because of a wrong agentcom.yaml, and because of wrong settings of this machine.
_FILES_WRONG, _CONFIG = 65, 78
#: What only the work tree of a task has.
_OF_A_TASK = frozenset({"task", "branch", "owner"})


def policy(ground: Ground) -> Section:
    """Return the policy that a hub goes by: agentcom.yaml on the source, or its last version that was right."""
    try:
        said, problems, text = policy_in_force(ground)
    except StoreError as error:
        return Section("policy", problems=(str(error),), exit_code=_FILES_WRONG)
    file = f"{POLICY}@{said.blob[:12]}" if problems and said.blob else POLICY
    where = {_folded(key): f"{file}:{line}:{column}" for key, (line, column) in marks(text).items()}
    rows = []
    for key, value in flat(said):
        if key == "blob":
            continue
        if key == "root":
            origin = where.get(key, POLICY) if ground.root_from == POLICY else ground.root_from
            rows.append(row("policy.root", Sourced(ground.root, origin), _about(key)))
        else:
            rows.append(row(f"policy.{key}", Sourced(value, where.get(key, DEFAULT)), _about(key)))
    if not problems:
        notes: tuple[str, ...] = ()
    elif said.blob:
        notes = (f"the version of {POLICY} that was right last stays in force (git blob {said.blob[:12]})",)
    else:
        notes = (f"no version of {POLICY} was right so far: the defaults are in force",)
    wrong = tuple(map(str, problems))
    return Section("policy", tuple(rows), wrong, notes, _FILES_WRONG if wrong else 0)


def git(ground: Ground) -> Section:
    """Return what git reads here of what a hub wants of it, and of ours."""
    there = in_force(ground.repo)
    rows = [
        row(f"git.{key}", there.get(key.lower()) or Sourced(None, f"not set; `agentcom init` sets {wanted}"), why)
        for key, (wanted, why) in WANTED.items()
    ]
    rows.append(row(f"git.{KEY}", there.get(KEY) or Sourced(None)))
    unknown = [key for key in there if key.startswith(f"{SECTION}.") and key != KEY]
    hint = f"the one known key of this section is {KEY}"
    wrong = tuple(f"{there[key].origin.removeprefix('git config in ')}: {key}: unknown key, {hint}" for key in unknown)
    return Section("git", tuple(rows), wrong, exit_code=_CONFIG if wrong else 0)


def flow(ground: Ground, environ: Mapping[str, str]) -> Section:
    """Return what ``agentcom-git`` goes by when it is called here."""
    name = settings.SECTION
    try:
        said = repository.find(ground.repo.work_tree or ground.repo.common_dir, environ).settings
    except FlowError as error:
        return Section(name, problems=(str(error),), exit_code=_CONFIG)
    rows = []
    for one in dataclasses.fields(said):
        if one.name == "origins" or (one.name in _OF_A_TASK and not getattr(said, one.name)):
            continue
        key = {"reviewers": "reviewer"}.get(one.name, one.name)
        found = first(None, (getattr(said, one.name) or None, said.origins.get(key, DEFAULT)))
        if key == "token":
            rows.append(secret(f"{name}.token", found, f"{', '.join(settings.TOKENS)} would hold it"))
        elif key == "risk":
            rows.append(row(f"{name}.risk", Sourced(list(map(str, said.risk)), said.origins.get(key, DEFAULT))))
        elif key == "draft":
            rows.append(row(f"{name}.draft", Sourced(said.draft, said.origins.get(key, DEFAULT))))
        else:
            rows.append(row(f"{name}.{key}", found))
    return Section(name, tuple(rows))


def _folded(key: str) -> str:
    """Return a key of the file as the policy has it: headings of lanes count whatever their case."""
    head, dot, rest = key.partition(".")
    return f"{head}{dot}{fold(rest)}" if head == "lanes" else key


def _about(key: str) -> str:
    model: type[Model] | None = PolicyFile
    about = ""
    for step in key.split("."):
        field = None if model is None else model.model_fields.get(step)
        if field is None:
            break
        about = field.description or about
        model = next((part for part in _parts(field.annotation) if issubclass(part, Model)), None)
    return about


def _parts(annotation: object) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [part for inner in getattr(annotation, "__args__", ()) for part in _parts(inner)]
