"""Who calls from where: which names a hub answers to, which pages may speak with it, and whose address counts.

A page anywhere can make a browser speak with this machine, and by a name of its own that leads here even read the
answers (DNS rebinding). So a request that comes in over loopback must name this machine or a name that the hub was
given, and what changes anything, and every WebSocket, must not come from a page of somebody else. Who is no browser
says no ``Origin``. Pure.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from coordinator.web.answers import Scope

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: Methods that change nothing; a page of somebody else cannot read what they answer.
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests in by the names in them. ``public`` is the address by which others reach the hub, if it has one."""

    public: str | None = None

    def objection(self, scope: Scope) -> str | None:
        """Return why a request must not be answered, as a hint for its sender; None when it may."""
        host = header(scope, b"host")
        if host is not None and not self._is_ours(host, scope):
            return "this name is none of the hub's: speak with it by its address, or start it with --public-url URL"
        origin = header(scope, b"origin")
        if origin is None or (scope["type"] == "http" and scope["method"] in _HARMLESS):
            return None
        if self._same(origin, host or ""):
            return None
        return "this page is none of the hub's, and may not speak with it"

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name = _split(f"//{host}").hostname or ""
        if is_loopback(name) or (self.public is not None and name == _split(self.public).hostname):
            return True
        if is_loopback(str((scope.get("server") or ("",))[0])):
            return False
        return self.public is None or _address(name) is not None

    def _same(self, origin: str, host: str) -> bool:
        page = _split(origin)
        if page.scheme not in ("http", "https") or not page.hostname:
            return False
        ours = [f"{page.scheme}://{host}", *([self.public] if self.public else ())]
        return any(_place(page) == _place(_split(one)) for one in ours)


def address(scope: Scope) -> str:
    """Return where a request comes from, "" when that is not known."""
    return str((scope.get("client") or ("",))[0])


def behind_proxy(scope: Scope) -> Scope:
    """Return the scope of a request that a proxy hands on: the client is whom the proxy itself has seen."""
    said = header(scope, b"x-forwarded-for", last=True) or ""
    last = said.rpartition(",")[2].strip()
    for candidate in (last, _split(f"//{last}").hostname or ""):  # some proxies add the port
        if _address(candidate) is not None:
            return {**scope, "client": (candidate, 0)}
    return scope


def header(scope: Scope, name: bytes, *, last: bool = False) -> str | None:
    """Return the first (or last) header of that lower-case name, None when there is none."""
    found: Iterable[bytes] = [value for key, value in scope.get("headers", ()) if key.lower() == name]
    values = list(found)
    return values[-1 if last else 0].decode("latin-1").strip() if values else None


def is_loopback(host: str) -> bool:
    """Tell whether a name or address means this machine alone."""
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _place(url: SplitResult) -> tuple[str, int | None]:
    return (url.hostname or "").rstrip("."), url.port or _DEFAULT_PORTS.get(url.scheme)
