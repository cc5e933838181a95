"""The office: one thread, one transaction for many, and what happens when the file is damaged, full or taken away."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coordinator.web.mail.database import MIGRATIONS, NAME
from coordinator.web.mail.letters import Channel, Draft, Unavailable
from coordinator.web.mail.office import Office

NOW = 1_800_000_000_000


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Office]:
    office = Office(folder, lambda: NOW)
    try:
        yield office
    finally:
        await office.close()


def set_aside_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.damaged-*"))


def send(office: Office, number: int, payload: object = "hello"):
    draft = Draft(f"{number:016x}", "ada", "gcu", "chat", payload, None, NOW)
    return office.ask(lambda store: store.send(draft, ("gcu",)).letter.seq)


def box(office: Office):
    return office.ask(lambda store: [letter.id for letter in store.mailbox("gcu", 0, NOW)])


async def test_what_gathers_shares_a_transaction_and_is_answered_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        answered: list[int] = []

        async def one(number: int) -> int:
            seq = await send(office, number)
            answered.append(number)
            return seq

        seqs = await asyncio.gather(*map(one, range(20)))
    assert answered == list(range(20))
    assert seqs == sorted(set(seqs))


async def test_what_was_answered_is_there_after_a_restart_and_numbers_rise(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        before = await send(office, 1)
    async with opened(tmp_path) as office:
        assert await box(office) == [f"{1:016x}"]
        assert await send(office, 2) > before


async def test_the_database_and_its_log_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "agentcom") as office:
        await send(office, 1)
        modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "agentcom").iterdir()}
    assert set(modes) >= {"mail.db", "mail.db-wal", "mail.high"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("damage", ["garbage", "half", "page"])
async def test_a_damaged_database_is_set_aside_loudly_and_a_new_one_begun(tmp_path: Path, damage: str, caplog) -> None:
    async with opened(tmp_path) as office:
        for number in range(50):
            before = await send(office, number, "x" * 2_000)
    file = tmp_path / NAME
    data = file.read_bytes()
    spoiled = {
        "garbage": b"no database",
        "half": data[: len(data) // 2 + 10],
        "page": data[:4096] + b"\xff" * 8192 + data[12288:],
    }[damage]
    file.write_bytes(spoiled)
    with caplog.at_level(logging.ERROR, "agentcom.mail"):
        async with opened(tmp_path) as office:
            assert await box(office) == []
            assert await send(office, 99) > before
            assert "set aside as mail.db.damaged-" in office.trouble
            assert await box(office) == [f"{99:016x}"]
    assert "damaged" in caplog.text
    assert (tmp_path / f"{NAME}.damaged-{NOW}").read_bytes() == spoiled


async def test_damage_that_is_met_while_the_hub_runs_costs_no_question(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        before = await send(office, 1)

        def broken(store):
            if not broken.met:
                broken.met = True
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            return "answered"

        broken.met = False
        assert await office.ask(broken) == "answered"
        assert await send(office, 2) > before
        assert "damaged" in office.trouble


async def test_a_full_disk_is_an_error_to_the_sender_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        await send(office, 1)
        await office.ask(lambda store: store._sql.execute("PRAGMA max_page_count = 1").fetchall())
        outcomes = await asyncio.gather(
            send(office, 2, "x" * 50_000), box(office), send(office, 3, "x" * 50_000), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [Unavailable, list, Unavailable]
        assert "full" in office.trouble
        await office.ask(lambda store: store._sql.execute("PRAGMA max_page_count = 100000").fetchall())
        await send(office, 4)
        assert await box(office) == [f"{1:016x}", f"{4:016x}"]
        assert office.trouble == ""


async def test_one_question_that_fails_spoils_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:

        def wrong(store):
            store.create(Channel("half", "", NOW, "ada", ()))
            raise KeyError("a bug")

        outcomes = await asyncio.gather(send(office, 1), office.ask(wrong), send(office, 2), return_exceptions=True)
        assert isinstance(outcomes[1], KeyError)
        assert outcomes[0] < outcomes[2]
        assert await box(office) == [f"{1:016x}", f"{2:016x}"]
        assert await office.ask(lambda store: store.channels()) == []


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("no folder", encoding="ascii")
    async with opened(folder) as office:
        with pytest.raises(Unavailable):
            await send(office, 1)
        folder.unlink()
        assert await send(office, 1) >= NOW


async def test_a_database_that_is_deleted_under_the_hub_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        before = await send(office, 1)
        (tmp_path / NAME).unlink()
        assert await send(office, 2) > before
    async with opened(tmp_path) as office:
        assert await box(office) == [f"{2:016x}"]


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    sql = sqlite3.connect(tmp_path / NAME)
    sql.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    sql.commit()
    sql.close()
    async with opened(tmp_path) as office:
        with pytest.raises(Unavailable, match="newer AgentCom"):
            await send(office, 1)
    assert not set_aside_in(tmp_path)


async def test_more_than_can_be_kept_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.web.mail.office.MOST_WAITING", 3)
    async with opened(tmp_path) as office:
        outcomes = await asyncio.gather(*(send(office, number) for number in range(5)), return_exceptions=True)
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, False, False, True, True]
