"""Push hooks of forges: ``POST /hooks/git`` means "look now", and nothing else that it says is believed (PROTOCOL 2).

GitHub, Gitea and Forgejo sign the body with a secret, GitLab shows the secret itself. The body is not read for what it
says, only for its signature, and not kept: it may be large. However many come, one look at a time is taken, and no
sooner than ``PAUSE`` after the one before. What a look is, is the hub's business.
"""

import asyncio
import hashlib
import hmac
import logging
import math
from collections.abc import Awaitable, Callable

from coordinator.web.answers import Receive, Scope, Transmit, say_json
from coordinator.web.auth import digest
from coordinator.web.callers import address, header
from coordinator.web.intake import BODY_WITHIN, Gone, Turned, announced_bytes, parts_of, turn_away
from coordinator.web.limits import Failures

_log = logging.getLogger("agentcom.hooks")

#: Largest body, in bytes: GitHub's are at most 25 MB.
HOOK_BYTES = 25 * 1024 * 1024
#: Between two looks, in seconds.
PAUSE = 1.0
#: One line in the log about hooks that open nothing, in so many seconds.
SAID_EVERY = 60.0
#: Headers with an HMAC-SHA256 of the body in hex, and what stands before it.
_SIGNED = ((b"x-hub-signature-256", "sha256="), (b"x-gitea-signature", ""), (b"x-forgejo-signature", ""))
_SHOWN = b"x-gitlab-token"
_NO_SECRET = "a push hook came and no secret is set, so it was refused: `agentcom hook secret` makes one"  # noqa: S105
_WRONG = "a push hook came with a wrong secret or signature, and was refused: `agentcom hook secret` shows ours"


class PushHooks:
    """Answers push hooks; ``secret`` is asked for each of them, ``look`` is called for those that know it."""

    def __init__(self, secret: Callable[[], str | None], look: Callable[[], Awaitable[None]]) -> None:
        self._secret = secret
        self._look = look
        self._again = False
        self._looking: asyncio.Task[None] | None = None
        self._wrong = Failures()
        self._said_at: dict[str, float] = {}

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Answer one hook."""
        if scope["method"] != "POST":
            await say_json(transmit, 405, {"error": "method_not_allowed"}, [(b"allow", b"POST")])
            return
        secret = self._secret()
        try:
            if secret is None:
                self._say(_NO_SECRET)
                raise Turned(404, "not_found", "no secret for push hooks is set here")
            if not await _proven(scope, receive, secret.encode()):
                self._say(_WRONG)
                wait = self._wrong.over(address(scope), _tried(scope), asyncio.get_running_loop().time())
                if wait:
                    raise Turned(429, "rate_limited", "too many wrong signatures", math.ceil(wait))
                raise Turned(401, "unauthorized", "sign the body with the hub's secret for push hooks")
        except Turned as turned:
            await turn_away(turned, receive, transmit)
            return
        except Gone:
            return
        self._ring()
        await say_json(transmit, 202, {"status": "looking"})

    def stop(self) -> None:
        """Take no look any more."""
        if self._looking is not None:
            self._looking.cancel()

    def _ring(self) -> None:
        self._again = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking(), name="push hook")

    async def _keep_looking(self) -> None:
        while self._again:
            self._again = False
            try:
                await self._look()
            except Exception:
                _log.exception("a look that a push hook asked for failed; the hub looks by itself soon")
            await asyncio.sleep(PAUSE)

    def _say(self, line: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at.get(line, -SAID_EVERY) >= SAID_EVERY:
            self._said_at[line] = now
            _log.warning("%s", line)


def _tried(scope: Scope) -> str:
    """Return the stored form of what was shown as proof."""
    return digest("\n".join(header(scope, name) or "" for name in (_SHOWN, *(name for name, _ in _SIGNED))))


async def _proven(scope: Scope, receive: Receive, secret: bytes) -> bool:
    """Tell whether a request knows the secret, in a time that does not depend on how far it is off.

    Its body is read and thrown away. Raises Turned when it is too large or too slow, Gone.
    """
    shown = header(scope, _SHOWN)
    signed = [(header(scope, name), before) for name, before in _SIGNED]
    if shown is None and not any(said for said, _ in signed):
        raise Turned(401, "unauthorized", "no signature: set the hub's secret for push hooks at the forge")
    announced = announced_bytes(scope)
    if announced is not None and announced > HOOK_BYTES:
        raise Turned(413, "request_entity_too_large", f"at most {HOOK_BYTES:,} bytes are read")
    mac = hmac.new(secret, digestmod=hashlib.sha256)
    async for part in parts_of(receive, HOOK_BYTES, BODY_WITHIN):
        mac.update(part)
    good = shown is not None and hmac.compare_digest(shown.encode("latin-1"), secret)
    for said, before in signed:
        good |= said is not None and hmac.compare_digest(said.encode("latin-1"), f"{before}{mac.hexdigest()}".encode())
    return good
