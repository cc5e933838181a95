"""The block structure of a Markdown text, in time that grows with its length: CommonMark, by markdown-it-py.

Words inside a paragraph are left as they are. This module knows no items and no lanes.
"""

from dataclasses import dataclass, field
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote
from markdown_it.token import Token

#: So many lines are looked at first for the end of a quote, and so many times more whenever it goes on.
_QUOTE_LINES = 4
_QUOTE_GROWTH = 8


@dataclass(slots=True)
class Block:
    """One block with the blocks inside it; ``text`` is the source of a paragraph or heading."""

    kind: str
    opening: Token
    inner: list["Block"] = field(default_factory=list)
    text: str = ""

    @property
    def start(self) -> int:
        """The number of its first line, from 0."""
        return self.opening.map[0] if self.opening.map else 0

    @property
    def end(self) -> int:
        """The number of the line behind its last one."""
        return self.opening.map[1] if self.opening.map else 0


def tokens(text: str) -> list[Token]:
    """Return the tokens of all blocks of a text."""
    return _parser().parse(text)


def tree(text: str) -> list[Block]:
    """Return the outermost blocks of a text; built without recursion."""
    root: list[Block] = []
    stack: list[Block] = []
    for token in tokens(text):
        if token.type == "inline":
            if stack:
                stack[-1].text = token.content
        elif token.nesting == -1:
            stack.pop()
        else:
            block = Block(token.type.removesuffix("_open"), token, text=token.content)
            (stack[-1].inner if stack else root).append(block)
            if token.nesting == 1:
                stack.append(block)
    return root


@cache
def _parser() -> MarkdownIt:
    """CommonMark knows no tables: the rows of one are a paragraph, and begin no list without help."""
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.at("blockquote", _quote, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _quote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a quote as ``blockquote`` does, which goes through the whole text below for every quote in it.

    It is given a few lines. Where the quote ends before they do, it would end there in any case.
    """
    count, most = _QUOTE_LINES, state.lineMax
    while not silent and start + count * _QUOTE_GROWTH < end:
        until = start + count
        before = len(state.tokens)
        state.lineMax = until
        found = blockquote(state, start, until, silent)
        state.lineMax = most
        if not found or state.line < until:
            return found
        del state.tokens[before:]
        state.line = start
        count *= _QUOTE_GROWTH
    return blockquote(state, start, end, silent)
