"""How the git flow is set up: from git configuration and the environment into one checked value.

Pure: pairs of key and value in. The environment wins over git configuration. No secret is ever read from either file;
tokens come from the environment alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.gitflow.naming import ref_objection
from sidecar.gitflow.risk import DEFAULT, Rule, read_rule
from sidecar.gitflow.values import ID, Misconfigured

#: The section of git configuration, in any of its files.
SECTION = "agentcom-git"
#: No remote, though there is one.
NO_REMOTE = "none"

#: Which variable stands for which key.
VARIABLES = {
    "AGENTCOM_AGENT": "agent",
    "AGENTCOM_WORKTREES": "worktrees",
    "AGENTCOM_GITHUB_API": "api",
    "AGENTCOM_GITHUB_PROJECT": "project",
}
#: Variables that may hold a token, the first that does wins.
TOKENS = ("AGENTCOM_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")

_TRUE = {"true": True, "yes": True, "on": True, "1": True, "": True}
_FALSE = {"false": False, "no": False, "off": False, "0": False}
_MANY = {"risk", "reviewer"}
_ONE = {"agent", "worktrees", "remote", "base", "api", "project", "forge", "draft"}
#: What start-task writes into the configuration of one work tree.
_OURS = {"task", "branch"}
FORGES = ("auto", "github", "none")


@dataclass(frozen=True, slots=True)
class Settings:
    """``agent`` is the id, "" when nobody said it; ``worktrees`` the folder of all work trees, "" for beside the repo.

    ``remote`` and ``base`` are names, "" for the usual ones; ``api`` is the address of the forge's API, ``project`` its
    OWNER/NAME, both "" to be taken from the remote's address. ``task``, ``branch`` and ``owner`` are set in a
    task's work tree; ``owner`` is the agent whose it is, whoever calls. ``origins`` tells of each key that anybody
    set who did.
    """

    agent: str = ""
    worktrees: str = ""
    remote: str = ""
    base: str = ""
    forge: str = "auto"
    api: str = ""
    project: str = ""
    reviewers: tuple[str, ...] = ()
    draft: bool = False
    risk: tuple[Rule, ...] = DEFAULT
    task: str = ""
    branch: str = ""
    owner: str = ""
    token: str = field(default="", repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def read(pairs: Iterable[tuple[str, str, str]], environment: Mapping[str, str]) -> Settings:
    """Return the settings; of ``pairs`` (whole lower-case key, value, file) later ones win. Raises Misconfigured."""
    one: dict[str, str] = {}
    many: dict[str, list[str]] = {"risk": [], "reviewer": []}
    origins: dict[str, str] = {}
    for key, value, file in pairs:
        section, _, name = key.partition(".")
        if section != SECTION:
            continue
        origins[name] = f"git config {key} in {file}"
        if name in _MANY:
            many[name].append(value)
        elif name in _ONE | _OURS:
            one[name] = value
        else:
            known = ", ".join(sorted(_ONE | _MANY))
            raise Misconfigured(f"git config {key}: unknown; known are {known}: `git config --unset-all {key}`")
    owner = one.get("agent", "") if one.get("task") else ""
    said = {key: name for name, key in VARIABLES.items() if environment.get(name)}
    one.update({key: environment[name] for key, name in said.items()})
    values: dict[str, Any] = {name: one[name] for name in one if name != "draft"}
    values["reviewers"] = tuple(many["reviewer"])
    values["draft"] = _boolean(one.get("draft", "false"))
    if many["risk"]:
        values["risk"] = tuple(_rule(text) for text in many["risk"])
    if holder := next((name for name in TOKENS if environment.get(name)), None):
        values["token"] = environment[holder]
        said["token"] = holder
    values["origins"] = {**origins, **{key: f"{name} in the environment" for key, name in said.items()}}
    _check(one)
    _check({"agent": owner})
    values["owner"] = owner
    return Settings(**values)


def _check(one: Mapping[str, str]) -> None:
    if (agent := one.get("agent")) and not ID.fullmatch(agent):
        raise Misconfigured(f"agent {agent!r} is no id: a-z, 0-9 and -, at most 64 characters")
    if (base := one.get("base")) and (against := ref_objection(base)):
        raise Misconfigured(f"git config {SECTION}.base: {base!r}: {against}")
    if (forge := one.get("forge")) and forge not in FORGES:
        raise Misconfigured(f"git config {SECTION}.forge: {forge!r} is unknown; known are {', '.join(FORGES)}")
    if (project := one.get("project")) and (project.count("/") != 1 or not all(project.split("/"))):
        raise Misconfigured(f"git config {SECTION}.project: {project!r}: write OWNER/NAME")


def _boolean(text: str) -> bool:
    value = {**_TRUE, **_FALSE}.get(text.lower())
    if value is None:
        raise Misconfigured(f"git config {SECTION}.draft: {text!r}: write true or false")
    return value


def _rule(text: str) -> Rule:
    try:
        return read_rule(text)
    except ValueError as error:
        raise Misconfigured(f"git config {SECTION}.risk: {error}") from None
