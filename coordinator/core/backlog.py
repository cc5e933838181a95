"""Which task an item of BACKLOG.md is, version after version: the identity of lines that carry no id.

Identity (DESIGN 3): an anchor wins; else each version of the file is matched with the one before it - same title, then
the one removed and one added item of a diff hunk, then a unique similar title - and what is left over is born with an
id that is a hash of what was written, so that two clones agree. This module knows no Markdown, no git and no hub; the
same input gives the same ids.
"""

import hashlib
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from coordinator.core.order import longest_rise
from coordinator.core.policy import Lane
from coordinator.core.task import Origin, Priority, Spec

#: Crockford base 32, lower case: no i, l, o, u.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Characters of a birth id after ``t-`` (40 bits); a collision takes one more each time.
BIRTH_CHARS = 8
#: Two titles at least so alike may be one item reworded, when no other pair is.
SIMILARITY = 0.85
#: Similarity is asked for only among so many removed and so many added items.
SIMILAR_ITEMS = 100
#: After so many full comparisons of titles everything is like everything, and no pair would be unique.
SIMILAR_TRIES = 1_000

#: Check marks as they are kept: none, ``[ ]``, ``[x]``, ``[-]``.
NO_CHECK, OPEN, DONE, CANCELLED = "", " ", "x", "-"


def fold(text: str) -> str:
    """Return ``text`` as identity sees it: NFC, case-folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Item:
    """One item of one version of BACKLOG.md, as written; ``line`` counts from 1.

    ``lane`` is what its heading means; ``digest`` stands for everything that was written but the check mark. An item
    that is not ``valid`` has a mistake in a token: it keeps its identity, but its last good version stays in force.
    """

    title: str
    line: int
    heading: str = ""
    lane: Lane = Lane.DRAFT
    check: str = NO_CHECK
    anchor: str | None = None
    description: str = ""
    priority: Priority = Priority.NORMAL
    labels: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    assignee: str | None = None
    repo: str | None = None
    base: str | None = None
    kind: str | None = None
    due: int | None = None
    timeout_s: float | None = None
    review: bool | None = None
    acceptance: tuple[str, ...] = ()
    digest: str = ""
    valid: bool = True


@dataclass(frozen=True, slots=True)
class MapEntry:
    """What is remembered of one item: its id, and what the next version is matched against.

    ``title`` and ``heading`` are folded; ``lane`` is the one in force (never IN_PROGRESS); ``started`` tells that it
    stood in a ready lane at least once, so that its task may outlive its line. ``born`` is the (title, heading) that
    its id came from, None while they are the same: it is a namesake under both.
    """

    id: str
    title: str
    heading: str
    lane: Lane
    line: int
    check: str = NO_CHECK
    digest: str = ""
    started: bool = False
    born: tuple[str, str] | None = None

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Every (title, heading) that it counts under as a namesake."""
        now = self.title, self.heading
        return (now,) if self.born is None else (now, self.born)


@dataclass(frozen=True, slots=True)
class BacklogMap:
    """The identity map: entries in the order of the file, and what must be known of those whose lines are gone.

    ``gone`` are entries whose task was not finished when last heard of: a line that is put back is that task again.
    ``finished`` counts the finished ones by (folded title, folded heading); ``blob`` is the version of BACKLOG.md that
    was compiled last.
    """

    entries: tuple[MapEntry, ...] = ()
    gone: tuple[MapEntry, ...] = ()
    finished: Mapping[tuple[str, str], int] = field(default_factory=dict)
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """The map after the last version, the items that its entries stand for, and what people should hear of.

    ``items`` stands beside ``map.entries``, one by one. ``duplicates`` repeat the anchor of an earlier item and are no
    items. ``renamed`` are (old folded title, entry) where another title was assumed to be the same item reworded, by
    its place alone.
    """

    map: BacklogMap
    items: tuple[Item, ...] = ()
    duplicates: tuple[Item, ...] = ()
    renamed: tuple[tuple[str, MapEntry], ...] = ()


def carry(
    known: BacklogMap,
    versions: Sequence[Sequence[Item]],
    finished: AbstractSet[str] = frozenset(),
    used: AbstractSet[str] = frozenset(),
) -> Carried:
    """Carry ids through ``versions`` (oldest first) and return the map after the last of them.

    ``finished`` are the ids of finished tasks, ``used`` all ids that must not be born again (every task that ever was,
    every file in tasks/). Carrying a version that the map already stands for changes nothing.
    """
    result = Carried(known)
    renamed: dict[str, str] = {}
    for items in versions:
        result = _step(result.map, items, finished, used)
        for old, entry in result.renamed:
            renamed.setdefault(entry.id, old)
    standing = ((renamed[entry.id], entry) for entry in result.map.entries if entry.id in renamed)
    return replace(result, renamed=tuple((old, entry) for old, entry in standing if not _alike(old, entry.title)))


def spec_of(item: Item, entry: MapEntry, path: str = "BACKLOG.md") -> Spec:
    """Return what one item asks for, under its id; ``blob`` is left empty for whoever writes the text."""
    return Spec(
        id=entry.id,
        title=item.title,
        description=item.description,
        priority=item.priority,
        needed_capabilities=item.needs,
        depends_on=item.depends,
        assignee=item.assignee,
        timeout_s=item.timeout_s,
        deadline=item.due,
        review=item.review,
        cancel=item.check == CANCELLED,
        done=item.check == DONE or (item.check != CANCELLED and entry.lane is Lane.DONE),
        repo=item.repo,
        base=item.base,
        kind=item.kind,
        labels=item.labels,
        acceptance=item.acceptance,
        origin=Origin.BACKLOG,
        where=f"{path}:{item.line}",
    )


def birth_id(title: str, heading: str, ordinal: int, namesakes: int, taken: Callable[[str], bool]) -> str:
    """Return the id of a new item: ``t-`` and base 32 of SHA-256 over title, heading, ordinal, namesakes (DECISIONS 8).

    ``title`` and ``heading`` are folded; ``ordinal`` counts equals in the file from 0; ``namesakes`` are the finished
    tasks of the same title there. The id grows by a character while it is ``taken``.
    """
    digest = hashlib.sha256(f"{title}\n{heading}\n{ordinal}\n{namesakes}".encode("utf-8", "surrogatepass")).digest()
    bits = int.from_bytes(digest)
    word = "".join(ALPHABET[bits >> (256 - 5 * (n + 1)) & 31] for n in range(51))
    length = BIRTH_CHARS
    while taken(f"t-{word[:length]}") and length < len(word):
        length += 1
    return f"t-{word[:length]}"


# --- one version against the one before it --------------------------------------------------------------------------


@dataclass(slots=True)
class _Match:
    """Pairs found so far: for each new item its old index, and which old entries are spoken for.

    The first ``standing`` old entries stood in the version before; the others are ``BacklogMap.gone``.
    """

    old: Sequence[MapEntry]
    standing: int
    new: Sequence[Item]
    titles: list[str]
    headings: list[str]
    of_new: list[int | None]
    taken: list[bool]

    def pair(self, new: int, old: int) -> None:
        self.of_new[new] = old
        self.taken[old] = True

    def removed(self) -> list[int]:
        return [index for index in range(self.standing) if not self.taken[index]]

    def added(self) -> list[int]:
        return [i for i, old in enumerate(self.of_new) if old is None and self.new[i].anchor is None]


def _step(known: BacklogMap, written: Sequence[Item], finished: AbstractSet[str], used: AbstractSet[str]) -> Carried:
    items, duplicates = _first_anchors(written)
    titles = [fold(item.title) for item in items]
    headings = [fold(item.heading) for item in items]
    old = (*known.entries, *(entry for entry in known.gone if entry.id not in finished))
    match = _Match(old, len(known.entries), items, titles, headings, [None] * len(items), [False] * len(old))
    _by_anchor(match)
    _by_title(match, finished)
    _put_back(match)
    ended = {entry.id for entry in known.entries if entry.id in finished or entry.check in (DONE, CANCELLED)}
    reworded = _by_hunk(match, ended)
    _by_similarity(match, ended)

    left = [entry for entry, taken in zip(old, match.taken, strict=True) if not taken]
    namesakes = Counter(known.finished)
    for entry in (*known.gone, *left):
        if entry.id in finished:
            namesakes.update(entry.keys)
    gone = tuple(entry for entry in left if entry.started and entry.id not in finished)
    ids = _ids(match, namesakes, finished, used)
    entries = tuple(_entry(match, index, ids[index]) for index in range(len(items)))
    renamed = tuple((known.entries[old].title, entries[new]) for new, old in reworded)
    counts = {key: count for key, count in sorted(namesakes.items()) if count}
    return Carried(BacklogMap(entries, gone, counts, known.blob), tuple(items), tuple(duplicates), renamed)


def _first_anchors(written: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Split off the items that repeat an anchor: the first one keeps it."""
    seen: set[str] = set()
    items, duplicates = [], []
    for item in written:
        if item.anchor is not None and item.anchor in seen:
            duplicates.append(item)
            continue
        if item.anchor is not None:
            seen.add(item.anchor)
        items.append(item)
    return items, duplicates


def _by_anchor(match: _Match) -> None:
    by_id = {entry.id: index for index, entry in enumerate(match.old)}
    for new, item in enumerate(match.new):
        if item.anchor is not None and (old := by_id.get(item.anchor)) is not None:
            match.pair(new, old)


def _by_title(match: _Match, finished: AbstractSet[str]) -> None:
    """Pair equal titles: those that are equal in more first, and among equals in the order of the file.

    When the lines of a title were moved, or became more or fewer, a finished task prefers the ticked one, under
    whatever heading: another one is a chore written again. When they are the same as before they are the same lines,
    and a mark only tells equals apart.
    """
    old = [(entry.title, entry.heading, entry.digest) for entry in match.old[: match.standing]]
    new = [(match.titles[i], match.headings[i], item.digest) for i, item in enumerate(match.new)]
    before, after = _by_first(old[index] for index in match.removed()), _by_first(new[index] for index in match.added())
    _finished_by_title(match, finished, {title for title, texts in before.items() if texts != after.get(title)})

    def rounds(text: tuple[str, str, str], full: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        title, heading, digest = text
        return full, text, (title, heading), (title, digest), (title,)

    of_old = [rounds(text, (*text, match.old[index].check or OPEN)) for index, text in enumerate(old)]
    of_new = [rounds(text, (*text, match.new[index].check or OPEN)) for index, text in enumerate(new)]
    for level in range(5):
        old_keys = {index: of_old[index][level] for index in match.removed()}
        _pair_equal(match, old_keys, {index: of_new[index][level] for index in match.added()})


def _finished_by_title(match: _Match, finished: AbstractSet[str], moved: AbstractSet[str]) -> None:
    """Pair finished tasks with the ticked lines of their title, where its lines were moved; a done lane is a tick."""

    def ticked(item: Item) -> bool:
        return item.check == DONE or item.lane is Lane.DONE

    def of_old(index: int) -> tuple[str, ...]:
        entry = match.old[index]
        return entry.title, entry.heading, entry.digest

    def of_new(index: int) -> tuple[str, ...]:
        return match.titles[index], match.headings[index], match.new[index].digest

    for parts in (3, 2, 1):
        old = [i for i in match.removed() if match.old[i].title in moved and match.old[i].id in finished]
        new = [i for i in match.added() if match.titles[i] in moved and ticked(match.new[i])]
        _pair_equal(match, {i: of_old(i)[:parts] for i in old}, {i: of_new(i)[:parts] for i in new})


def _by_first(texts: Iterable[tuple[str, ...]]) -> dict[str, Counter[tuple[str, ...]]]:
    counted: dict[str, Counter[tuple[str, ...]]] = {}
    for text in texts:
        counted.setdefault(text[0], Counter())[text] += 1
    return counted


def _pair_equal(match: _Match, old: dict[int, tuple[str, ...]], new: Mapping[int, tuple[str, ...]]) -> None:
    """Pair indices that have the same key, in the order of both."""
    waiting: dict[tuple[str, ...], list[int]] = {}
    for index, key in reversed(old.items()):
        waiting.setdefault(key, []).append(index)
    for index, key in new.items():
        if queue := waiting.get(key):
            match.pair(index, queue.pop())


def _put_back(match: _Match) -> None:
    """Pair what is left with tasks whose line was gone and that are not finished: the line was put back.

    First under the heading where it stood, then under any other: as when it is moved in one commit.
    """
    for parts in (2, 1):
        waiting: dict[tuple[str, ...], list[int]] = {}
        for index in range(len(match.old) - 1, match.standing - 1, -1):
            if not match.taken[index]:
                for key in dict.fromkeys(key[:parts] for key in match.old[index].keys):
                    waiting.setdefault(key, []).append(index)
        for new in match.added():
            queue = waiting.get((match.titles[new], match.headings[new])[:parts], [])
            while queue and match.of_new[new] is None:
                index = queue.pop()
                if not match.taken[index]:
                    match.pair(new, index)


def _by_hunk(match: _Match, ended: AbstractSet[str]) -> list[tuple[int, int]]:
    """Pair the one removed and the one added item between two neighbours that stayed, under one heading."""
    spine = _spine(match)
    removed: dict[tuple[int, str], list[int]] = {}
    added: dict[tuple[int, str], list[int]] = {}
    olds = [old for _, old in spine]
    news = [new for new, _ in spine]
    for old in match.removed():
        removed.setdefault((bisect_left(olds, old), match.old[old].heading), []).append(old)
    for new in match.added():
        added.setdefault((bisect_left(news, new), match.headings[new]), []).append(new)
    pairs = []
    for key, ones in added.items():
        others = removed.get(key, [])
        if len(ones) == 1 and len(others) == 1 and match.old[others[0]].id not in ended:
            pairs.append((ones[0], others[0]))
    for new, old in pairs:
        match.pair(new, old)
    return pairs


def _spine(match: _Match) -> list[tuple[int, int]]:
    """Return the longest run of (new, old) pairs that kept their order: what a diff would show as unchanged."""
    pairs = [(new, old) for new, old in enumerate(match.of_new) if old is not None and old < match.standing]
    return [pairs[position] for position in longest_rise([old for _, old in pairs])]


def _alike(one: str, other: str) -> bool:
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= SIMILARITY


def _by_similarity(match: _Match, ended: AbstractSet[str]) -> None:
    """Pair titles at least ``SIMILARITY`` alike where each is the only candidate of the other."""
    removed = [old for old in match.removed() if match.old[old].id not in ended]
    added = match.added()
    if len(removed) > SIMILAR_ITEMS or len(added) > SIMILAR_ITEMS:
        return
    candidates: list[tuple[int, int]] = []
    tries = 0
    for new in added:
        matcher = SequenceMatcher(None, "", match.titles[new], autojunk=False)
        for old in removed:
            matcher.set_seq1(match.old[old].title)
            if matcher.real_quick_ratio() < SIMILARITY or matcher.quick_ratio() < SIMILARITY:
                continue
            tries += 1
            if tries > SIMILAR_TRIES:
                return
            if matcher.ratio() >= SIMILARITY:
                candidates.append((new, old))
    of_new = Counter(new for new, _ in candidates)
    of_old = Counter(old for _, old in candidates)
    for new, old in candidates:
        if of_new[new] == 1 and of_old[old] == 1:
            match.pair(new, old)


def _ids(
    match: _Match, gone: Mapping[tuple[str, str], int], finished: AbstractSet[str], used: AbstractSet[str]
) -> list[str]:
    """Return the id of every item: the matched one's, the anchor, or a new one."""
    ids: list[str | None] = []
    for item, old in zip(match.new, match.of_new, strict=True):
        ids.append(item.anchor if item.anchor is not None else None if old is None else match.old[old].id)
    #: An id whose line is removed in this very version is as taken as one that still stands.
    standing = {one for one in ids if one is not None} | {entry.id for entry in match.old}
    namesakes = Counter(gone)
    for entry in (match.old[old] for old in match.of_new if old is not None):
        if entry.id in finished:
            namesakes.update(entry.keys)
    ordinals: Counter[tuple[str, str]] = Counter()
    result: list[str] = []
    for index, one in enumerate(ids):
        key = match.titles[index], match.headings[index]
        if one is None:
            one = birth_id(*key, ordinals[key], namesakes[key], lambda word: word in standing or word in used)
            standing.add(one)
        ordinals[key] += 1
        result.append(one)
    return result


def _entry(match: _Match, index: int, name: str) -> MapEntry:
    item, old_index = match.new[index], match.of_new[index]
    old = None if old_index is None else match.old[old_index]
    key = match.titles[index], match.headings[index]
    born = None if old is None else old.born or (old.title, old.heading)
    lane = item.lane
    if lane is Lane.IN_PROGRESS:
        lane = Lane.DRAFT if old is None else old.lane
    return MapEntry(
        id=name,
        title=key[0],
        heading=key[1],
        lane=lane,
        line=item.line,
        check=item.check,
        digest=item.digest,
        started=(old is not None and old.started) or (lane is Lane.READY and item.check in (NO_CHECK, OPEN)),
        born=None if born == key else born,
    )


def with_blob(known: BacklogMap, blob: str) -> BacklogMap:
    """Return the map as compiled from the version ``blob`` of BACKLOG.md."""
    return known if known.blob == blob else replace(known, blob=blob)
