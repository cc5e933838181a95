"""The how-to pages say what the runtime files, the sidecar and git say: tables, config files, rule sets, workflow."""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.git.repo import STATE_REF
from sidecar import config
from sidecar.runtimes import catalogue
from sidecar.runtimes.schema import Definition

HOW_TO = Path(__file__).resolve().parent.parent / "docs/how-to"
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (HOW_TO / page).read_text(encoding="utf-8")


def blocks(page: str, info: str) -> list[str]:
    return [match[2] for match in _FENCE.finditer(read(page)) if match[1] == info]


def rows(page: str, head: str) -> list[tuple[str, ...]]:
    """Return the cells of the table that begins with this head line."""
    below = read(page).partition(f"{head}\n")[2].splitlines()[1:]
    end = next((n for n, line in enumerate(below) if not line.startswith("|")), len(below))
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in below[:end]]


def definition(name: str) -> Definition:
    found = catalogue.find(name, HOW_TO)
    assert found is not None
    return found


def facts(one: Definition) -> list[tuple[str, str]]:
    """Return what the page says of a runtime, in the words of its file."""
    said = []
    if one.argv and not one.scripted:
        said.append(("program", f"`{one.argv[0]}`"))
    if one.version:
        said.append(("version", f"{one.version.minimum} or newer"))
    if one.install:
        said.append(
            ("checked with", f"`{one.install.npm}`" + (f", Node {one.install.node}" if one.install.node else ""))
        )
    if one.login:
        unless = f", not with {', '.join(one.login.unless)} set" if one.login.unless else ""
        said.append(("asked before a task", f"`{' '.join(one.login.argv)}`{unless}"))
        said.append(("says without a login", one.login.say))
    for name, option in one.options.items():
        said.append((f"option `{name}`", option.about + (" (needed)" if option.required else "")))
    return [*said, ("profiles", ", ".join(one.profiles))]


def test_the_table_of_profiles_says_what_the_files_say() -> None:
    wanted = []
    for name in catalogue.presets():
        for profile, adds in definition(name).profiles.items():
            words = " ".join([*adds.argv, *(f"{key}={value}" for key, value in adds.env.items())])
            wanted.append((f"`{name}`", f"`{profile}`", f"`{words}`" if words else "nothing"))
    head = "| runtime | profile | adds to the command, or to its environment |"
    assert rows("permission-profiles.md", head) == wanted


def test_the_notes_on_profiles_are_those_of_the_files() -> None:
    noted = re.findall(r"^- `([a-z-]+)`: (.+)$", read("permission-profiles.md"), re.MULTILINE)
    notes = [(name, definition(name).profile_note) for name in catalogue.presets()]
    assert noted == [(name, note) for name, note in notes if note]


@pytest.mark.parametrize("name", catalogue.presets())
def test_each_runtime_has_a_section_with_what_its_file_says(name: str) -> None:
    assert f"\n## {name}\n" in read("runtimes.md")
    assert rows("runtimes.md", f"| {name} | |") == facts(definition(name))


def test_what_the_page_says_of_logging_in_to_the_others_stands_in_their_files() -> None:
    page = read("runtimes.md")
    for name, variable in (("claude", "ANTHROPIC_API_KEY"), ("codex", "CODEX_API_KEY"), ("gemini", "GEMINI_API_KEY")):
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert variable in section
        assert variable in definition(name).model_dump_json()


@pytest.mark.parametrize("page", ["runtimes.md", "permission-profiles.md"])
def test_every_config_file_on_a_page_is_one_that_the_sidecar_reads(page: str, tmp_path: Path) -> None:
    shown = blocks(page, "yaml sidecar")
    assert shown
    for text in shown:
        file = tmp_path / "sidecar.yaml"
        file.write_text(text, encoding="utf-8")
        wanted: dict[str, Any] = yaml.safe_load(text)["runtime"]
        read_back = config.load(file)
        assert read_back.runtime.definition.name == wanted["name"]
        assert read_back.runtime.profile == wanted.get("profile", "dev")


def test_the_workflow_runs_for_people_and_not_for_the_trail() -> None:
    (text,) = blocks("team-on-github.md", "yaml .github/workflows/ci.yml")
    events = yaml.safe_load(text)[True]  # YAML 1.1 reads the key `on` so
    ignored = events["push"]["branches-ignore"]
    trail = STATE_REF.removeprefix("refs/heads/")
    assert any(fnmatch.fnmatchcase(trail, pattern) for pattern in ignored)
    assert not any(fnmatch.fnmatchcase(branch, pattern) for branch in ("main", "loash/t-1-x") for pattern in ignored)


def test_the_rule_sets_close_the_trail_to_all_but_deploy_keys_and_main_to_pushes() -> None:
    (state,) = (json.loads(text) for text in blocks("team-on-github.md", "json ruleset-state.json"))
    assert any(fnmatch.fnmatchcase(STATE_REF, pattern) for pattern in state["conditions"]["ref_name"]["include"])
    assert {rule["type"] for rule in state["rules"]} >= {"creation", "update", "deletion"}
    assert [one["actor_type"] for one in state["bypass_actors"]] == ["DeployKey"]
    (main,) = (json.loads(text) for text in blocks("team-on-github.md", "json ruleset-main.json"))
    assert "pull_request" in {rule["type"] for rule in main["rules"]}
    assert main["bypass_actors"] == []
    assert {state["enforcement"], main["enforcement"]} == {"active"}
