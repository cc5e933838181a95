"""One request to a server on this machine, as a browser or a program sends it."""

from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    """Return status, headers (names in small letters) and text of an answer."""
    connection, answer = ask(url, method, body, **headers)
    try:
        said = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, said, answer.read().decode()
    finally:
        connection.close()


def ask(
    url: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[HTTPConnection, HTTPResponse]:
    """Send a request; return its connection, to be closed, and the answer, whose body may have no end."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
    return connection, connection.getresponse()
