"""What a hub of version 1 leaves behind, as files of ours: its tokens as agents, its open tasks as tasks on hold.

Pure. Shapes are those of version 1 (PROTOCOL 2.1); what is more, or different, is said and never guessed at. A token
leaves this module as its hash only.

    WrongTokens                 tokens.json is not one; the text says what was found instead
    Collision                   two of the old ids would become one, or an id that is taken; nothing may be written
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coordinator.core.agent import Token
from coordinator.core.task import Priority, Spec, is_id
from coordinator.files import limits
from coordinator.files.agentfile import prefix_of

#: Ends of version 1; a task in any other state is open.
_ENDED = frozenset("completed dead_letter done failed rejected cancelled".split())
#: Key in the metadata of a task under which its old id is kept, so that a second import knows it.
OLD_ID = "v1_id"
#: A token of fewer characters can be guessed from its hash, which is in git for everybody who reads it.
SAFE_TOKEN_CHARS = 20
#: What never comes along.
LEFT_BEHIND = (
    "mail, channels, threads and their history",
    "tasks that ended, their results, and attempts and retries so far",
    "the old hub's admin token, its settings and its numbers",
)
_ID_CHARS = 64
_NO_ID = re.compile(r"[^a-z0-9]+")
_LOOKS_LIKE_A_TOKEN = 24


class WrongTokens(Exception):
    """What was given is no tokens.json of version 1."""


class Collision(Exception):
    """The old ids cannot be told apart in their new form."""


@dataclass(frozen=True, slots=True)
class OldAgent:
    """One agent of version 1: ``old_id`` as its sidecar says it, ``id`` ours, the stored half of its token."""

    old_id: str
    id: str
    token: Token
    name: str = ""
    weak: bool = False


@dataclass(frozen=True, slots=True)
class OldTask:
    """One open task of version 1 as ours, on hold; ``notes`` say what could not be kept as it was."""

    old_id: str
    spec: Spec
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What tokens.json says: (agent id, token) in its order, and remarks about what else stood there."""

    pairs: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...] = field(default=())


def read_tokens(data: bytes) -> Tokens:
    """Return what a tokens.json holds: ``{agent_id: token}`` or a list of ``{agent_id, token}``. Raises WrongTokens."""
    try:
        said = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise WrongTokens("is not UTF-8: give the tokens.json of version 1") from None
    except json.JSONDecodeError as error:
        raise WrongTokens(f"{error.lineno}:{error.colno}: is not JSON: {error.msg}") from None
    if isinstance(said, dict):
        found = _from_mapping(said)
    elif isinstance(said, list):
        found = _from_list(said)
    else:
        raise WrongTokens(f"holds {_kind(said)}; expected {{agent_id: token}} or a list of {{agent_id, token}}")
    if not found.pairs:
        raise WrongTokens("holds no token")
    ids = [agent for agent, _ in found.pairs]
    for agent in ids:
        if ids.count(agent) > 1:
            raise WrongTokens(f"names {agent!r} twice: delete the entry that is not in force")
    return found


def agents(
    pairs: Iterable[tuple[str, str]], names: Mapping[str, str], digest: Callable[[str], str], reserved: Sequence[str]
) -> tuple[OldAgent, ...]:
    """Return the agents that tokens belong to, with ids of ours; ``names`` are how the old hub called them.

    Raises Collision, naming all that are in the way of one another.
    """
    made: list[OldAgent] = []
    trouble: list[str] = []
    by_id: dict[str, str] = {}
    by_hash: dict[str, str] = {}
    for old_id, token in pairs:
        new = new_id(old_id)
        sha256 = digest(token)
        if not is_id(new, *reserved):
            trouble.append(f"{old_id!r} gives no id of ours ({new or 'nothing'!r} is empty or reserved)")
        if new in by_id:
            trouble.append(f"{by_id[new]!r} and {old_id!r} would both be {new}")
        if sha256 in by_hash:
            trouble.append(f"{by_hash[sha256]!r} and {old_id!r} have the same token")
        by_id.setdefault(new, old_id)
        by_hash.setdefault(sha256, old_id)
        stored = Token(sha256, prefix_of(token))
        made.append(OldAgent(old_id, new, stored, names.get(old_id, ""), len(token) < SAFE_TOKEN_CHARS))
    if trouble:
        raise Collision(f"{'; '.join(trouble)}: rename them in tokens.json and in their sidecars' config first")
    return tuple(made)


def open_tasks(
    tasks: Iterable[Mapping[str, Any]], known_agents: Mapping[str, str], now_ms: int, reserved: Sequence[str]
) -> tuple[OldTask, ...]:
    """Return the open ones of the old hub's tasks, on hold; ``known_agents`` maps old agent ids to ours.

    Raises Collision.
    """
    still = [task for task in tasks if str(task.get("status")) not in _ENDED]
    ids: dict[str, str] = {}
    trouble: list[str] = []
    for task in still:
        old_id = _old_id(task)
        new = new_id(old_id)
        if not is_id(new, *reserved):
            trouble.append(f"task {old_id!r} gives no id of ours")
        elif new in ids.values():
            trouble.append(f"two tasks would both be {new}, one of them {old_id!r}")
        ids[old_id] = new
    if trouble:
        raise Collision(f"{'; '.join(trouble)}: end one of them on the old hub first")
    return tuple(_task(task, ids, known_agents, now_ms) for task in still)


def new_id(old: str) -> str:
    """Return an old id as one of ours, the same each time; empty when nothing of it can be kept."""
    return _NO_ID.sub("-", old.lower()).strip("-")[:_ID_CHARS].strip("-")


def _task(task: Mapping[str, Any], ids: Mapping[str, str], known_agents: Mapping[str, str], now_ms: int) -> OldTask:
    old_id = _old_id(task)
    notes: list[str] = []
    title, description = _texts(task, old_id)
    deadline = task.get("complete_by", task.get("deadline"))
    if isinstance(deadline, int | float) and not isinstance(deadline, bool) and deadline <= now_ms:
        notes.append("its deadline is over and was left out")
        deadline = None
    needs = _words(task.get("needed_capabilities"))
    depends = _words(task.get("depends_on"))
    if gone := [one for one in depends if one not in ids]:
        notes.append(f"it waited for {', '.join(gone)}, which ended or is unknown, and does not any more")
    assignee = task.get("assign_to")
    if assignee and str(assignee) not in known_agents:
        notes.append(f"it was for {assignee}, who is not imported")
    retries = task.get("max_retries")
    if owner := task.get("assigned_to"):
        notes.append(f"{owner} had it in hand: see whether it is done before you release it")
    metadata = task.get("metadata")
    kept: dict[str, Any] = dict(metadata) if isinstance(metadata, Mapping) else {}
    kept |= {key: task[key] for key in ("repo", "base") if task.get(key)}
    spec = Spec(
        id=ids[old_id],
        title=title,
        description=description,
        priority=_priority(task.get("priority")),
        needed_capabilities=tuple(dict.fromkeys(needs)),
        depends_on=tuple(dict.fromkeys(ids[one] for one in depends if one in ids)),
        assignee=known_agents.get(str(assignee)) if assignee else None,
        max_retries=retries if isinstance(retries, int) and 0 <= retries <= limits.RETRIES else None,
        deadline=int(deadline) if isinstance(deadline, int | float) and not isinstance(deadline, bool) else None,
        hold=True,
        metadata={**kept, OLD_ID: old_id},
    )
    return OldTask(old_id, spec, tuple(notes))


def _texts(task: Mapping[str, Any], old_id: str) -> tuple[str, str]:
    """Return title and description; a long or missing title is made from the text, which then stays whole."""
    description = str(task.get("description") or "").strip()
    title = " ".join(str(task.get("title") or "").split())
    first = " ".join(next((line for line in description.splitlines() if line.strip()), old_id).split())
    if not title and first == description:
        description = ""
    whole = title or first
    if len(whole) > limits.TITLE_CHARS:
        description = f"{whole}\n\n{description}" if title else description or whole
        whole = whole[: limits.TITLE_CHARS - 4].rstrip() + " ..."
    return whole, description


def _priority(said: object) -> Priority:
    if isinstance(said, int) and said in set(Priority):
        return Priority(said)
    return next((one for one in Priority if one.word == str(said).lower()), Priority.NORMAL)


def _words(said: object) -> list[str]:
    if not isinstance(said, list):
        return []
    return [str(one["name"]) if isinstance(one, Mapping) and "name" in one else str(one) for one in said]


def _old_id(task: Mapping[str, Any]) -> str:
    return str(task.get("id") or task.get("task_id") or "")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise WrongTokens(f"names {key!r} twice: delete the entry that is not in force")
    return dict(pairs)


def _from_mapping(said: Mapping[str, Any]) -> Tokens:
    for key, value in said.items():
        if not isinstance(value, str) or not value.strip():
            raise WrongTokens(
                f"{key!r} has {_kind(value)} where its token should be; expected {{agent_id: token}} or a list of "
                "{agent_id, token}"
            )
    long = [len(key) >= _LOOKS_LIKE_A_TOKEN for key in said]
    short = [len(value) < _LOOKS_LIKE_A_TOKEN for value in said.values()]
    if said and all(long) and all(short):
        raise WrongTokens("looks like {token: agent_id}; expected {agent_id: token}: turn it round")
    return Tokens(tuple((key, value.strip()) for key, value in said.items()))


def _from_list(said: Sequence[Any]) -> Tokens:
    pairs: list[tuple[str, str]] = []
    more: dict[str, None] = {}
    for number, one in enumerate(said, 1):
        if not isinstance(one, dict):
            raise WrongTokens(f"entry {number} is {_kind(one)}; expected {{agent_id, token}}")
        for key in ("agent_id", "token"):
            if not isinstance(one.get(key), str) or not one[key].strip():
                raise WrongTokens(f"entry {number} has {_kind(one.get(key))} as {key}; expected a text")
        pairs.append((one["agent_id"], one["token"].strip()))
        more |= dict.fromkeys(key for key in one if key not in ("agent_id", "token"))
    remarks = (f"what else stands in tokens.json is left out: {', '.join(more)}",) if more else ()
    return Tokens(tuple(pairs), remarks)


def _kind(value: object) -> str:
    """Name what was found, and never repeat it: it may be a token."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "a text" if value.strip() else "an empty text"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "a mapping")
