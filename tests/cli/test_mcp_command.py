"""``agentcom mcp`` as a session of a person's own agent uses it: the SDK's client over standard input and output."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.repo import Clone, git_env, make_repo

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] one\n"})


@asynccontextmanager
async def session(clone: Clone) -> AsyncIterator["mcp.Client"]:
    argv = ["-m", "coordinator", "mcp", "--repo", str(clone.path)]
    async with mcp.Client(mcp.StdioServerParameters(command=sys.executable, args=argv, env=git_env())) as client:
        yield client


async def ask(client: "mcp.Client", tool: str, **said: object) -> dict:
    answer = await client.call_tool(tool, said)
    text = "".join(part.text for part in answer.content)
    return {"error": text} if answer.is_error else json.loads(text)


async def test_a_session_adds_work_reads_it_and_says_words_about_it(clone: Clone) -> None:
    async with session(clone) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"add", "list_tasks", "show_task", "why", "answer", "approve", "reject", "status", "history"} <= names

        added = await ask(client, "add", title="Write the docs !high")
        assert (added["path"], added["lane"], added["priority"]) == ("BACKLOG.md", "ready", "high")
        assert "- [ ] Write the docs !high" in (clone.path / "BACKLOG.md").read_text()

        made = await ask(client, "new_task", title="--help", description="$(touch pwned)", acceptance=["it is there"])
        text = (clone.path / made["path"]).read_text()
        assert 'title: "--help"' in text
        assert "$(touch pwned)" in text
        assert not (clone.path / "pwned").exists()

        assert (await ask(client, "status"))["by_status"]["queued"] == 0
        assert (await ask(client, "list_tasks"))["tasks"] == []


async def test_what_a_command_refuses_comes_back_as_one_line(clone: Clone) -> None:
    async with session(clone) as client:
        said = await ask(client, "answer", task_id="t-nobody", text="yes")
        assert said["error"].endswith("there is no task t-nobody: `agentcom task list --all` shows the ids")
        said = await ask(client, "show_task", task_id="--version")
        assert "--version" in said["error"]
