"""The blocks of a text are those of CommonMark, and cost no more than the text is long."""

import pytest
from markdown_it import MarkdownIt

from coordinator.files import blocks, limits


def standard(text: str) -> list[tuple]:
    return [shape(token) for token in MarkdownIt("commonmark").parse(text)]


def shape(token) -> tuple:
    return token.type, token.nesting, token.level, token.map, token.markup, token.content


@pytest.mark.parametrize(
    "text",
    [
        "> a\n" * 40 + "lazy\n" * 40 + "> b\n" * 300 + "\nc\n",
        "a\n> ## b\nc\n" * 200,
        "> - a\n>   > b\nlazy\n\n- c\n  > d\n  > e\n" * 50,
        ">>>>>>>>>>>> a\nb\n" * 60,
        "> ```\n" + "> x\n" * 200 + "y\n",
        "1. a\n   > b\n2. c\n" * 60,
        "> [a]: b\n" * 50 + "c\n",
    ],
    ids=lambda text: text[:8],
)
def test_quotes_end_where_they_end_in_commonmark(text):
    assert [shape(token) for token in blocks.tokens(text)] == standard(text)


QUOTES = ["a\nb\n> ## c\n", "> a\nb\n", ">>>> a\nb\n", "> a\n> b\n> > ## c\n", "- a\n  b\n  > ## c\n"]


@pytest.mark.slow
@pytest.mark.parametrize("some", QUOTES, ids=lambda some: some[:8])
def test_as_many_quotes_as_a_file_may_hold_are_read_in_one_pass(some):
    lines = limits.BACKLOG_LINES - 100
    tree = blocks.tree(some * (lines // some.count("\n")))
    assert max(block.end for block in tree) > lines - 10
