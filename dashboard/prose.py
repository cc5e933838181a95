"""Texts of people and agents as HTML that is nothing but text: Markdown, diffs. Pure.

HTML in a description is shown as it was typed, pictures become links, and a link leads to http, https or within these
pages; everything else stays text.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

#: Of a longer description only so much is laid out; the rest follows as plain text.
LAID_OUT = 32 * 1024
_ADDRESS = re.compile(r"https?://|[#/?]|\.{0,2}/|[\w.-]+(?:/|$)", re.IGNORECASE)
_UNSEEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")


class _Renderer(RendererHTML):
    """Headings two steps down, links that tell nobody where they come from, pictures as links."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        return (
            f'<a href="{escape(str(token.attrs.get("src", "")))}" rel="noopener noreferrer">{escape(token.content)}</a>'
        )

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        tokens[idx].attrSet("rel", "noopener noreferrer")
        return self.renderToken(tokens, idx, options, env)

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<p class="heading level-{tokens[idx].tag[1:]}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</p>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<{tokens[idx].tag}>"  # how a column is aligned would be a style, which no page may have

    td_open = th_open


class _Reader(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the name is the library's
        return bool(_ADDRESS.match(url)) and ":" not in url.partition("://")[0] and not url.startswith("//")


_READER = _Reader("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])


@lru_cache(maxsize=256)
def markdown(text: str) -> Markup:
    """Return a description laid out."""
    laid_out, rest = text[:LAID_OUT], text[LAID_OUT:]
    shown = Markup(_READER.render(laid_out))  # noqa: S704 - html is off: everything that is no Markdown is escaped
    if rest:
        shown += Markup('<pre class="plain">{}</pre>').format(rest)
    return shown


def plain(text: str) -> str:
    """Return text whose signs of direction can be seen, so that they turn nothing round."""
    return _UNSEEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff; ``sign`` is +, - or a blank."""

    sign: str
    text: str


def diff(before: str, after: str) -> tuple[Line, ...]:
    """Return what changed from one text to another, with two lines around each change."""
    rows = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]
    return tuple(Line("…", "") if row.startswith("@@") else Line(row[:1], row[1:]) for row in rows)
