"""What is kept of mail, against a model in memory: any order of sending, acking, waiting, restarting, putting back."""

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordinator.web.mail import store as keeping
from coordinator.web.mail.database import MARK, NAME, Database
from coordinator.web.mail.letters import Channel, Declined, Draft, Wanted, channel_name, kept_json
from coordinator.web.mail.store import MAILBOX_LETTERS, MAILBOX_TTL_MS, Store

NOW = 1_800_000_000_000
AGENTS = ("ada", "gcu", "loash")
agents = st.sampled_from(AGENTS)


@dataclass(frozen=True)
class Kept:
    """What the model believes; ``boxes`` hold (seq, id, at), ``channels`` the numbers and senders of their posts."""

    boxes: dict[str, tuple[tuple[int, str, int], ...]] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    posts: tuple[str, ...] = ()
    subscribers: frozenset[str] = frozenset()
    ttl: int = MAILBOX_TTL_MS

    def delivered(self, readers, letter, root: str | None = None) -> "Kept":
        boxes = dict(self.boxes)
        for reader in readers:
            boxes[reader] = (*boxes.get(reader, ()), (letter.seq, letter.id, letter.at))[-MAILBOX_LETTERS:]
        return replace(self, boxes=boxes, roots={**self.roots, letter.id: root or letter.id})

    def without_what_is_older(self, than: int) -> "Kept":
        living = {agent: tuple(one for one in box if one[2] >= than) for agent, box in self.boxes.items()}
        return replace(self, boxes=living)


class Mail(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mail-"))
        self.now = NOW
        self.given: list[int] = []
        self.acked: set[tuple[str, int]] = set()
        self.count = 0
        self.kept = Kept()
        self.backup: Kept | None = None
        self._open()
        self.store.create(Channel("ops", "", self.now, "ada", ()))

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    def _open(self) -> None:
        self.database = Database(self.folder / "data", self.now)
        self.store = Store(self.database)

    def _draft(self, sender: str, to: str | None, reply_to: str | None = None) -> Draft:
        self.count += 1
        return Draft(f"{self.count:016x}", sender, to, "chat", {"n": self.count}, reply_to, self.now)

    def _right_time(self) -> int:
        """Return a time after all that was: only the clock is left to go by when everything else is old or gone."""
        return max([self.now, *self.given]) + 60_000

    def _took(self, sent) -> None:
        assert not self.given or sent.letter.seq > max(self.given), "a number came twice"
        self.given.append(sent.letter.seq)

    @rule(sender=agents, to=agents, times=st.sampled_from([1, 1, 1, 60]))
    def to_one(self, sender: str, to: str, times: int) -> None:
        for _ in range(times):
            sent = self.store.send(self._draft(sender, to), (to,))
            self._took(sent)
            self.kept = self.kept.delivered((to,), sent.letter)

    @rule(sender=agents)
    def to_all(self, sender: str) -> None:
        readers = tuple(agent for agent in AGENTS if agent != sender)
        sent = self.store.send(self._draft(sender, None), readers)
        self._took(sent)
        self.kept = self.kept.delivered(readers, sent.letter)

    @rule(sender=agents, data=st.data())
    def reply(self, sender: str, data) -> None:
        """A thread begins at its first message, or where that is not kept any more at the first that is answered."""
        to = data.draw(st.sampled_from(sorted(self.kept.roots) or ["nobody-knows"]))
        there = to in {letter.id for letter in self.store.messages(Wanted(limit=10_000))[0]}
        sent = self.store.send(self._draft(sender, "gcu", to), ("gcu",))
        self._took(sent)
        self.kept = self.kept.delivered(("gcu",), sent.letter, self.kept.roots[to] if there else to)

    @rule(sender=agents)
    def post(self, sender: str) -> None:
        sent = self.store.publish(self._draft(sender, None), "ops")
        self._took(sent)
        assert sent.letter.channel_seq == len(self.kept.posts) + 1
        readers = sorted(self.kept.subscribers - {sender})
        assert list(sent.readers) == readers
        self.kept = replace(self.kept.delivered(readers, sent.letter), posts=(*self.kept.posts, sent.letter.id))

    @rule(agent=agents)
    def subscribe(self, agent: str) -> None:
        assert self.store.subscribe("ops", agent, self.now) == (agent not in self.kept.subscribers)
        self.kept = replace(self.kept, subscribers=self.kept.subscribers | {agent})

    @rule(agent=agents)
    def unsubscribe(self, agent: str) -> None:
        self.store.unsubscribe("ops", agent)
        self.kept = replace(self.kept, subscribers=self.kept.subscribers - {agent})

    @rule(agent=agents, share=st.floats(0, 1))
    def ack(self, agent: str, share: float) -> None:
        box = self.kept.boxes.get(agent, ())
        up_to = box[int(share * (len(box) - 1))][0] if box else 5
        self.store.ack(agent, up_to)
        self.acked |= {(agent, seq) for seq, _, _ in box if seq <= up_to}
        left = tuple(entry for entry in box if entry[0] > up_to)
        self.kept = replace(self.kept, boxes={**self.kept.boxes, agent: left})

    @rule(ms=st.sampled_from([1, 60_000, 3_600_000, MAILBOX_TTL_MS]))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule(ttl=st.sampled_from([1_000, 3_600_000, MAILBOX_TTL_MS]))
    def configure(self, ttl: int) -> None:
        assert self.store.set_ttl_ms(ttl, self.now) == ttl
        self.kept = replace(self.kept.without_what_is_older(self.now - min(ttl, self.kept.ttl)), ttl=ttl)

    @rule()
    def restart(self) -> None:
        self.database.close()
        self._open()

    @rule()
    def save_a_copy(self) -> None:
        self.configure(self.kept.ttl)
        self.database.close()
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.folder / "data", self.folder / "copy")
        self.backup = self.kept
        self.acked.clear()
        self._open()

    @precondition(lambda self: self.backup is not None)
    @rule(all_of_it=st.booleans(), behind=st.sampled_from([0, 3_600_000]))
    def put_an_older_copy_back(self, all_of_it: bool, behind: int) -> None:
        """The whole folder, or only the database: then even with a clock that was set back."""
        self.database.close()
        for name in (NAME, MARK) if all_of_it else (NAME,):
            copied = self.folder / "copy" / name
            if copied.exists():
                shutil.copy(copied, self.folder / "data" / name)
            else:
                (self.folder / "data" / name).unlink(missing_ok=True)
        self.now = self._right_time() if all_of_it else self.now - behind
        self.kept = self.backup
        self.acked.clear()
        self._open()

    @precondition(lambda self: self.given)
    @rule(all_of_it=st.booleans())
    def lose_everything(self, all_of_it: bool) -> None:
        self.database.close()
        for name in (NAME, MARK) if all_of_it else (NAME,):
            (self.folder / "data" / name).unlink(missing_ok=True)
        self.now = self._right_time() if all_of_it else self.now
        self.kept = Kept()
        self._open()
        self.store.create(Channel("ops", "", self.now, "ada", ()))

    @invariant()
    def mailboxes_hold_what_the_model_holds(self) -> None:
        for agent in AGENTS:
            box = [e for e in self.kept.boxes.get(agent, ()) if e[2] >= self.now - self.kept.ttl]
            found = self.store.mailbox(agent, 0, self.now)
            assert [(letter.seq, letter.id, letter.at) for letter in found] == box
            assert not {(agent, letter.seq) for letter in found} & self.acked, "an acked letter came back"
            if box:
                assert [letter.seq for letter in self.store.mailbox(agent, box[0][0], self.now)] == [
                    seq for seq, _, _ in box[1:]
                ]

    @invariant()
    def threads_and_channels_too(self) -> None:
        assert [letter.id for letter in self.store.history("ops", 0, 1_000)] == list(self.kept.posts)
        assert self.store.channel("ops").subscribers == tuple(sorted(self.kept.subscribers))
        for letter in self.store.messages(Wanted(limit=200))[0]:
            assert self.store.root(letter.id) == self.kept.roots[letter.id]
            assert letter.id in {one.id for one in self.store.thread(letter.id)[1]}


Mail.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestMail = Mail.TestCase


@pytest.fixture
def store(tmp_path: Path):
    database = Database(tmp_path, NOW)
    yield Store(database)
    database.close()


def draft(number: int, sender: str = "ada", to: str | None = "gcu", at: int = NOW, **more) -> Draft:
    return replace(Draft(f"{number:016x}", sender, to, "chat", {"n": number}, None, at), **more)


def test_a_draft_that_is_sent_twice_is_one_letter(store: Store) -> None:
    first = store.send(draft(1), ("gcu",))
    second = store.send(draft(1), ("gcu",))
    assert (second.again, second.letter, second.readers) == (True, first.letter, ())
    assert len(store.mailbox("gcu", 0, NOW)) == 1


def test_a_post_names_its_channel_in_the_copy_of_a_mailbox_and_not_in_the_history(store: Store) -> None:
    store.create(Channel("ops", "", NOW, "ada", ()))
    store.subscribe("ops", "gcu", NOW)
    store.publish(draft(1, to=None), "ops")
    store.publish(draft(2, to=None, payload="just words"), "ops")
    copies = [kept_json(letter)["payload"] for letter in store.mailbox("gcu", 0, NOW)]
    assert copies == [{"n": 1, "channel": "ops"}, {"payload": "just words", "channel": "ops"}]
    assert [letter.payload for letter in store.history("ops", 0, 50)] == [{"n": 1}, "just words"]


def test_an_agent_sees_its_own_mail_and_what_everybody_may_read_and_nothing_else(store: Store) -> None:
    store.create(Channel("ops", "", NOW, "ada", ()))
    store.send(draft(1), ("gcu",))
    store.send(draft(2, to=None), ("gcu", "loash"))
    store.publish(draft(3, to=None), "ops")
    store.send(draft(4, sender="gcu", to="loash", reply_to=f"{1:016x}"), ("loash",))

    def seen(eyes: str | None) -> list[int]:
        return [letter.payload["n"] for letter in store.messages(Wanted(eyes=eyes))[0]]

    assert (seen(None), seen("ada"), seen("loash")) == ([1, 2, 3, 4], [1, 2, 3], [2, 3, 4])
    assert [letter.payload["n"] for letter in store.thread(f"{1:016x}", "ada")[1]] == [1]
    assert [letter.payload["n"] for letter in store.replies(f"{1:016x}", "ada")] == []
    assert [letter.payload["n"] for letter in store.replies(f"{1:016x}")] == [4]


def test_messages_are_found_by_each_filter_page_by_page(store: Store) -> None:
    store.create(Channel("ops", "", NOW, "ada", ()))
    for number in range(5):
        store.send(draft(number, to="gcu" if number % 2 else None, at=NOW + number), ())
    store.publish(draft(9, to=None, sender="gcu", at=NOW + 9), "ops")

    def found(**wanted) -> list[int]:
        return [letter.payload["n"] for letter in store.messages(Wanted(**wanted))[0]]

    assert found(to="gcu") == [1, 3]
    assert found(to="broadcast") == [0, 2, 4]
    assert found(sender="gcu") == found(channel="ops") == [9]
    assert found(start=NOW + 1, end=NOW + 3) == [1, 2, 3]
    page, cursor = store.messages(Wanted(limit=4))
    assert [letter.payload["n"] for letter in page] == [0, 1, 2, 3]
    rest, end = store.messages(Wanted(limit=4, cursor=cursor))
    assert ([letter.payload["n"] for letter in rest], end) == ([4, 9], None)


def test_an_answer_ends_where_it_would_grow_too_large_and_goes_on_from_there(store: Store) -> None:
    large = {"text": "x" * (keeping.ANSWER_BYTES * 2 // 3)}
    for number in range(3):
        store.send(draft(number, payload=large), ("gcu",))
    first = store.mailbox("gcu", 0, NOW)
    second = store.mailbox("gcu", first[-1].seq, NOW)
    assert [len(first), len(second)] == [1, 1]
    assert store.messages(Wanted())[1] == first[0].seq


def test_old_messages_go_except_what_lies_in_a_mailbox_and_the_last_posts(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(keeping, "CHANNEL_POSTS", 2)
    store.create(Channel("ops", "", NOW, "ada", ()))
    store.send(draft(0), ("gcu",))
    for number in range(1, 5):
        store.publish(draft(number, to=None), "ops")
    store.send(draft(5), ("gcu",))
    store.ack("gcu", store.mailbox("gcu", 0, NOW)[0].seq)
    later = NOW + keeping.ARCHIVE_MS
    store.send(draft(6, at=later), ("gcu",))
    assert [letter.payload["n"] for letter in store.messages(Wanted())[0]] == [0, 1, 2, 3, 4, 5, 6]
    store.sweep(later + keeping.SWEEP_EVERY_MS)
    assert [letter.payload["n"] for letter in store.messages(Wanted())[0]] == [3, 4, 6]
    assert [letter.channel_seq for letter in store.history("ops", 0, 50)] == [3, 4]


def test_what_lies_in_no_mailbox_may_not_fill_the_disk(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(keeping, "ARCHIVE_BYTES", 25)
    for number in range(6):
        store.send(draft(number), ("gcu",) if number == 0 else ())
    store.sweep(NOW + keeping.SWEEP_EVERY_MS)
    assert [letter.payload["n"] for letter in store.messages(Wanted())[0]] == [0, 3, 4, 5]


def test_what_passed_is_counted_by_agent_and_minute(store: Store) -> None:
    store.send(draft(1, to=None), ("gcu", "loash"))
    store.send(draft(2, at=NOW + 60_000), ("gcu",))
    counted = [(v.minute, v.agent, v.sent, v.received) for v in store.volume(NOW)]
    assert counted == [
        (NOW, "ada", 1, 0),
        (NOW, "gcu", 0, 1),
        (NOW, "loash", 0, 1),
        (NOW + 60_000, "ada", 1, 0),
        (NOW + 60_000, "gcu", 0, 1),
    ]


def test_a_channel_is_made_once_and_must_be_there(store: Store) -> None:
    store.create(Channel("ops", "", NOW, "ada", ()))
    with pytest.raises(Declined, match="channel_exists"):
        store.create(Channel("ops", "", NOW, "gcu", ()))
    for ask in (
        lambda: store.publish(draft(1), "no"),
        lambda: store.subscribe("no", "a", NOW),
        lambda: store.history("no", 0, 1),
    ):
        with pytest.raises(Declined, match="channel_not_found"):
            ask()


@pytest.mark.parametrize(
    ("said", "name"),
    [("#Ops", "ops"), ("ops-2_x", "ops-2_x"), ("##a", "a"), ("", None), ("#", None), ("a b", None), ("é", None)],
)
def test_a_channel_is_spelled_in_one_way(said: str, name: str | None) -> None:
    assert channel_name(said) == name
