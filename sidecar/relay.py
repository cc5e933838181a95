"""Does at the hub, with the sidecar's token, the few things that an agent may ask for: mail, messages, proposals.

The agent has no token. It names one of these deeds and its fields; address, route and identity are this sidecar's. The
reply is ``{"status": the hub's answer as a number, "body": its object}``, or ``{"error": why not}``; nothing is tried
twice by itself, and a request that is made again after a crash has the same ``Idempotency-Key``.
"""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.wire.plain import HIDDEN
from sidecar.config import Config
from sidecar.spool import Request
from sidecar.values import Key

#: How long one answer of the hub may take, and how much of it is read.
WITHIN_S = 10.0
MOST_BYTES = 1024 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: What a proposal may say; the rest is the hub's.
_PROPOSAL = ("title", "description", "priority", "needed_capabilities", "depends_on", "repo", "base")
_MESSAGE = ("to", "type", "payload", "reply_to")


class Relay:
    """The way from one agent to its hub; ``perform`` blocks and belongs into a thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._base = config.hub_api_url.rstrip("/")
        self._deeds: Mapping[str, Callable[[Key, Mapping[str, Any]], _Call]] = {
            "mailbox_list": self._list,
            "mailbox_ack": self._ack,
            "send_message": self._send,
            "propose_task": self._propose,
        }
        local = urllib.parse.urlsplit(self._base).hostname in _LOOPBACK
        proxies = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(StayHere, *proxies)

    def perform(self, key: Key, request: Request) -> dict[str, Any]:
        """Do one request and return its reply; never raises."""
        deed = self._deeds.get(str(request.body.get("do")))
        if deed is None:
            return {"error": f"unknown request; known are {', '.join(self._deeds)}"}
        try:
            call = deed(key, request.body)
        except (TypeError, ValueError) as error:
            return {"error": str(error)}
        return self._ask(call, f"{key}-{request.name}")

    def _ask(self, call: "_Call", idempotency_key: str) -> dict[str, Any]:
        method, path, body = call
        headers = {"Authorization": f"Bearer {self._config.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).replace(self._config.token, HIDDEN).encode()
            headers |= {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        request = urllib.request.Request(self._base + path, data, headers, method=method)  # noqa: S310 - our own hub
        try:
            with self._opener.open(request, timeout=WITHIN_S) as answer:
                return _reply(answer.status, answer.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.read(MOST_BYTES))
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            return {"error": f"the hub cannot be reached now ({reason}); try again later"}

    # --- deeds ------------------------------------------------------------------------------------------------------

    @property
    def _mailbox(self) -> str:
        return f"/api/mailbox/{urllib.parse.quote(self._config.agent_id)}"

    def _list(self, _key: Key, body: Mapping[str, Any]) -> "_Call":
        return "GET", f"{self._mailbox}?since={int(body.get('since') or 0)}", None

    def _ack(self, _key: Key, body: Mapping[str, Any]) -> "_Call":
        return "POST", f"{self._mailbox}/ack", {"seq": int(body.get("seq") or 0)}

    def _send(self, _key: Key, body: Mapping[str, Any]) -> "_Call":
        return "POST", "/api/message", _some(body, _MESSAGE)

    def _propose(self, key: Key, body: Mapping[str, Any]) -> "_Call":
        return "POST", "/api/tasks", {**_some(body, _PROPOSAL), "metadata": {"proposed_in": key.task_id}}


class StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to whoever it names."""

    def redirect_request(self, *_args: Any) -> None:
        return None


#: Method, path and body of one request.
_Call = tuple[str, str, dict[str, Any] | None]


def _some(body: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: body[name] for name in names if body.get(name) is not None}


def _reply(status: int, data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data or b"{}")
    except ValueError:
        return {"error": f"the hub answered {status}, and not in JSON"}
    return {"status": status, "body": body}
