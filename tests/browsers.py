"""Chromium for the tests with the marker `browser`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Dialog, Page, Request, expect, sync_playwright

PATIENCE_MS = 300_000  # on however busy a machine
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "these tests need Chromium: apt-get install chromium"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=sandbox, timeout=PATIENCE_MS)
        yield browser
        browser.close()


class Tab:
    """A tab in which one file after the other is opened; it notes what goes wrong in them.

    Chromium compiles a script once for each tab. The plotting library takes several seconds, so tests share a tab.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        self._page = context.new_page()
        self._size = self._page.viewport_size
        self._file = ""
        self._faults: list[str] = []
        self._page.on("console", lambda message: self._faults.append(f"{message.type}: {message.text}"))
        self._page.on("pageerror", lambda error: self._faults.append(str(error)))
        self._page.on("dialog", self._dismiss)
        self._page.on("request", self._check_request)

    def open(self, file: Path) -> Page:
        """Open a file, in light colors and without the state of the page before it."""
        self._file = file.as_uri()
        assert self._size is not None
        self._page.set_viewport_size(self._size)
        self._page.emulate_media(color_scheme="light", media="screen")
        self._page.goto(self._file)
        return self._page

    def faults(self) -> list[str]:
        """What the pages have reported and requested since the last call: messages, errors, dialogs and addresses."""
        found, self._faults = self._faults, []
        return found

    def _dismiss(self, dialog: Dialog) -> None:
        self._faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _check_request(self, request: Request) -> None:
        if request.url != self._file and not request.url.startswith(("data:", "blob:")):
            self._faults.append(request.url)
