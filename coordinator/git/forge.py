"""Forges over HTTP: which project an address means, whether an API may be given a token, and one question to it.

What the answers mean is not known here. A token goes to one address alone: no redirect is followed, and a plain
connection, which is for this machine only, goes through no proxy.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

#: The API of github.com.
GITHUB_API = "https://api.github.com"
#: The longest answer that is read, in bytes.
MOST_BYTES = 16 * 1024 * 1024
_SCP = re.compile(r"(?:[^@/:]+@)?([^/:]+):(.+)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NoAnswer(Exception):
    """The forge does not answer now; the text says why. Trying again may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``body`` is what its JSON says, None when it is none; names of ``headers`` are lower case."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def limited(self) -> bool:
        """Whether the forge wants to be asked less."""
        if self.status == 429:
            return True
        spent = self.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in self.headers
        return self.status == 403 and (spent or "rate limit" in self.said.lower())

    @property
    def said(self) -> str:
        """What the forge says of a failure, in one line."""
        raw = self.body if isinstance(self.body, dict) else {}
        errors = raw.get("errors")
        more = [one.get("message") for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
        parts = [str(part) for part in (raw.get("message"), *more) if part]
        return " ".join("; ".join(parts).split()) or f"status {self.status}"


def place_of(url: str) -> tuple[str, str]:
    """Return (host, OWNER/NAME) of a remote's address, ("", "") when it is a path of this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "http", "ssh", "git"):
        host, path = parts.hostname or "", parts.path
    elif not parts.scheme and (match := _SCP.fullmatch(url)):
        host, path = match[1], match[2]
    else:
        return "", ""
    return host, "/".join(path.strip("/").removesuffix(".git").split("/")[-2:])


def objection(api: str) -> str | None:
    """Return why no token is sent to this address, None when one may be."""
    try:
        parts = urlsplit(api)
        host = parts.hostname
    except ValueError:
        return "that is no address"
    if host and not parts.username and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        return None
    return "write https://..., a token is sent there"


def ask(
    api: str, token: str, method: str, path: str, body: Any = None, *, agent: str, timeout: float, etag: str = ""
) -> Answer:
    """Ask once; ``etag`` is that of an answer one has, which is confirmed with 304. Raises NoAnswer.

    ``timeout`` is in seconds. ``api`` has been judged by ``objection``.
    """
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any) -> None:
            return None

    plain = (urllib.request.ProxyHandler({}),) if api.startswith("http:") else ()
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "Content-Type": "application/json",
        "User-Agent": agent,
        **({"If-None-Match": etag} if etag else {}),
    }
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(api.rstrip("/") + path, method=method, data=data, headers=headers)  # noqa: S310
        with urllib.request.build_opener(NoRedirect(), *plain).open(request, timeout=timeout) as response:
            return Answer(response.status, read_json(response.read(MOST_BYTES)), _lower(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, read_json(error.read(MOST_BYTES)), _lower(error.headers))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(error.reason if isinstance(error, urllib.error.URLError) else error).replace(token, "(token)")
        raise NoAnswer(f"the forge at {api} does not answer: {reason}") from None


def read_json(data: bytes) -> Any:
    """Return what a JSON text says, None when it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}
