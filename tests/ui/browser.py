"""A person at the real page: Debian's Chromium, driven through what a screen reader would announce."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
API = "model-ops/api/v1"
HOME = "plugin/model-ops"
"""Both below the address of Airflow's UI, which may have a path of its own."""
WIDTH, NARROW = 1280, 390
PATIENCE = 90_000
"""Milliseconds that a busy machine may need for a page of Airflow."""
DONE = 180_000
"""Milliseconds until a DAG run has done what was asked for."""
_HEIGHT = 900
_AXE = Path(__file__).resolve().parents[2] / "airflow_model_ops/plugin/www/node_modules/axe-core/axe.min.js"
_FRAMED = "main-content"
"""How Airflow marks what is within its own frame."""
_GRAVE = frozenset({"serious", "critical"})
Theme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser without a window. Nothing is downloaded: the browser is the system's own."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container's root has not.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that the page made."""

    at: float
    """Seconds since the epoch; once it is answered by the browser's word: a busy machine tells us of several at once."""
    method: str
    path: str


@dataclass(kw_only=True)
class Person:
    """Somebody with a browser of their own, on one tab.

    :param page: The tab.
    :param asked: What the page has asked of our API.
    :param script_errors: What no script has caught.
    """

    page: Page
    asked: list[Asked] = field(default_factory=list)
    script_errors: list[str] = field(default_factory=list)
    _under_way: dict[Request, int] = field(default_factory=dict)
    """With their places among what was asked."""

    def __post_init__(self) -> None:
        self.page.on("request", self._note)
        self.page.on("requestfinished", self._note_end)
        self.page.on("requestfailed", self._note_end)
        self.page.on("pageerror", lambda error: self.script_errors.append(f"{error}\n{error.stack or ''}"))

    def signs_in(self, username: str, password: str) -> None:
        """Fill in Airflow's own form."""
        self.page.goto("")
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Browse")).to_be_visible()

    def opens_by_menu(self) -> None:
        """Go to the list of models as a newcomer does."""
        self.page.get_by_role("button", name="Browse").click()
        self.page.get_by_role("menuitem", name="Model Ops").click()
        self._sees_list()

    def opens_list(self) -> None:
        """Go to the list of models by its address."""
        self.page.goto(HOME)
        self._sees_list()

    def opens_model(self, model: str, *, tab: str | None = None) -> None:
        """Go to a model's page by its address; with a tab's title, to that tab as a reader does."""
        self.page.goto(f"{HOME}/models/{model}")
        expect(self.page.get_by_role("heading", name=model, exact=True, level=1)).to_be_visible()
        expect(self.page.get_by_role("tablist")).to_be_visible()
        if tab is not None:
            self.turns_to(tab)

    def turns_to(self, tab: str) -> Locator:
        """Choose a tab of the model's page and return what it shows."""
        self.page.get_by_role("tab", name=tab, exact=True).click()
        panel = self.page.get_by_role("tabpanel", name=tab, exact=True)
        expect(panel).to_be_visible()
        return panel

    def does(self, action: str, *, about: str, confirm: str, reason: str, version: str | None = None) -> None:
        """Press a button of the open page of a model, that of a version if one is given, say why, and wait until it is done.

        :param about: The model, as the dialog names it.
        :param confirm: What stands on the button that does it.
        """
        button = action if version is None else f"{action}: {version}"
        self.page.get_by_role("button", name=button, exact=True).first.click()
        dialog = self.page.get_by_role("dialog", name=f"{action}: {about}")
        dialog.get_by_role("textbox", name="Reason").fill(reason)
        dialog.get_by_role("button", name=confirm, exact=True).click()
        expect(dialog.get_by_text(f"{confirm}: done")).to_be_visible(timeout=DONE)
        dialog.get_by_role("button", name="Close").first.click()

    @property
    def tabs(self) -> list[str]:
        """The titles of the model page's tabs."""
        return self.page.get_by_role("tab").all_inner_texts()

    def asks(self, method: str, path: str, *, body: object = None) -> tuple[int, Any]:
        """Ask our API from within the page, as a script of Airflow's own page can; return status and answer."""
        answer = self.page.evaluate(
            """async ([method, path, body]) => {
                const how = {method, credentials: "same-origin", headers: {"Content-Type": "application/json"}};
                if (body !== null) how.body = JSON.stringify(body);
                const answer = await fetch(new URL(path, document.baseURI), how);
                const text = await answer.text();
                let json = null;
                try { json = JSON.parse(text); } catch { json = text; }
                return [answer.status, json];
            }""",
            [method, f"{API}{path}", body],
        )
        return int(answer[0]), answer[1]

    @property
    def has_its_answers(self) -> bool:
        """Whether no question to our API is under way."""
        self.page.evaluate("null")  # lets the browser tell what has happened meanwhile
        return not self._under_way

    def looks_away(self) -> None:
        """Make the tab a hidden one, as the browser tells a page whose tab is not in front."""
        self._is_seen(False)

    def looks_again(self) -> None:
        """Bring the tab to the front again."""
        self._is_seen(True)

    def grave_faults(self) -> list[str]:
        """Return what axe finds on the open page that keeps somebody from using it; Airflow's own frame is left out."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        dialog = self.page.get_by_role("dialog")
        ours = dialog if dialog.count() else self.page.get_by_test_id(_FRAMED)
        found = ours.evaluate("ours => axe.run(ours, {resultTypes: ['violations']})")
        return [
            f"{fault['impact']} {fault['id']}: {node['html'][:300]}; {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in _GRAVE
            for node in fault["nodes"]
        ]

    def is_pictured(self, path: Path) -> None:
        """Keep a screenshot of all that one can scroll to."""
        framed = self.page.get_by_test_id(_FRAMED)
        size = self.page.viewport_size
        assert size is not None
        height = framed.evaluate(
            "ours => ours.scrollHeight + document.documentElement.clientHeight - ours.clientHeight"
        )
        self.page.set_viewport_size({**size, "height": max(size["height"], int(height))})
        self.page.screenshot(path=path, full_page=True)
        self.page.set_viewport_size(size)

    def is_wider_than_the_screen(self) -> bool:
        """Whether one has to scroll sideways to read the page."""
        framed = self.page.get_by_test_id(_FRAMED)
        return bool(
            framed.evaluate("ours => [ours, document.documentElement].some(one => one.scrollWidth > one.clientWidth)")
        )

    def _sees_list(self) -> None:
        expect(self.page.get_by_role("heading", name="Model Ops", level=1)).to_be_visible()

    def _is_seen(self, seen: bool) -> None:
        self.page.evaluate(
            """seen => {
                Object.defineProperty(document, "visibilityState", {value: seen ? "visible" : "hidden", configurable: true});
                Object.defineProperty(document, "hidden", {value: !seen, configurable: true});
                document.dispatchEvent(new Event("visibilitychange"));
                if (seen) window.dispatchEvent(new Event("focus"));
            }""",
            seen,
        )

    def _note(self, request: Request) -> None:
        path = urlsplit(request.url).path
        if API in path:
            self._under_way[request] = len(self.asked)
            self.asked.append(Asked(at=time.time(), method=request.method, path=path.split(API, 1)[1]))

    def _note_end(self, request: Request) -> None:
        place = self._under_way.pop(request, None)
        if place is not None and (began := request.timing["startTime"]) > 0:
            self.asked[place] = replace(self.asked[place], at=began / 1000)


class Profiles:
    """The browser's profiles, one for each user and look: a page of Airflow is fetched once for all tests.

    :param base_url: Of Airflow's UI.
    :param password: Gives a user's password.
    """

    def __init__(self, browser: Browser, *, base_url: str, password: Callable[[str], str]) -> None:
        self._browser = browser
        self._base_url = f"{base_url}/"
        self._password = password
        self._profiles: list[BrowserContext] = []
        self._sessions: dict[str, Any] = {}
        self._open: dict[tuple[str, Theme, int], BrowserContext] = {}

    def tab(self, user: str | None, *, theme: Theme, width: int) -> Person:
        """Open a tab for a user, who signs in by Airflow's own form the first time; ``None``: a fresh profile of nobody."""
        if user is None:
            return Person(page=self._profile(None, theme=theme, width=width).new_page())
        if user not in self._sessions:
            context = self._profile(None, theme="light", width=WIDTH)
            Person(page=context.new_page()).signs_in(user, self._password(user))
            self._sessions[user] = context.storage_state()
        key = (user, theme, width)
        if key not in self._open:
            self._open[key] = self._profile(self._sessions[user], theme=theme, width=width)
        return Person(page=self._open[key].new_page())

    def close(self) -> None:
        """Close what is open."""
        for context in self._profiles:
            context.close()

    def _profile(self, session: Any, *, theme: Theme, width: int) -> BrowserContext:
        context = self._browser.new_context(
            base_url=self._base_url,
            storage_state=session,
            color_scheme=theme,
            viewport={"width": width, "height": _HEIGHT},
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-GB",
        )
        context.set_default_timeout(PATIENCE)
        self._profiles.append(context)
        return context
