"""Commands change one thing in a person's agents/ID.yaml; its comments and its other lines stay."""

import pytest

from coordinator.core.agent import Token
from coordinator.files.agentfile import check, rotated, switched
from coordinator.files.taskfile import WrongFile

PATH = "agents/loash.yaml"
OLD, NEW = "a" * 64, "b" * 64
HOUR = 3600_000
NOW = 1795645599000


def test_a_file_is_switched_off_and_on_again_and_is_then_what_it_was():
    data = b"# our best\nname: Loash   # since May\n\nrole: agent\ncapabilities: [ python,docs ]\n"
    off = switched(PATH, data, disabled=True)
    assert off == data + b"disabled: true\n"
    assert switched(PATH, off, disabled=True) == off
    assert switched(PATH, off, disabled=False) == data


def test_a_new_token_goes_below_the_old_ones_which_get_an_end_and_every_comment_stays():
    data = f"name: Loash # since May\ntokens:\n  # the laptop\n  - sha256: {OLD}  # mine\nrole: agent\n".encode()
    after = rotated(PATH, data, Token(NEW, "ac_abcde"), NOW + HOUR, NOW)
    text = after.decode()
    assert [line for line in ("name: Loash # since May", "  # the laptop", "role: agent") if line not in text] == []
    assert "# mine" in text
    assert check(PATH, after).tokens == (Token(OLD, "", NOW + HOUR), Token(NEW, "ac_abcde"))
    assert rotated(PATH, after, Token(NEW, "ac_abcde"), NOW + 2 * HOUR, NOW) == after


def test_a_list_that_stands_below_its_key_stays_there():
    data = f"tokens:\n- sha256: {OLD}\n  prefix: ac_first\n".encode()
    after = rotated(PATH, data, Token(NEW), NOW, NOW).decode()
    assert after.startswith(f"tokens:\n- sha256: {OLD}\n  prefix: ac_first\n  not_after: ")
    assert f"\n- sha256: {NEW}\n" in after


@pytest.mark.parametrize("text", ["tokens: []\n", "name: x\n", "{name: x, tokens: []}\n"])
def test_a_file_without_tokens_gets_its_first(text):
    assert check(PATH, rotated(PATH, text.encode(), Token(NEW), NOW, NOW)).tokens == (Token(NEW),)


def test_tokens_that_ended_are_taken_out_and_an_earlier_end_stays():
    data = rotated(PATH, f"tokens: [{{sha256: {OLD}}}]\n".encode(), Token(NEW), NOW + HOUR, NOW)
    third = rotated(PATH, data, Token("c" * 64), NOW + 5 * HOUR, NOW + 2 * HOUR)
    assert [one.sha256 for one in check(PATH, third).tokens] == [NEW, "c" * 64]
    sooner = rotated(PATH, data, Token("c" * 64), NOW + 5 * HOUR, NOW)
    assert [one.not_after for one in check(PATH, sooner).tokens] == [NOW + HOUR, NOW + 5 * HOUR, None]


def test_a_wrong_file_is_not_changed():
    with pytest.raises(WrongFile):
        switched(PATH, b"nmae: x\n", disabled=True)
