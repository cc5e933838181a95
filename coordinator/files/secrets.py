"""Tokens and keys that must not stand in a repository: what they look like, and how a text is shown without them.

Only what can be told by a distinctive beginning and its length, so that prose is left alone; whatever is found is never
repeated, only its first characters. This module knows no kind of file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: So many characters of a secret are shown at most.
SHOWN_CHARS = 4
#: Keys whose value is a secret wherever people may choose the keys (folded: lower case, ``_`` for ``-``).
KEYS = frozenset(
    "password passwd secret client_secret secret_key api_key apikey access_key private_key token access_token "
    "auth_token api_token".split()
)
#: What stands for a secret and is none: nothing, a switch, or the name of a variable.
_STANDS_FOR = re.compile(
    r"(?:|~|null|true|false|none|\$\w{1,99}|\$?\{\{?[^{}]{1,99}\}?\}|<[^<>]{1,99}>)\Z", re.IGNORECASE
)


def _mixed(word: str) -> bool:
    """Tell whether a word has capitals, small letters and digits, as random ones have and names hardly ever."""
    return any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdecimal, word))


def _cased(word: str) -> bool:
    return any(map(str.isupper, word)) and any(map(str.islower, word))


def _any(_word: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of secret: how it begins (searched first, because that is fast), all of it, and a last check."""

    what: str
    begins: tuple[str, ...]
    pattern: re.Pattern[str]
    random: Callable[[str], bool] = _any


def _kind(what: str, begins: str, rest: str, random: Callable[[str], bool] = _any) -> _Kind:
    """Return a kind whose words begin as one of ``begins``, not inside another word, and go on as ``rest``."""
    words = tuple(begins.split())
    start = "|".join(map(re.escape, words))
    return _Kind(what, words, re.compile(rf"(?<![A-Za-z0-9_-])(?:{start}){rest}", re.ASCII), random)


#: Every pattern takes linear time: what is repeated is one class of characters with nothing after it.
KINDS = (
    _kind("an AgentCom token", "ac_", r"[\w-]{43}(?![\w-])", _cased),
    _kind("a GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{36,}"),
    _kind("a GitHub token", "github_pat_", r"\w{40,}"),
    _kind("a GitLab token", "glpat- glrt- gldt- glptt- glcbt-", r"[\w.-]{20,}"),
    _kind("a Slack token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xapp-", r"[A-Za-z0-9-]{16,}"),
    _kind("an AWS access key", "AKIA ASIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _kind("a Google API key", "AIza", r"[\w-]{35,}"),
    _kind("an Anthropic key", "sk-ant-", r"[\w-]{20,}"),
    _kind("an OpenAI key", "sk-", r"[\w-]{20,}", _mixed),
    _kind("an npm token", "npm_", r"[A-Za-z0-9]{36,}"),
    _kind("a PyPI token", "pypi-", r"[\w-]{50,}", _mixed),
    _kind("a Stripe key", "sk_live_ rk_live_", r"[A-Za-z0-9]{16,}"),
    _kind("a Hugging Face token", "hf_", r"[A-Za-z0-9]{34,}", _cased),
    _Kind(
        "a private key",
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\n){1,40}"
            r"(?:[A-Za-z0-9+/=]{16,}|[A-Z][A-Za-z-]{1,20}:)"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in a text: what it is, and the offsets of its first character and of the one after its last."""

    what: str
    start: int
    end: int


def find(text: str) -> list[Secret]:
    """Return the secrets in a text in their order; where two kinds fit, the one that stands first in the table."""
    found: list[Secret] = []
    for kind in KINDS:
        if any(begin in text for begin in kind.begins):
            found += (
                Secret(kind.what, *match.span()) for match in kind.pattern.finditer(text) if kind.random(match[0])
            )
    found.sort(key=lambda one: one.start)
    return list(_apart(found))


def _apart(found: list[Secret]) -> Iterator[Secret]:
    end = 0
    for one in found:
        if one.start >= end:
            yield one
            end = one.end


def hide(text: str) -> str:
    """Return a text with the first characters of each secret only."""
    parts: list[str] = []
    at = 0
    for one in find(text):
        parts += (text[at : one.start], beginning(text[one.start : one.end]))
        at = one.end
    return "".join((*parts, text[at:])) if parts else text


def beginning(secret: str) -> str:
    """Return as much of a secret as may be shown."""
    return f"{secret[:SHOWN_CHARS]}..."


def names_a_secret(key: str, value: str) -> bool:
    """Tell whether a key says that its value is a secret, and the value is one rather than a name for it."""
    return key.lower().replace("-", "_") in KEYS and not _STANDS_FOR.match(value.strip())


def advice(what: str) -> str:
    """Say what to do about a secret of one kind."""
    if what == KINDS[0].what:
        return "delete it: the repository holds only its SHA-256; if it was committed, make another one"
    return "delete it: agents get secrets from their own environment; if it was committed, revoke it"
