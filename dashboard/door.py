"""Who may look: on loopback everybody, elsewhere whoever shows a token, or the key of a read-only link. Pure.

A key is good for looking at these pages and for nothing else: it is made of an end and a keyed hash of it, by the admin
token, so that nothing need be kept for it, and a new admin token ends all of them. A request that came through a name
that is not this machine's is never taken for local: else any web site could send a browser here by its own name.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass

COOKIE = "agentcom_dashboard"
#: Where the cookie is good.
PATH = "/dashboard"
#: How long a link is good unless told otherwise.
DAYS = 30
DAY_MS = 24 * 3600 * 1000
#: Headers of a request that was handed on.
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
_NAMES_HERE = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of who asks: the address of its peer, and its headers; None where there is none.

    ``forwarded``: somebody handed it on, so that its peer is not who asks.
    """

    address: str | None
    host: str | None
    cookie: str | None = None
    forwarded: bool = False


def make_key(admin_token: str, until_ms: int) -> str:
    """Return a key that opens the pages until then."""
    return f"{until_ms // 1000}.{_sign(admin_token, until_ms // 1000)}"


def opens(admin_token: str, key: str, now_ms: int) -> bool:
    """Tell whether a key opens the pages now."""
    until, _, sign = key.partition(".")
    if not (until.isascii() and until.isdecimal() and len(until) < 15):
        return False
    good = hmac.compare_digest(_sign(admin_token, int(until)).encode(), sign.encode(errors="replace"))
    return good and int(until) * 1000 > now_ms


def is_local(caller: Caller) -> bool:
    """Tell whether somebody on this machine asks, by one of its own names."""
    if caller.forwarded:
        return False
    try:
        here = caller.address is not None and ipaddress.ip_address(caller.address.partition("%")[0]).is_loopback
    except ValueError:
        return False
    name, _, port = (caller.host or "").strip().lower().rpartition(":")
    return here and (name if name and port.isdecimal() else (caller.host or "").strip().lower()) in _NAMES_HERE


def _sign(admin_token: str, until_s: int) -> str:
    return hmac.new(admin_token.encode(), b"agentcom dashboard %d" % until_s, hashlib.sha256).hexdigest()
