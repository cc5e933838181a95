"""Hypothesis strategies for the values of the project, all in one file."""

from hypothesis import strategies as st

from coordinator.core.agent import AgentRecord, Token
from coordinator.core.backlog import CANCELLED, DONE, NO_CHECK, OPEN, Item
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import Answer, Attempt, Decision, End, Origin, Priority, Spec, Status, is_id

ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True).filter(is_id)
#: Anything that can stand in a text, with the traps of YAML more often than chance would have them.
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        "no|012|12:30|~|null|- x|a: b|a #b|'|\"|\\|\x85|\u2028|\ufeff|\x00|1.10|1e3|.inf|0x10|---|...|%TAG|@x|`|!x|&a"
        "|*a|[a|{a|a,b|a]".split("|")
    ),
    st.lists(st.text(max_size=12), max_size=4).map("\n".join),
)
words = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1, max_size=12)
    .map(str.strip)
    .filter(bool)
)
names = st.from_regex(r"[a-z][a-z0-9/._]{0,10}", fullmatch=True)
times = st.integers(min_value=0, max_value=253402300799999)
counts = st.integers(min_value=0, max_value=1_000_000)
durations = st.one_of(
    st.integers(min_value=1, max_value=86_400).map(float),
    st.floats(min_value=0.001, max_value=86_400, allow_nan=False, allow_infinity=False),
)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
blobs = st.one_of(st.just(""), st.text("0123456789abcdef", min_size=40, max_size=40))
#: JSON values as an agent may send them.
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.one_of(st.text(min_size=1, max_size=9), st.just("k" * 2000)), json_values, max_size=3)


def _many(strategy: st.SearchStrategy, size: int = 3) -> st.SearchStrategy:
    return st.lists(strategy, max_size=size).map(tuple)


def _maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


answers = st.builds(Answer, counts, texts)
decisions = st.builds(Decision, counts, st.booleans(), texts)
attempts = st.builds(Attempt, counts, texts, st.sampled_from(End), texts, texts, st.booleans())
titles = words.map(lambda text: text[:300])

specs = st.builds(
    Spec,
    id=ids,
    title=titles,
    description=texts,
    priority=st.sampled_from(Priority),
    needed_capabilities=_many(words),
    depends_on=_many(ids),
    assignee=_maybe(ids),
    max_retries=_maybe(st.integers(min_value=0, max_value=100)),
    timeout_s=_maybe(durations),
    deadline=_maybe(times),
    not_before=_maybe(times),
    review=st.none() | st.booleans(),
    hold=st.booleans(),
    cancel=st.booleans(),
    done=st.booleans(),
    rerun=counts,
    answer=_maybe(answers),
    decision=_maybe(decisions),
    repo=_maybe(names),
    base=_maybe(names),
    kind=st.sampled_from([None, "code", "note"]),
    labels=_many(words),
    metadata=mappings,
    extra=st.dictionaries(names.map("x-".__add__), json_values, max_size=2),
    acceptance=_many(texts),
    origin=st.sampled_from([Origin.BACKLOG, Origin.API]),
)

statuses = st.builds(
    Status,
    status=st.sampled_from(State),
    generation=counts,
    assigned_to=_maybe(ids),
    last_owner=_maybe(ids),
    preferred=_maybe(ids),
    created_at=times,
    created_by=texts,
    assigned_at=_maybe(times),
    started_at=_maybe(times),
    completed_at=_maybe(times),
    retry_count=counts,
    max_retries=counts,
    excluded=_many(ids),
    not_before=_maybe(times),
    reason=texts,
    question=_maybe(texts),
    answers=_many(answers),
    reviews=_many(decisions),
    merged=_maybe(st.text("0123456789abcdef", min_size=40, max_size=40)),
    orphaned=st.booleans(),
    orphans=st.lists(counts, max_size=3).map(tuple),
    held=st.booleans(),
    deleted=st.booleans(),
    rerun=counts,
    spec=blobs,
    attempts=_many(attempts),
    result=_maybe(mappings),
)

tokens = st.builds(Token, hashes, st.just("") | names, _maybe(times))
records = st.builds(
    AgentRecord,
    id=ids,
    parked_until=_maybe(times),
    parked_reason=texts,
    draining=st.booleans(),
    tokens=_many(tokens),
    revoked=_many(hashes),
    accepted=blobs,
    invites=_many(tokens),
)

#: Items with few titles, so that equals, moves and rewordings happen often.
items = st.builds(
    Item,
    title=st.sampled_from(["Fix the login", "Fix the logins", "Write docs", "Water the plants", "Call the bank"]),
    line=st.just(0),
    heading=st.sampled_from(["Ready", "Inbox", "In Progress", "Done"]),
    lane=st.just(Lane.READY),
    check=st.sampled_from([NO_CHECK, OPEN, OPEN, DONE, CANCELLED]),
    digest=st.sampled_from(["a", "a", "b"]),
)


def _placed(chosen: list[Item]) -> list[Item]:
    from dataclasses import replace

    lanes = {"Ready": Lane.READY, "Inbox": Lane.DRAFT, "In Progress": Lane.IN_PROGRESS, "Done": Lane.DONE}
    return [replace(item, line=line, lane=lanes[item.heading]) for line, item in enumerate(chosen, 1)]


versions = st.lists(items, max_size=8).map(_placed)
