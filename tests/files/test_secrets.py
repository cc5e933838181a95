"""What looks like a secret is refused in people's files and never repeated; prose and hashes are left alone."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.policy import Lane, Policy
from coordinator.core.task import Spec
from coordinator.files import loader, markdown, secrets
from coordinator.files.edit import NotAnItem, add_item
from coordinator.place import new_token

_LONG = (string.ascii_letters + string.digits) * 3
#: Built from pieces, so that nobody's scanner takes this file for a leak. kind -> a word that looks like one.
EXAMPLES = {
    "an AgentCom token": ["ac" + "_" + "aB3_-" * 8 + "xYz"],
    "a GitHub token": [
        "gh" + "p_" + _LONG[:36],
        "gh" + "s_" + _LONG[:40],
        "github" + "_pat_" + _LONG[:22] + "_" + _LONG[:59],
    ],
    "a GitLab token": ["gl" + "pat-" + _LONG[:20]],
    "a Slack token": ["xo" + "xb-" + "123456789012-" + _LONG[:24]],
    "an AWS access key": ["AK" + "IA" + "ABCDEFGH12345678"],
    "a Google API key": ["AI" + "za" + _LONG[:35]],
    "an Anthropic key": ["sk" + "-ant-api03-" + _LONG[:60]],
    "an OpenAI key": ["sk" + "-proj-" + _LONG[:60], "sk" + "-" + _LONG[20:68]],
    "an npm token": ["np" + "m_" + _LONG[:36]],
    "a PyPI token": ["py" + "pi-" + "AgEIcHlwaS5vcmc" + _LONG[:70]],
    "a Stripe key": ["sk" + "_live_" + _LONG[:24]],
    "a Hugging Face token": ["h" + "f_" + _LONG[:34]],
    "a private key": ["-----BEGIN " + "RSA PRIVATE KEY-----\n  " + _LONG[:64]],
}
PAIRS = [(what, word) for what, words in EXAMPLES.items() for word in words]

INNOCENT = [
    "1e1354daca146d7cf2d41085d3e47d42f2937a5c7774bb42cb88b4a12d1b48d2",
    "ac_the-token-that-agent-add-showed",
    "ac_" + "lower-case-words-only-" * 2,
    "mac_" + "aB3" * 15,
    "task-sk-translation-into-slovak-of-all-pages",
    "sk-slovenska-verzia-dokumentacie-pre-novych-ludi",
    "desk-" + _LONG[:40],
    "ghp_short and github_pat_short",
    "npm_config_registry and npm_package_version_is_a_long_name_indeed",
    "hf_transfer_is_a_package_of_some_length_here",
    "AKIA is how they begin",
    "AKIAQRSTUVWX12345678X9",
    "a file that begins with -----BEGIN PRIVATE KEY----- is a key",
    "-----BEGIN CERTIFICATE-----\n" + _LONG,
    "-----BEGIN PUBLIC KEY-----\n" + _LONG,
    "xoxo, with love, from all of us here",
    "sk_test_ keys are harmless, sk_live_ ones are not",
    "pypi-publish-the-package-with-the-release-workflow-when-tagged",
    "commit 0f3b7d1c9a5e4b6f8d2c1a0e9b7f6d5c4a3b2e1f of github_patches",
]


def problems(result) -> list[str]:
    assert isinstance(result, tuple), result
    return [str(problem) for problem in result]


def task(text: str):
    return loader.load_task("tasks/t-1.yaml", text.encode(), "b")


@pytest.mark.parametrize(("what", "word"), PAIRS)
def test_a_secret_is_found_by_its_looks_wherever_it_stands(what, word):
    for text in (word, f"use {word}, please", f'"{word}"', f"KEY={word}\n"):
        assert [one.what for one in secrets.find(text)] == [what], text


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_begins_like_one_is_left_alone(text):
    assert secrets.find(text) == []


@settings(max_examples=30, deadline=None)
@given(st.integers())
def test_every_token_that_we_hand_out_is_known(_seed):
    assert [one.what for one in secrets.find(new_token())] == ["an AgentCom token"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([word for _, word in PAIRS] + INNOCENT), max_size=4), st.sampled_from([" ", "\n", ", "])
)
def test_a_text_is_shown_with_four_characters_of_each_secret_at_most(words, between):
    shown = secrets.hide(between.join(words))
    assert not any(word in shown for _, word in PAIRS)
    assert secrets.hide(shown) == shown


def test_secrets_are_searched_in_linear_time():
    size = 400_000
    for begin in (begin for kind in secrets.KINDS for begin in kind.begins):
        for text in (begin * (size // len(begin)), begin + "a" * size, (begin + "A" * 30) * (size // 40)):
            secrets.hide(text)


def test_a_file_with_a_secret_is_refused_with_its_place_and_without_it():
    word = EXAMPLES["a GitHub token"][0]
    assert problems(task(f"title: x\ndescription: |\n  Clone it\n  with {word}, then go.\npriority: hihg\n")) == [
        "tasks/t-1.yaml:4:8: looks like a GitHub token (ghp_...), "
        "delete it: agents get secrets from their own environment; if it was committed, revoke it",
        "tasks/t-1.yaml:5:11: priority: hihg is unknown, did you mean high?",
    ]


def test_comments_and_files_that_are_no_yaml_are_searched_too():
    word = EXAMPLES["an AWS access key"][0]
    assert problems(task(f"title: x # {word}\n"))[0].startswith(
        "tasks/t-1.yaml:1:12: looks like an AWS access key (AKIA...)"
    )
    found = problems(task(f"title: 'x\nlabels: {word}\n"))
    assert [line.partition(",")[0] for line in found] == [
        "tasks/t-1.yaml:1:8: not readable as YAML: found unexpected end of stream",
        "tasks/t-1.yaml:2:9: looks like an AWS access key (AKIA...)",
    ]


def test_our_own_tokens_get_advice_of_their_own():
    text = f"tokens:\n  - sha256: {EXAMPLES['an AgentCom token'][0]}\n"
    found = problems(loader.load_agent("agents/a.yaml", text.encode(), "b"))
    assert found[0] == (
        "agents/a.yaml:2:13: looks like an AgentCom token (ac_a...), "
        "delete it: the repository holds only its SHA-256; if it was committed, make another one"
    )
    policy = loader.load_policy("agentcom.yaml", f"root: {EXAMPLES['an AgentCom token'][0]}".encode(), "b")
    assert problems(policy)[0].startswith("agentcom.yaml:1:7: looks like an AgentCom token (ac_a...)")


def test_the_hash_of_a_token_is_no_secret():
    text = (
        b"tokens:\n  - sha256: 1e1354daca146d7cf2d41085d3e47d42f2937a5c7774bb42cb88b4a12d1b48d2\n    prefix: ac_z1TA1\n"
    )
    assert not isinstance(loader.load_agent("agents/a.yaml", text, "b"), tuple)


@pytest.mark.parametrize("key", ["password", "secret", "api_key", "Api-Key", "token", "private_key"])
def test_a_key_that_says_secret_is_refused_where_keys_are_free(key):
    advice = "delete it: agents get secrets from their own environment; if it was committed, revoke it; "
    assert problems(task(f"title: x\nmetadata:\n  db: [{{{key}: hunter2}}]\n")) == [
        f"tasks/t-1.yaml:3:{11 + len(key)}: metadata.db[0].{key}: is a secret by its name, "
        f"{advice}${{NAME}} may name a variable"
    ]
    assert problems(task(f"title: x\nx-{key.lower()}: 7\n"))[0].startswith(
        f"tasks/t-1.yaml:2:{5 + len(key)}: x-{key.lower()}: is a secret by its name"
    )


@pytest.mark.parametrize(
    "value", ["", "~", "''", "true", "$DB_PASSWORD", "${DB_PASSWORD}", "'{{ secrets.db }}'", "<yours>"]
)
def test_a_name_for_a_secret_is_none(value):
    assert isinstance(task(f"title: x\nmetadata:\n  password: {value}\nx-token: {value}\n"), Spec)


def test_keys_that_only_sound_like_one_are_left_alone():
    text = "title: x\nmetadata: {tokens: 500, token_limit: 9, secretary: Ada, password: {rotate: weekly}}\n"
    assert isinstance(task(text), Spec)


@pytest.mark.parametrize(
    "key", ["title", "priority", "labels", "assignee", "timeout", "deadline", "hold", "answer", "zz"]
)
@pytest.mark.parametrize(
    "shape", ["{}", "[{}]", "[[{}]]", "{{{}: x}}", "{{a: {}}}", "[{0}, {0}]", "&{} x", "*{}", "!{} x"]
)
def test_no_message_repeats_a_secret(key, shape):
    for _, word in PAIRS:
        if "\n" in word:
            continue
        for text in (
            f"title: x\n{key}: {shape.format(word)}\n",
            f"{word}: x\n{word}: y\n",
            f"{word}:x",
            f"{word}: [\n",
            f"title: x\n{word}: y\n",
            f"title: x\nanswer: {{generation: 1, text: x, {word}: y}}\n",
            f"title: x\nmetadata: {{{word}: {{password: y}}}}\n",
        ):
            for problem in problems(task(text)):
                said = problem.replace("sk-ant-", "")
                assert word[:6] not in said and word[-8:].lower() not in said.lower(), problem


def test_a_backlog_item_with_a_secret_is_invalid_and_its_title_hides_it():
    word = EXAMPLES["a Slack token"][0]
    text = f"# Tokens\n{word} in prose\n\n## Ready\n\n- deploy with {word} !high\n- next\n  - [ ] uses {word}\n- last\n"
    parsed = markdown.parse(text, Policy())
    assert [(item.title, item.valid) for item in parsed.items] == [
        ("deploy with xoxb...", False),
        ("next", False),
        ("last", True),
    ]
    assert [str(problem).partition(",")[0] for problem in parsed.problems] == [
        "BACKLOG.md:6:15: looks like a Slack token (xoxb...)",
        "BACKLOG.md:8:14: looks like a Slack token (xoxb...)",
    ]


def test_a_line_with_a_secret_cannot_be_added():
    word = EXAMPLES["a Google API key"][0]
    with pytest.raises(NotAnItem, match=re.escape("looks like a Google API key (AIza...)")) as refused:
        add_item("## Ready\n", f"call it with {word}", Lane.READY, Policy())
    assert word not in str(refused.value)
