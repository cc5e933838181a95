"""The dashboard as a person meets it: a real Chromium before a real hub."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browsing import base_of, staged, visiting
from support.sights import HOSTILE
from support.waiting import until

from coordinator.core.guards import too_many_new
from coordinator.demo.stage import Stage

pytestmark = pytest.mark.browser

PAGES = (
    "/dashboard",
    "/dashboard/tasks",
    "/dashboard/tasks?view=all&sort=title",
    "/dashboard/agents",
    "/dashboard/agent/loash",
    "/dashboard/backlog",
    "/dashboard/activity",
    "/dashboard/problems",
    "/dashboard/task/publish",
    "/dashboard/task/release-notes",
    "/dashboard/task/t-none",
)
DARK, LIGHT = {"color_scheme": "dark"}, {"color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
LOOKS = {"light": LIGHT, "dark": DARK, "phone": {**LIGHT, **PHONE}, "phone-dark": {**DARK, **PHONE}}
SCRIPTLESS = {"java_script_enabled": False}


def want(stage: Stage, backlog: str, **files: str) -> None:
    """Let the person write a backlog and task files, and commit them."""
    (stage.repo / "BACKLOG.md").write_text(backlog, encoding="utf-8")
    for name, text in files.items():
        (stage.repo / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")
    stage.commit("Want something", "BACKLOG.md", "tasks")
    if too_many_new(backlog.count("- [ ]")):
        stage.agentcom("confirm")
    stage.agentcom("reconcile", "--wait", "120")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A hub at work: one agent connected, tasks of every kind, one wrong file, something not committed."""
    with staged(tmp_path_factory.mktemp("busy") / "stage", delay=0.1) as stage:
        stage.sidecars["loash"].settings["runtime"]["script"] = ["ok", "fail", "ok"]
        stage.start_sidecar("loash")
        stage.agents()
        titles = ("Fix the login", "Renew the certificate !high", "Port the parser #code", "Write the guide #docs")
        lines = [f"- [ ] {title}" for title in titles]
        lines += ["- [ ] Measure in COBOL needs:cobol", "- [ ] Tidy the messages @gcu"]
        review = "title: Draft the release notes\nreview: required\ndescription: |\n  ## What\n\n  Two *pages*.\n"
        want(
            stage,
            "# Backlog\n\n## Inbox\n\n- [ ] An idea\n\n## Ready\n\n" + "\n".join(lines) + "\n",
            **{
                "release-notes": review,
                "publish": "title: Publish\ndepends_on: [release-notes]\n",
                "wrong": "titel: x\n",
            },
        )
        settle(stage, lambda tasks: sum(task["status"] == "done" for task in tasks) >= 3)
        (stage.repo / "BACKLOG.md").write_text("# Backlog\n\n## Ready\n\n- [ ] Not committed\n", encoding="utf-8")
        yield stage


def settle(stage: Stage, enough: Any) -> None:
    until(lambda: enough(stage.tasks()), say=stage.tasks)


# --- looks


@pytest.mark.parametrize("look", sorted(LOOKS))
@pytest.mark.parametrize("path", PAGES)
def test_each_page_opens_in_every_look_and_axe_finds_nothing(browser: Any, busy: Stage, path: str, look: str) -> None:
    with visiting(browser, base_of(busy), **LOOKS[look]) as visit:
        visit.go(path)
        visit.page.locator("main").wait_for()
        name = re.sub(r"\W+", "-", path.removeprefix("/dashboard").strip("/")) or "overview"
        visit.shot(f"{name}-{look}", whole="phone" in look)
        assert visit.axe() == []
        assert visit.overflow <= 0
        if path.endswith("t-none"):
            visit.said[:] = [text for text in visit.said if "404" not in text]


def test_a_task_page_says_why_it_waits_and_which_command_helps(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy)) as visit:
        visit.go("/dashboard")
        visit.page.get_by_role("link", name="Publish").first.click()
        visit.page.get_by_text("It waits for release-notes").wait_for()
        assert visit.page.get_by_text("agentcom task hold publish").count() == 1
        assert visit.axe() == []
        visit.shot("task-light")


# --- life


def test_tasks_move_to_done_without_a_reload(browser: Any, tmp_path: Path) -> None:
    with staged(tmp_path / "stage", delay=0.3) as stage, visiting(browser, base_of(stage), **LIGHT) as visit:
        visit.go("/dashboard")
        visit.page.get_by_text("There is nothing to do yet").wait_for()
        visit.shot("overview-0-tasks-light")
        visit.page.evaluate("window.same = true")
        stage.write_backlog(6)
        visit.page.get_by_text("6 tasks wait, and no agent is connected.").first.wait_for()
        for agent in stage.sidecars:
            stage.start_sidecar(agent)
        visit.page.locator("#h-working + ul >> text=working").first.wait_for()
        visit.shot("overview-working-light")
        visit.page.locator(".figures li", has_text="done in the last hour").get_by_text("6", exact=True).wait_for()
        assert visit.page.evaluate("window.same") is True
        visit.shot("overview-done-light")


def test_a_lists_page_follows_without_a_reload(browser: Any, tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage, visiting(browser, base_of(stage)) as visit:
        visit.go("/dashboard/tasks")
        visit.page.get_by_text("No open task").wait_for()
        visit.page.evaluate("window.same = true")
        stage.write_backlog(2)
        visit.page.get_by_text("Write the number 2 to test-output-2.txt").wait_for()
        assert visit.page.evaluate("window.same") is True


def test_a_lost_connection_is_seen_and_comes_back(browser: Any, tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage, visiting(browser, base_of(stage)) as visit:
        visit.go("/dashboard")
        visit.page.get_by_text("There is nothing to do yet").wait_for()
        stage.kill_hub()
        visit.page.get_by_text("The connection to the hub is lost.").wait_for()
        visit.shot("connection-lost")
        stage.start_hub()
        stage.write_backlog(1)
        visit.page.get_by_text("Write the number 1 to test-output-1.txt").first.wait_for()
        visit.page.locator("#link").wait_for(state="hidden")
        visit.said[:] = [text for text in visit.said if "ERR_" not in text and "htmx:sse:error" not in text]


def test_without_scripts_a_page_says_the_same_and_refreshes_itself(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy), **SCRIPTLESS) as visit:
        visit.go("/dashboard")
        visit.page.get_by_text("Draft the release notes").first.wait_for()
        assert visit.page.locator(".copy:visible").count() == 0
        assert visit.page.locator('noscript meta[http-equiv="refresh"], meta[http-equiv="refresh"]').count() == 1


# --- hands


def test_filters_and_order_are_in_the_address(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy)) as visit:
        visit.go("/dashboard/tasks?view=all")
        visit.page.get_by_label("State").select_option("done")
        visit.page.wait_for_url("**state=done**")
        rows = visit.page.locator("table.tasks tbody tr")
        assert rows.count() >= 3
        assert rows.count() == visit.page.locator("table.tasks .tag.good").count()
        visit.page.get_by_role("link", name="Clear").click()
        visit.page.get_by_label("Search").fill("parser")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url("**q=parser**")
        assert rows.count() == 1
        visit.page.get_by_role("link", name="Clear").click()
        visit.page.locator("th >> text=Task").click()
        visit.page.wait_for_url("**sort=title**")
        titles = visit.page.locator("table.tasks a.title").all_inner_texts()
        assert titles == sorted(titles, key=str.casefold)


def test_a_command_is_copied_by_its_button(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy), permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.go("/dashboard/task/release-notes")
        visit.page.get_by_role("button", name="Copy: agentcom task approve release-notes").click()
        visit.page.get_by_text("Copied").wait_for()
        assert visit.page.evaluate("navigator.clipboard.readText()") == "agentcom task approve release-notes"


def test_everything_is_reached_by_the_keyboard(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy)) as visit:
        visit.go("/dashboard")
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.className") == "skip"
        seen = set()
        for _ in range(120):
            visit.page.keyboard.press("Tab")
            seen.add(visit.page.evaluate("document.activeElement.textContent.trim()"))
        assert {"Overview", "Tasks", "Problems 2", "Publish", "Copy", "Everything that ended"} <= {
            " ".join(text.split()) for text in seen
        }


def test_who_wants_no_motion_gets_none(browser: Any, busy: Stage) -> None:
    with visiting(browser, base_of(busy), reduced_motion="reduce") as visit:
        visit.go("/dashboard")
        moving = (
            "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
        )
        assert visit.page.evaluate(moving) == 0


# --- hostile and many


def test_hostile_titles_are_text_everywhere(browser: Any, tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage:
        files = {}
        for number, title in enumerate(HOSTILE):
            quoted = title.replace("\\", "\\\\").replace('"', '\\"').replace("\u202e", "\\u202e")
            body = (title.replace("\u202e", "") + " [x](javascript:alert(1)) ") * (
                100 * 1024 // (len(title.encode()) + 27)
            )
            files[f"h-{number}"] = f'title: "{quoted}"\nlabels: [a-{number}]\ndescription: |\n  {body}\n'
        want(stage, "# Backlog\n\n## Ready\n\n- [ ] <img src=x onerror=alert(1)> </script>\n", **files)
        for look in ({}, PHONE):
            with visiting(browser, base_of(stage), **look) as visit:
                for path in (*PAGES[:3], "/dashboard/backlog", *(f"/dashboard/task/{name}" for name in files)):
                    visit.go(path)
                    visit.page.locator("main").wait_for()
                    assert visit.overflow <= 0, path
                    assert (
                        visit.page.locator("main img, main script, main iframe, a[href^='javascript:' i]").count() == 0
                    )
                visit.go("/dashboard/tasks")
                assert visit.page.get_by_text("<img src=x onerror=alert(1)>").count() >= 1
                visit.shot(f"hostile-{'phone' if look else 'light'}", whole=bool(look))


def test_five_thousand_tasks_come_in_pages(browser: Any, tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage:
        lines = "\n".join(f"- [ ] Improve part {number}" for number in range(5_000))
        want(stage, f"# Backlog\n\n## Ready\n\n{lines}\n")
        for look in sorted(LOOKS):
            with visiting(browser, base_of(stage), **LOOKS[look]) as visit:
                visit.go("/dashboard")
                visit.page.get_by_text("5,000 tasks wait, and no agent is connected.").first.wait_for()
                visit.shot(f"overview-5000-tasks-{look}", whole=True)
                assert visit.overflow <= 0
        with visiting(browser, base_of(stage), **LIGHT) as visit:
            visit.go("/dashboard/tasks")
            visit.page.get_by_text("1 to 50 of 5,000 tasks").wait_for()
            visit.page.get_by_role("link", name="Next").click()
            visit.page.get_by_text("51 to 100 of 5,000 tasks").wait_for()
            visit.shot("tasks-5000-light")
            visit.go("/dashboard/backlog")
            visit.page.get_by_text("Page 1 of 11").wait_for()


def test_a_clone_shows_the_same_without_a_hub(browser: Any, busy: Stage, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "coordinator", "dashboard", "--repo", str(busy.repo), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            base = process.stdout.readline().split()[-1].removesuffix("/dashboard")
            with visiting(browser, base) as visit:
                for path in PAGES[:-1]:
                    visit.go(path)
                    visit.page.locator(".bottom .asof").wait_for()
                    assert visit.axe() == []
                visit.go("/dashboard/tasks?view=all")
                assert visit.page.get_by_text("Draft the release notes").count() >= 1
                visit.go("/dashboard")
                visit.shot("clone-light")
        finally:
            process.terminate()
