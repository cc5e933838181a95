"""How a hub may be reached: where it listens, with which certificate, under which name.

Tokens cross the wire, so a hub listens on this machine alone unless it is told how they are kept from others on the
way. This module decides that, and refuses the rest before anything is changed. It opens no socket.
"""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from coordinator.trail import CannotStart
from coordinator.web.callers import is_loopback

_log = logging.getLogger("agentcom.hub")

EXIT_USAGE, EXIT_CONFIG = 64, 78
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what others wrote, not where we bind


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: ``cert`` with its chain, and its key."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how. ``behind_proxy``: a proxy ends TLS and says whom it speaks for; ``plain``: tokens may be seen.

    ``public_url`` is the address by which others reach the hub, where that is another one.
    """

    host: str = "127.0.0.1"
    port: int = 4000
    tls: Tls | None = None
    behind_proxy: bool = False
    plain: bool = False
    public_url: str | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"

    def url(self, port: int) -> str:
        """Return the address by which commands of this machine reach the hub at the port that it got."""
        host = _ANYWHERE.get(self.host, self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def known_by(self) -> dict[str, str]:
        """Return what commands of this machine must know besides the address (hub.json)."""
        said = {} if self.tls is None else {"tls_cert": str(self.tls.cert)}
        return said if self.public_url is None else {**said, "public_url": self.public_url.rstrip("/")}


class Certificate:
    """What a hub shows when it is called, renewed while it runs: whoever calls after that gets the new one."""

    def __init__(self, tls: Tls) -> None:
        """Read the files. Raises CannotStart, in one line."""
        self.tls = tls
        self.context = _context()
        self._seen = _stamps(tls)
        _load(self.context, tls)

    def beat(self) -> None:
        """Read the files again if they have changed; while they do not fit together the old ones stay in force."""
        stamps = _stamps(self.tls)
        if stamps in (self._seen, None):
            return
        self._seen = stamps
        try:
            _load(_context(), self.tls)  # not half of it into the one that is in use
            _load(self.context, self.tls)
        except CannotStart as error:
            _log.error("the renewed certificate is not used: %s", error)
        else:
            _log.info("the certificate was renewed: %s", self.tls.cert)


def address(text: str, said_by: str = "--listen") -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises CannotStart, which names the option or the place in a file."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        said = f"{said_by} {text}" if said_by.startswith("-") else f"{said_by}: listen: {text}"
        raise CannotStart(f"{said}: expected HOST:PORT, for example 127.0.0.1:4000", EXIT_USAGE)
    host = host.removeprefix("[").removesuffix("]")
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def check(listening: Listening) -> Certificate | None:
    """Make sure that a hub may listen so; return its certificate, None without TLS. Raises CannotStart, in one line."""
    certificate = admitted(listening)
    if not is_loopback(listening.host) and listening.plain:
        _log.warning("no TLS: whoever is between the hub and its agents can read their tokens")
    return certificate


def admitted(listening: Listening) -> Certificate | None:
    """Do what ``check`` does, without a word where it is allowed and still unwise."""
    if listening.public_url is not None:
        _check_public(listening.public_url)
    if listening.plain and listening.tls is not None:
        raise CannotStart("--plain and --tls-cert exclude one another: leave one out", EXIT_CONFIG)
    open_to_others = not is_loopback(listening.host)
    if open_to_others and not (listening.tls or listening.behind_proxy or listening.plain):
        raise CannotStart(
            f"--listen {listening.host}:{listening.port} would let others on the way read tokens: add "
            f"--tls-cert FILE --tls-key FILE, or --behind-proxy when a proxy in front of the hub ends TLS, or --plain "
            f"when you trust everybody on that network",
            EXIT_CONFIG,
        )
    return None if listening.tls is None else Certificate(listening.tls)


def _check_public(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise CannotStart(
            f"--public-url {url}: expected https://HOST or https://HOST:PORT and nothing more", EXIT_CONFIG
        )


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamps(tls: Tls) -> tuple[tuple[int, int], ...] | None:
    try:
        return tuple((found.st_mtime_ns, found.st_ino) for found in (tls.cert.stat(), tls.key.stat()))
    except OSError:
        return None


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    for option, path in (("--tls-cert", tls.cert), ("--tls-key", tls.key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise CannotStart(f"{option} {path}: {error.strerror or error}", EXIT_CONFIG) from None
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise CannotStart(f"--tls-cert {tls.cert} --tls-key {tls.key}: {_reason(error)}", EXIT_CONFIG) from None


def _no_password() -> str:
    raise ValueError("the key has a pass phrase, which nobody is there to type: give one without")


def _reason(error: Exception) -> str:
    match getattr(error, "reason", None):
        case "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        case None:
            return str(error) if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError) else _NOT_PEM
        case _:
            return _NOT_PEM


_NOT_PEM = "no certificate and key in PEM: the first file holds the certificate and its chain, the second its key"
