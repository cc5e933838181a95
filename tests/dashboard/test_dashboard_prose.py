"""Texts of people and agents are text."""

import time

import pytest

from dashboard import prose


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "![x](javascript:alert(1))",
        "<javascript:alert(1)>",
        "[x](//evil.example)",
        '[x](https://a.b "t\\" onmouseover=\\"alert(1)")',
        "```\n</code></pre><script>alert(1)</script>\n```",
        "[a]: javascript:alert(1)\n\n[a]",
    ],
)
def test_nothing_in_a_description_is_more_than_text(text: str) -> None:
    shown = str(prose.markdown(text)).lower()
    assert "<script" not in shown
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert 'href="data' not in shown
    assert 'href="vb' not in shown
    assert 'href="//' not in shown
    assert ' onmouseover="' not in shown.replace("&quot;", "")


def test_a_link_tells_nobody_where_it_comes_from() -> None:
    assert prose.markdown("[x](https://a.b/c)") == '<p><a href="https://a.b/c" rel="noopener noreferrer">x</a></p>\n'
    assert 'href="docs/x.md"' in prose.markdown("[x](docs/x.md)")


def test_pictures_become_links_so_that_nothing_is_loaded() -> None:
    assert (
        prose.markdown("![a](https://a.b/c.png)")
        == '<p><a href="https://a.b/c.png" rel="noopener noreferrer">a</a></p>\n'
    )


def test_a_table_has_no_style() -> None:
    shown = prose.markdown("| a | b |\n|:-:|--:|\n| 1 | 2 |\n")
    assert "<table>" in shown
    assert "style" not in shown


@pytest.mark.parametrize("piece", ["[", "*", "_a", "`", "> ", "- ", "![](", "<a ", "|a", "&", "\\"])
def test_a_hundred_kilobytes_of_anything_are_laid_out_in_time(piece: str) -> None:
    begin = time.process_time()
    shown = prose.markdown(piece * (128 * 1024 // len(piece)))
    assert len(shown) >= 32 * 1024
    assert time.process_time() - begin < 5


def test_signs_that_turn_text_round_are_seen() -> None:
    assert prose.plain("\u202egpj.exe") == "‹U+202E›gpj.exe"


def test_a_diff_shows_what_changed_with_what_stands_around_it() -> None:
    lines = prose.diff("title: a\nx\ny\nz\n", "title: b\nx\ny\nz\n")
    assert [(line.sign, line.text) for line in lines] == [
        ("…", ""),
        ("-", "title: a"),
        ("+", "title: b"),
        (" ", "x"),
        (" ", "y"),
    ]
    assert prose.diff("same\n", "same\n") == ()
