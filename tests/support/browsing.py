"""A page of a real browser before a real hub, and everything that may be wrong with it.

``AGENTCOM_SHOTS`` names the folder for screenshots.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.demo.stage import Stage

_TESTS = Path(__file__).resolve().parents[1]
#: Longest wait for something that a page must show, in ms.
SOON_MS = 60_000
SHOTS = Path(os.environ.get("AGENTCOM_SHOTS", _TESTS.parent / ".screenshots"))
_AXE = (_TESTS / "browser" / "vendor" / "axe.min.js").read_text(encoding="utf-8")


@dataclass
class Visit:
    """One page of a browser, and everything that was wrong with it."""

    page: Any
    base: str
    said: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)

    def note(self, response: Any) -> None:
        if "content-security-policy" not in response.headers:
            self.bare.append(response.url)

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)
        self.page.wait_for_load_state("load")

    def axe(self) -> list[str]:
        """Return what axe finds: one line for each rule that is broken."""
        self.page.evaluate(_AXE)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {node['target']}: {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"][:3]
        ]

    def shot(self, name: str, *, whole: bool = False) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)

    @property
    def overflow(self) -> int:
        """How many pixels of the page stand beyond its width."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def visiting(browser: Any, base: str, **context: Any) -> Iterator[Visit]:
    """Open a page; at its end nothing may be in the console, nothing have left this host, no answer be without CSP."""
    with browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **context}) as opened:
        opened.set_default_timeout(SOON_MS)
        visit = Visit(opened.new_page(), base)
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
        visit.page.on("dialog", lambda dialog: (visit.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        visit.page.on(
            "request", lambda asked: visit.strays.append(asked.url) if not asked.url.startswith(base) else None
        )
        visit.page.on("response", visit.note)
        yield visit
    assert visit.said == [], visit.said
    assert visit.strays == []
    assert visit.bare == []


def base_of(stage: Stage) -> str:
    return f"http://127.0.0.1:{stage.port}"


@contextmanager
def staged(folder: Path, *, delay: float = 0.2) -> Iterator[Stage]:
    """Give a repository with two agents and a hub that runs; the sidecars are not started yet."""
    stage = Stage(folder, delay=delay)
    try:
        stage.open()
        for name in ("loash", "gcu"):
            stage.add_agent(name)
        stage.start_hub()
        yield stage
    finally:
        stage.close()
