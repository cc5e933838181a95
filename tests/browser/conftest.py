"""The browser. Without playwright or a Chromium these tests are skipped, and say so.

``AGENTCOM_CHROMIUM`` names a Chromium that is not on the path.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def _chromium() -> str | None:
    named = os.environ.get("AGENTCOM_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make browser` does it")
    path = _chromium()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in AGENTCOM_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        # a browser that runs as root, as in a container, has no sandbox of its own
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-dev-shm-usage"])
        yield running
        running.close()
