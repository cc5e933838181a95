"""POST /hooks/git: who may say "look now", and that a flood of it is one look a second."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.doors import Door, open_door, read_answer

from coordinator.web import hooks, limits
from coordinator.web.hooks import HOOK_BYTES, PushHooks

SECRET = "It's a Secret to Everybody"
#: The example of GitHub's own documentation.
GITHUB = "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
BODY = b"Hello, World!"


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Looks:
    """Counts looks; the first ones stand until ``gate`` is open."""

    def __init__(self) -> None:
        self.taken = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.news = asyncio.Event()

    async def look(self) -> None:
        self.taken += 1
        self.news.set()
        await self.gate.wait()

    async def until(self, number: int) -> None:
        async with asyncio.timeout(20):
            while self.taken < number:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def hooked(secret: str | None = SECRET) -> AsyncIterator[tuple[Door, Looks]]:
    looks = Looks()
    hook = PushHooks(lambda: secret, looks.look)
    async with open_door(hook=hook) as door:
        yield door, looks
    hook.stop()


@pytest.mark.parametrize(
    "header",
    [
        GITHUB,
        f"X-Gitea-Signature: {signature(BODY)}",
        f"X-Forgejo-Signature: {signature(BODY)}",
        f"X-Gitlab-Token: {SECRET}",
    ],
)
async def test_every_forge_can_make_the_hub_look(header: str) -> None:
    async with hooked() as (door, looks):
        answer = await door.ask("POST /hooks/git", BODY, header, "Content-Type: application/json")
        assert (answer.status, answer.json) == (202, {"status": "looking"})
        await looks.until(1)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["X-Hub-Signature-256: "],
        ["X-Hub-Signature-256: sha256="],
        [f"X-Hub-Signature-256: {signature(BODY)}"],
        [f"X-Hub-Signature-256: sha256={signature(BODY, 'another')}"],
        [f"X-Hub-Signature: sha1={signature(BODY)}"],
        [f"X-Gitea-Signature: {signature(b'another body')}"],
        ["X-Gitlab-Token: \xff"],
        ["X-Gitlab-Token: It's a Secret"],
        ["Authorization: Bearer ac_admin"],
    ],
)
async def test_nobody_else_can(headers: list[str]) -> None:
    async with hooked() as (door, looks):
        answer = await door.ask("POST /hooks/git", BODY, *headers)
        assert (answer.status, answer.json["error"]) == (401, "unauthorized")
        assert looks.taken == 0


async def test_without_a_secret_there_is_no_such_route_and_the_log_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hooked(None) as (door, looks):
        for _ in range(5):
            assert (await door.ask("POST /hooks/git", BODY, GITHUB)).status == 404
        assert looks.taken == 0
    assert caplog.text.count("agentcom hook secret") == 1


async def test_only_post_is_a_hook() -> None:
    async with hooked() as (door, _):
        answer = await door.ask("GET /hooks/git")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_flood_is_one_look_at_a_time_with_a_pause_between(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    go_on = asyncio.Event()
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds != hooks.PAUSE:
            await real(seconds)
            return
        pauses.append(seconds)
        await go_on.wait()

    monkeypatch.setattr(hooks.asyncio, "sleep", sleep)
    async with hooked() as (door, looks):
        looks.gate.clear()
        for _ in range(50):
            assert (await door.ask("POST /hooks/git", BODY, GITHUB)).status == 202
        assert looks.taken == 1
        looks.gate.set()
        go_on.set()
        await looks.until(2)
        async with asyncio.timeout(20):
            while len(pauses) < 2:
                await real(0.01)
        assert looks.taken == 2


async def test_who_guesses_on_and_on_is_told_to_wait_and_a_right_one_still_rings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "WRONG_AT_ONCE", 3)
    async with hooked() as (door, looks):
        for number in range(5):
            wrong = f"X-Gitlab-Token: wrong {number}"
            answer = await door.ask("POST /hooks/git", BODY, wrong)
            assert (answer.status, answer.json["error"]) == (
                (401, "unauthorized") if number < 3 else (429, "rate_limited")
            )
        assert int(answer.headers["retry-after"]) >= 1
        assert (await door.ask("POST /hooks/git", BODY, GITHUB)).status == 202
        await looks.until(1)


async def test_a_look_that_fails_does_not_end_looking(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks()

    async def fail() -> None:
        await looks.look()
        raise RuntimeError("no")

    hook = PushHooks(lambda: SECRET, fail)
    async with open_door(hook=hook) as door:
        for number in (1, 2):
            assert (await door.ask("POST /hooks/git", BODY, GITHUB)).status == 202
            await looks.until(number)
    hook.stop()
    assert "asked for failed" in caplog.text


async def test_large_bodies_are_signed_too_and_larger_ones_refused() -> None:
    body = b"x" * (2 * 1024 * 1024)
    async with hooked() as (door, looks):
        assert (await door.ask("POST /hooks/git", body, f"X-Gitea-Signature: {signature(body)}")).status == 202
        await looks.until(1)
        reader, writer = await door.open()
        head = f"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\n{GITHUB}\r\nContent-Length: {HOOK_BYTES + 1}\r\n\r\n"
        writer.write(head.encode())
        assert (await read_answer(reader)).status == 413
        writer.close()
