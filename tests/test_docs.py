"""What the pages say is true: links, paths, commands, make targets, and the examples as the program reads them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from coordinator import drawing
from coordinator.cli import COMMANDS, cli, common
from coordinator.core.policy import Policy
from coordinator.files import limits, loader, markdown
from sidecar import config
from sidecar.cli import commands as sidecar_commands
from sidecar.runtimes import catalogue, schema

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"(?:benchmarks|coordinator|docs|sidecar|tests)(?:/[\w.-]+)+/?")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")


def _tracked() -> list[str]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


PAGES = sorted(name for name in _tracked() if name.endswith(".md"))


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _prose(name: str) -> str:
    return _FENCE.sub("", _read(name))


def _blocks(name: str) -> list[tuple[str, str]]:
    """Return (info string, content) of every fenced block of a page."""
    return [(match[1].strip(), match[2]) for match in _FENCE.finditer(_read(name))]


def _code(name: str) -> Iterator[str]:
    """Yield every code span and every line of a shell block, comments cut off."""
    yield from re.findall(r"`([^`\n]+)`", _prose(name))
    for info, text in _blocks(name):
        if info == "sh":
            yield from (line.partition("#")[0].strip() for line in text.splitlines())


def _rows(name: str, head: str) -> list[list[str]]:
    """Return the cells of the table that begins with this head line."""
    lines = _read(name).splitlines()
    start = lines.index(head) + 2
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def _slugs(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- pages ----------------------------------------------------------------------------------------------------------


def test_the_life_cycle_page_is_drawn_from_the_tables_that_run() -> None:
    assert _read("docs/lifecycle.md") == drawing.page(), "run: make lifecycle"


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    for target in _LINK.findall(_prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _slugs(str(found.resolve().relative_to(ROOT))), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_path_of_this_repository_that_a_page_names_exists(page: str) -> None:
    for code in _code(page):
        for word in code.split():
            if _PATH.fullmatch(word):
                assert (ROOT / word).exists(), f"{page}: {word}"


def test_the_readme_names_both_commands_on_its_first_screen() -> None:
    first = "\n".join(_read("README.md").splitlines()[:60])
    assert "make demo" in first
    assert "make test" in first
    assert first.index("make demo") < first.index("pip install")


def test_the_index_of_the_pages_lists_each_of_them_once() -> None:
    linked = [target for target in _LINK.findall(_read("docs/README.md")) if not target.startswith("http")]
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/") and page != "docs/README.md"]
    assert sorted(linked) == pages


def test_contributing_is_short() -> None:
    assert len(_read("CONTRIBUTING.md").splitlines()) < 100


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", _read("Makefile"), re.MULTILINE))
    named = {target for code in _code(page) for target in _MAKE.findall(code)}
    assert named <= targets


def _named_commands(page: str) -> Iterator[tuple[click.Command, str, list[str]]]:
    """Yield each command that a page names: the command found, its line, and the words after it."""
    for code in _code(page):
        match = re.search(r"(?:^|/|\s)(agentcom(?:-sidecar)?)((?: .*)?)$", code)
        if match is None:
            continue
        words = re.findall(r'"[^"]*"|[^\s\[\]]+', match[2])
        found: click.Command = cli if match[1] == "agentcom" else sidecar_commands
        while isinstance(found, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            below = found.get_command(click.Context(found), name)
            assert below is not None, f"{page}: `{code}`: there is no command {name}"
            found = below
        yield found, code, words


def _options(command: click.Command) -> set[str]:
    return {option for param in command.get_params(click.Context(command)) for option in param.opts}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists_with_those_options(page: str) -> None:
    for command, code, words in _named_commands(page):
        options = _options(command)
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in options, f"{page}: `{code}`: there is no option {word}"


def _commands_below(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the command of that name, or those of the group that it is, with all their words."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    if not isinstance(command, click.Group):
        yield name, command
        return
    for below in command.list_commands(click.Context(command)):
        yield from ((f"{name} {words}", one) for words, one in _commands_below(command, below))


def test_the_readme_lists_every_command_there_is() -> None:
    listed = " ".join(row[0] for row in _rows("README.md", "| command | does |"))
    for name in COMMANDS:
        for whole, command in _commands_below(cli, name):
            assert re.search(rf"`agentcom {whole}\b", listed), f"agentcom {whole} is missing from the README's table"
            assert ("--json" in _options(command)) == (whole not in ("up", "hub", "watch", "mcp")), whole


def test_the_page_lists_every_exit_code() -> None:
    listed = {int(row[0]) for row in _rows("docs/commands.md", "| exit code | means |")}
    assert listed == {0} | {value for name, value in vars(common).items() if name.startswith("EXIT_")}


# --- examples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["docs/first-steps-by-hand.md", "docs/files.md"])
def test_the_sidecars_config_on_the_page_is_one_that_the_sidecar_reads(page: str, tmp_path: Path) -> None:
    (text,) = [text for _, text in _blocks(page) if "hub_url:" in text]
    file = tmp_path / "sidecar.yaml"
    file.write_text(text, encoding="utf-8")
    read = config.load(file)
    assert read.agent_id == "loash"
    assert read.runtime.definition.name == "shell"


def test_the_runtime_on_the_page_is_one_that_the_sidecar_reads_and_shows_what_a_file_may_say(tmp_path: Path) -> None:
    (text,) = [text for info, text in _blocks("docs/sidecar.md") if info == "yaml runtimes/my-agent.yaml"]
    file = tmp_path / "my-agent.yaml"
    file.write_text(text, encoding="utf-8")
    shown = schema.load(file).model_fields_set
    assert set(schema.Definition.model_fields) - shown == {
        *("wake", "profile_note", "scripted", "round_trip", "install", "help")
    }


def test_the_runtimes_on_the_page_are_those_that_there_are() -> None:
    rows = _rows("docs/sidecar.md", "| runtime | runs | profiles |")
    assert sorted(row[0].strip("`") for row in rows) == catalogue.presets()


def test_the_sidecars_keys_are_all_on_the_page() -> None:
    text = "\n".join(text for info, text in _blocks("docs/files.md") if info in ("yaml sidecar", "yaml runtime"))
    named = set(re.findall(r"^ *([a-z_]+):", text.replace("# or file:", "\n file:"), re.MULTILINE))
    assert {*config._KEYS, *config._RUNTIME_KEYS} - named == {"hub_api_url", "repo_dir", "results_dir", "script"}


def _example(path: str) -> bytes:
    (text,) = [text for info, text in _blocks("docs/files.md") if info == f"yaml {path}"]
    return text.encode()


@pytest.mark.parametrize(
    ("path", "load"),
    [
        ("tasks/t-k3m9q2xa.yaml", lambda path, data: loader.load_task(path, data, "")),
        ("agents/loash.yaml", lambda path, data: loader.load_agent(path, data, "")),
        ("agentcom.yaml", lambda path, data: loader.load_policy(path, data, "")),
        ("status/open/t-k3m9q2xa.yaml", loader.load_status),
        ("status/agents/gcu.yaml", loader.load_record),
        ("status/hub.yaml", loader.load_mapping),
    ],
)
def test_every_example_file_is_read_without_a_problem(path, load) -> None:
    read = load(path, _example(path))
    assert not isinstance(read, tuple), read


def test_the_policy_on_the_page_shows_the_defaults() -> None:
    read = loader.load_policy("agentcom.yaml", _example("agentcom.yaml"), "")
    assert isinstance(read, Policy)
    assert (read.timeouts, read.retries) == (Policy().timeouts, Policy().retries)
    assert (read.default_lane, read.suspend) == (Policy().default_lane, Policy().suspend)


def test_the_backlog_on_the_page_is_read_as_its_table_says() -> None:
    (text,) = [text for info, text in _blocks("docs/files.md") if info == "markdown backlog"]
    parsed = markdown.parse(text, Policy())
    said = [tuple(row[:3]) for row in _rows("docs/files.md", "| line | lane | title | and |")]
    assert [(str(item.line), str(item.lane), item.title) for item in parsed.items] == said
    assert not parsed.problems


def test_the_headings_on_the_page_are_the_lanes_that_are_known() -> None:
    rows = _rows("docs/files.md", "| headings | lane | what happens |")
    said = {heading.strip().lower(): lane for headings, lane, _ in rows for heading in headings.split(",")}
    assert said == {heading: str(lane) for heading, lane in Policy().lanes.items()}


def test_the_limits_on_the_page_are_those_that_are_in_force() -> None:
    units = {"KiB": limits.KIB, "MiB": limits.MIB}
    for _, name, said in _rows("docs/files.md", "| what | constant | limit |"):
        number, _, unit = said.replace(",", "").partition(" ")
        assert getattr(limits, name.strip("`")) == int(number) * units.get(unit, 1), name


# --- what stands nowhere --------------------------------------------------------------------------------------------

#: Built from pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a folder of design documents beside the checkout": re.compile(r"\.\./" + "shared" + r"\b"),
    "an absolute path of somebody's machine": re.compile(
        r"(?<![\w.$})~-])/(?:" + "|".join(["wo" + "rk", "ho" + "me", "Us" + "ers", "ro" + "ot"]) + r")/\w"
    ),
    "a package index's download address": re.compile(
        "|".join(
            [
                "files.python" + r"hosted\.org",
                "py" + r"pi\.org/",
                "registry." + r"npmjs\.org",
                r"--(?:extra-)?index" + "-url",
            ]
        )
    ),
}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_file_mentions(what: str) -> None:
    for name in _tracked():
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        found = FORBIDDEN[what].search(text)
        assert found is None, f"{name}:{text[: found.start()].count(chr(10)) + 1}: {found[0]!r}"


def test_every_promise_names_its_tests() -> None:
    rows = _rows("docs/architecture.md", "| | promise | tested in |")
    assert [row[0] for row in rows] == [*(f"S{n}" for n in range(1, 17)), *(f"L{n}" for n in range(1, 7))]


def test_every_module_says_what_it_is_for() -> None:
    for name in _tracked():
        if name.endswith(".py") and name.startswith(("coordinator/", "sidecar/", "dashboard/")):
            assert ast.get_docstring(ast.parse(_read(name))), name
