"""Hypothesis strategies for BACKLOG.md as people write it, spoil it, and attack with it."""

from hypothesis import strategies as st

from support.hostile import LINE_ENDS, ODD, encoded, lines_of, mutated

BACKLOG = """\
# Backlog

Some words about it, with `code` and a [link](https://example.org/a_(b)).

<!--
- [ ] no item
-->

## Inbox

- An idea
- [ ] Another one 🚀 #someday

## Ready

- [ ] (A) **Fix the login** - it fails on Safari #bug !high @loash needs:python,review depends:t-k3m9q2xa due:2026-12-01
  More about it, over
  two lines.

  ```yaml
  - [ ] no item either
  ```

  - [ ] it works on Safari
  - [x] a test says so
    - deeper
  - a nested bullet
- [ ] Write docs: the page about `files` timeout:30m review:required <!-- t-a1b2c3d4 -->
1. A numbered one P1
2) Another numbered one
* [x] Ticked
+ [-] Struck

| a | b |
|---|---|
| - [ ] c | d |

> - [ ] quoted

### Below Ready

- [/] Begun repo:app base:main kind:note

In Progress
-----------

- ✅ Done by emoji
- [ ] Somebody is at it

## Done

- [x] Shipped
"""
_HEADINGS = [
    *lines_of("""
# Backlog
## Ready
## Ready
## Ready
## Inbox
## 🚀 Ready
### Sub
## In-Progress:
## in progress ##
## Done
##Ready
#
## Someday
####### x
## `Ready`
## [Ready](x)
  ## Ready
## Ready <!-- x -->
> ## Ready
"""),
    "Ready\n---",
    "To do\n=====",
    "\t## Ready",
    "## R\u0130eady",
]
_OTHERS = [
    *r"""
``` ~~~ ```yaml ```` ~~~~ <!-- --> <!-->x --- *** === > >x | <div> </div> <script> <pre> <![CDATA[ <?x \ & : [x]:
- - [ ] [ ] + - [x] text
""".split(),
    *lines_of("""
    - [ ] code
    code
  - [ ] nested
  - nested <!-- t-deep -->
    - deeper
    - [x] deeper
 text below
  text below
  * x
  1. x
->- x
- # x
-     code
| a | b |
|---|---|
| - [ ] a |
> - [ ] quoted
[a]: https://x 't'
<!-- t-a1b2c3d4 -->
  <!-- t-a1b2c3d4 -->
<!-- open
closed -->
- [ ]
- - - a
1. 1. a
- [x]
* * *
9999999999. x
- ```
  ```
- <!-- open
- | a |
  <details>
"""),
    *("", "", "", " ", "- ", "- [ ] "),
    *("\t", "\t- tab", "\xa0", "\u2028", "\x0c", "\x00", "\ufeff"),
    *("x" * 400, "- " + "w " * 3_000, "- " + "ab " * 120, "- [ ] " + "x" * 350),
]
_WORDS = [
    *r"""
#bug #a/b #1 # !high !urgent !x (A) (E) P1 P9 @loash @ @LOASH needs:python needs: needs:a,,b depends:t-1 depends:T
due:2026-12-01 due:x due:9999-99-99 timeout:30m timeout:0s review:required review:no repo:app repo:- base:main kind:note
kind:x timout:3h titel:x https://example.org/?a=b#c <https://x> [a](b) ![a](b) `due:x` `` ` ** **b** __c__ ~~d~~ _e_
<b> &amp; \# \ <!-- --> <!---> [x](due:x) needs:" – — : 🚀
""".split(),
    *lines_of("""
needs:"a b"
due:"a b"
<!-- -->
<!-- t-k3m9q2xa -->
<!-- t-a1b2c3d4 -->
<!-- due:x -->
<!-- t--->
<!-- T-X -->
--> x
- x
a  b
"""),
    *("\t", "e\u0301", "\u202e", "x" * 80, "`" * 40, "[" * 40, "due:x " * 9, "ghp_" + "a1B" * 15, "ac_" + "aB3" * 15),
]
TITLES = (
    "Fix the login",
    "Fix the logins",
    "Write docs",
    "**Bold** start",
    "__Bold__: x",
    "Water the plants",
    "a",
    "",
    "ß",
    "Call\u3000Bo",
    "日本語のタスク",
)


@st.composite
def _item_lines(draw: st.DrawFn) -> str:
    """One list entry as somebody might write it, with a line or two below it."""
    lead = draw(st.sampled_from(["", "", "", "", "", "  ", " ", "   ", "    ", "\t"]))
    bullet = draw(st.sampled_from(["- ", "- ", "- ", "* ", "+ ", "1. ", "2) ", "-", "-\t", "-     "]))
    check = draw(
        st.sampled_from(
            ["[ ] ", "[ ] ", "[ ] ", "", "", "[x] ", "[X] ", "[-] ", "[/] ", "[ ]", "[] ", "[?] ", "✅ ", "❌"]
        )
    )
    title = draw(st.sampled_from(TITLES) | st.sampled_from(_WORDS))
    words = draw(st.lists(st.sampled_from(_WORDS), max_size=3))
    end = draw(
        st.sampled_from(["", "", "", "  ", "\\", "\n  more text", "\n\n  a paragraph", "\n      code", "\nlazy"])
    )
    return f"{lead}{bullet}{check}{' '.join((title, *words))}{end}"


_backlog_lines = st.one_of(
    _item_lines(),
    _item_lines(),
    st.sampled_from(_HEADINGS),
    st.sampled_from(_OTHERS),
    st.text("-*+[]x() #!@:`<>|~\n\t ab1*_", max_size=30),
    st.text(max_size=12),
)
_pieces = st.one_of(st.sampled_from(_WORDS), st.sampled_from(_OTHERS), st.sampled_from(ODD), _item_lines())
#: What somebody might want to add as one line.
titles = st.lists(st.sampled_from(TITLES) | st.sampled_from(_WORDS), max_size=4).map(" ".join)
#: Texts of a BACKLOG.md, with line feeds.
texts = st.one_of(
    st.builds(
        "{}{}".format,
        st.sampled_from(["", "## Ready\n", "## Ready\n"]),
        st.lists(_backlog_lines, max_size=12).map("\n".join),
    ),
    st.builds(
        "{}{}\n".format, st.sampled_from(["", "## Ready\n"]), st.lists(_backlog_lines, max_size=30).map("\n".join)
    ),
    mutated(BACKLOG, _pieces),
)
#: The same as files.
files = st.one_of(
    st.builds(encoded, texts, st.sampled_from(LINE_ENDS), st.integers(0, 9).map(lambda n: n == 0)),
    st.builds(encoded, texts, st.sampled_from(LINE_ENDS), st.just(False)),
    st.binary(max_size=60),
)


#: Texts of little but quotes, and what ends them.
quotes = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(["> ", ">", "> > ", ">>> ", "", "", "   > ", "    > ", "- > ", "  > ", ">\t", "> - "]),
        st.sampled_from(["a", "a", "", "## a", "```", "- a", "2) a", "<div>", "---", "===", "[a]: b", "    a", "<!--"]),
    ),
    max_size=80,
).map("\n".join)
#: A few lines, what stands between them, and how many bytes they shall become.
repetitions = st.tuples(
    st.lists(_backlog_lines, min_size=1, max_size=3),
    st.sampled_from(["\n", "\n", "", " ", "\n\n"]),
    st.sampled_from([20_000, 60_000, 60_000, 250_000]),
)


def over_and_over(lines: list[str], between: str, size: int) -> bytes:
    """Return a BACKLOG.md that says the same again and again."""
    unit = "".join(line + between for line in lines) or "x"
    return b"## Ready\n" + (unit * (size // len(unit) + 1)).encode("utf-8", "replace")[:size]
