"""Whatever text goes into a commit message, git reads back the trailers that were meant and no others."""

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.repo import git_env

from coordinator.git.message import clean_email, clean_name, compose, parse_trailers, trailer


def read_by_git(message: str) -> str:
    argv = ["git", "-c", "trailer.separators=:", "interpret-trailers", "--parse", "--no-divider"]
    done = subprocess.run(argv, input=message.encode(), capture_output=True, check=True, env=git_env())
    return done.stdout.decode()


def test_every_part_is_a_paragraph_of_its_own() -> None:
    message = compose(
        "t-1: done", "all\nwell", [("Agentcom-Task", "t-1"), ("Agentcom-Event", "completed")], skip_ci=True
    )
    assert message == ("t-1: done\n\n> all\n> well\n\n[skip ci]\n\nAgentcom-Task: t-1\nAgentcom-Event: completed\n")
    assert read_by_git(message) == "Agentcom-Task: t-1\nAgentcom-Event: completed\n"


def test_a_subject_alone_is_a_whole_message() -> None:
    assert compose("hub: claim") == "hub: claim\n"
    assert parse_trailers("Agentcom-Epoch: 1/h-a\n") == {}


@pytest.mark.parametrize("body", ["a\n---\nAgentcom-Epoch: 9/h-x", "x\n\nAgentcom-Epoch: 9/h-x\n", "\n\n---\n"])
def test_a_body_cannot_fake_trailers(body: str) -> None:
    message = compose("s", body, [("Agentcom-Epoch", "1/h-a")])
    assert read_by_git(message) == "Agentcom-Epoch: 1/h-a\n"
    assert trailer(message, "Agentcom-Epoch") == "1/h-a"
    assert parse_trailers(compose("s", body)) == {}


def test_line_breaks_and_controls_in_subject_and_trailers_become_spaces() -> None:
    message = compose("a\nAgentcom-Epoch: 9\x1b[31m", "", [("Agentcom-Agent", "x\r\n\nAgentcom-Epoch: 9\u2028\x85y")])
    assert message == "a Agentcom-Epoch: 9 [31m\n\nAgentcom-Agent: x Agentcom-Epoch: 9 y\n"


def test_a_subject_is_cut_at_200_characters_and_never_empty() -> None:
    assert compose("x" * 500) == "x" * 200 + "\n"
    assert compose(" \n\x00") == "(no subject)\n"


def test_a_key_that_git_would_not_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="no trailer key"):
        compose("s", "", [("a b", "x")])


def test_repeated_trailers_keep_their_order() -> None:
    assert parse_trailers("s\n\nAgentcom-Confirm: a\nagentcom-confirm: b\n") == {"Agentcom-Confirm": ("a", "b")}


texts = st.text(max_size=80)


@given(
    texts,
    texts,
    st.lists(st.tuples(st.sampled_from(["Agentcom-Task", "Agentcom-Agent"]), texts), max_size=4),
    st.booleans(),
)
@example("a", "b\n\nAgentcom-Task: c", [("Agentcom-Task", "")], True)
def test_any_text_reads_back_as_the_trailers_that_were_meant(
    subject: str, body: str, trailers: list[tuple[str, str]], skip_ci: bool
) -> None:
    message = compose(subject, body, trailers, skip_ci)
    found = [(key, value) for key, values in parse_trailers(message).items() for value in values]
    assert sorted(key for key, _ in found) == sorted(key for key, _ in trailers)
    assert all("\n" not in value for _, value in found)
    message.encode()


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Ada", "Ada"),
        ("Ada <root@x>", "Ada root@x"),
        ("a\nb\x00c\x1b", "a b c"),
        ("\u202eevil", "evil"),
        ("", "t-1"),
        (" <> ", "t-1"),
        ("x" * 300, "x" * 200),
        ("Zoë 👩‍🚀", "Zoë 👩‍🚀"),
    ],
)
def test_names_lose_what_breaks_a_commit_or_a_terminal(name: str, clean: str) -> None:
    assert clean_name(name, "t-1") == clean


def test_a_name_and_a_fallback_of_nothing_still_give_a_name() -> None:
    assert clean_name("", "<>") == "unknown"
    assert clean_email(" <>\n") == "unknown@agentcom.invalid"
