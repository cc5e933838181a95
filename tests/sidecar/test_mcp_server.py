"""The MCP server over stdio with the SDK's own client, beside a real sidecar and two scripted hubs."""

import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import TextContent, TextResourceContents

from sidecar.spool import Spool

pytestmark = pytest.mark.slow


class Api(ThreadingHTTPServer):
    """The hub's HTTP side: notes what it is asked and answers what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.body = 200, b"{}"
        self.location = ""

        class Handler(BaseHTTPRequestHandler):
            server: Api

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                self.server.asked.append((self.command, self.path, body))
                self.server.headers.append(dict(self.headers))
                self.send_response(self.server.status)
                if self.server.location:
                    self.send_header("Location", self.server.location)
                self.end_headers()
                self.wfile.write(self.server.body)

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def will_answer(self, status: int, /, **body: Any) -> None:
        self.status, self.body = status, json.dumps(body).encode()


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api
        api.shutdown()
        thread.join()


def client_of(folder: Path | None, *options: str) -> Client:
    """A client that starts the server as an agent's program does; with a folder, in the environment of its attempt."""
    env = {"AGENTCOM_TASK_FILE": str(folder / "task.md")} if folder is not None else {}
    argv = ["-m", "sidecar", "mcp", *options]
    return Client(StdioServerParameters(command=sys.executable, args=argv, env=env))


@pytest.fixture
async def at_work(hub: Any, sidecars: Any, api: Api) -> tuple[Any, Path]:
    """A task in hand of a sidecar whose agent waits, and the folder of the attempt."""
    sidecar = sidecars(hub_api_url=api.url, runtime={"name": "fake", "script": ["hang"]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1", 1, "sweep the floor", description="all of it", context={"acceptance": ["no crumbs"]})
    await session.expect("task_accepted")
    return session, sidecar.home / "results" / "t-1.1"


@pytest.fixture
async def laid_out(at_work: tuple[Any, Path]) -> AsyncIterator[tuple[Any, Path]]:
    from support.sidecars import until

    await until((at_work[1] / "started").exists)
    yield at_work


def words(result: Any) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def said(result: Any) -> Any:
    assert not result.is_error, words(result)
    return json.loads(words(result))


async def test_the_tools_are_these_and_the_task_is_a_resource(laid_out) -> None:
    async with client_of(laid_out[1]) as client:
        tools = (await client.list_tools()).tools
        assert sorted(tool.name for tool in tools) == sorted(
            "current_task progress complete fail block mailbox_list mailbox_ack send_message propose_task".split()
        )
        assert all(tool.description for tool in tools)
        (content,) = (await client.read_resource("agentcom://task")).contents
        assert isinstance(content, TextResourceContents)
        assert "sweep the floor" in content.text


async def test_an_agent_reads_its_task_and_what_has_changed(laid_out) -> None:
    session, folder = laid_out
    async with client_of(folder) as client:
        task = said(await client.call_tool("current_task", {}))
        assert (task["title"], task["description"], task["context"]["acceptance"]) == (
            "sweep the floor", "all of it", ["no crumbs"]
        )  # fmt: skip
        Spool(folder).update({"type": "task_updated", "task_id": "t-1", "generation": 1, "answer": "the left one"})
        assert words(await client.call_tool("progress", {"percent": 40, "note": "half"})) == (
            "noted\nanswer: the left one"
        )
        assert said(await client.call_tool("current_task", {}))["updates"] == ["answer: the left one"]
    heard = await session.expect("task_progress", progress=40)
    assert heard["note"] == "half"


@pytest.mark.parametrize(
    ("tool", "arguments", "result"),
    [
        ("complete", {"summary": "swept", "tokens_used": 7},
         {"status": "success", "summary": "swept", "tokens_used": 7}),
        ("fail", {"error": "no broom", "failure_class": "environment"},
         {"status": "failed", "error": "no broom", "class": "environment"}),
        ("block", {"question": "which broom?"}, {"status": "blocked", "question": "which broom?"}),
    ],
)  # fmt: skip
async def test_the_last_word_is_the_result_file(laid_out, tool, arguments, result) -> None:
    async with client_of(laid_out[1]) as client:
        assert not (await client.call_tool(tool, arguments)).is_error
        assert json.loads((laid_out[1] / "result.json").read_text()) == result
        other = await client.call_tool("fail" if tool != "fail" else "complete", {"error": "x", "summary": "x"})
        assert other.is_error
        assert "was reported before" in words(other)


async def test_mail_and_messages_go_through_the_sidecar_with_its_token(laid_out, api, hub) -> None:
    async with client_of(laid_out[1]) as client:
        api.will_answer(200, agent_id="loash", messages=[], last_seq=7, count=0)
        assert said(await client.call_tool("mailbox_list", {"since": 7}))["last_seq"] == 7
        api.will_answer(200, status="acked", up_to=7)
        assert said(await client.call_tool("mailbox_ack", {"seq": 7}))["up_to"] == 7
        api.will_answer(200, status="sent", id="0123456789abcdef")
        assert said(await client.call_tool("send_message", {"to": "gcu", "text": "hello"}))["status"] == "sent"
    assert api.asked == [
        ("GET", "/api/mailbox/loash?since=7", None),
        ("POST", "/api/mailbox/loash/ack", {"seq": 7}),
        ("POST", "/api/message", {"to": "gcu", "payload": {"text": "hello"}}),
    ]
    assert {headers["Authorization"] for headers in api.headers} == {f"Bearer {hub.token}"}


async def test_a_proposal_names_the_task_it_came_up_in(laid_out, api) -> None:
    api.will_answer(201, id="t-9", status="queued", held=True)
    async with client_of(laid_out[1]) as client:
        more = {"title": "buy a broom", "depends_on": ["t-1"]}
        assert said(await client.call_tool("propose_task", more))["held"] is True
    ((method, path, body),) = api.asked
    assert (method, path) == ("POST", "/api/tasks")
    assert body == {
        "title": "buy a broom", "description": "", "priority": "normal", "depends_on": ["t-1"],
        "metadata": {"proposed_in": "t-1"},
    }  # fmt: skip
    assert api.headers[0]["Idempotency-Key"].startswith("t-1.1-")


async def test_a_refusal_of_the_hub_is_a_tools_error_with_its_reason(laid_out, api) -> None:
    api.will_answer(422, status="failed", error="unknown_recipient")
    async with client_of(laid_out[1]) as client:
        result = await client.call_tool("send_message", {"to": "nobody", "text": "hello"})
    assert result.is_error
    assert "422: unknown_recipient" in words(result)


async def test_a_redirect_does_not_take_the_token_away(laid_out, api) -> None:
    api.status, api.location = 307, f"{api.url}/elsewhere"
    async with client_of(laid_out[1]) as client:
        assert (await client.call_tool("mailbox_list", {})).is_error
    assert [path for _, path, _ in api.asked] == ["/api/mailbox/loash?since=0"]


async def test_a_hub_that_is_away_is_said_and_nothing_else_suffers(laid_out, api) -> None:
    session, folder = laid_out
    api.server_close()
    async with client_of(folder) as client:
        result = await client.call_tool("mailbox_list", {})
        assert result.is_error
        assert "cannot be reached now" in words(result)
        assert not (await client.call_tool("progress", {"percent": 5})).is_error
    await session.expect("task_progress", progress=5)


async def test_a_wrong_argument_is_named(laid_out) -> None:
    async with client_of(laid_out[1]) as client:
        for arguments, name in (({"percent": 120}, "percent"), ({}, "percent")):
            result = await client.call_tool("progress", arguments)
            assert result.is_error
            assert name in words(result)


async def test_outside_of_a_task_every_tool_says_so() -> None:
    async with client_of(None) as client:
        result = await client.call_tool("current_task", {})
    assert result.is_error
    assert "this is no AgentCom task" in words(result)


async def test_the_task_may_be_named_where_the_environment_is_not_passed_on(laid_out) -> None:
    async with client_of(None, "--task-file", str(laid_out[1] / "task.md")) as client:
        assert said(await client.call_tool("current_task", {}))["task_id"] == "t-1"
