"""A headless Chromium, and the page before an API whose engine answers by rule: no Ray, no model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from starlette.types import ASGIApp

from tests.live_service import free_port
from tests.services.helpers import FakeEngine, api_app
from tests.tiny_models import make_tiny_llama

ROOT = Path(__file__).parents[2]
_START_TIMEOUT_S = 120
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,1000",
)


@dataclass
class Site:
    """The page at one address, the API at another one; a test may stop the API."""

    url: str
    base_model: Path
    folder: Path  # with `adapters` and `runs`
    engine: FakeEngine
    api: Server


class Server:
    """An application on a port of its own; may be stopped and started."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port
        self.start()

    def start(self) -> None:
        config = uvicorn.Config(self._app, port=self._port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    base_model = make_tiny_llama(folder / "tiny")
    engine, page_port, api_port = FakeEngine(), free_port(), free_port()
    changes: dict[str, Any] = {
        "port": api_port,
        "adapters_dir": folder / "adapters",
        "reports_dir": folder / "runs",
        "deadline_s": 30,
        "check_timeout_s": 20,
    }
    url = f"http://127.0.0.1:{page_port}"
    with api_app(base_model, engine, **changes) as app:
        api = Server(app, api_port)
        page = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.page_server", str(page_port), str(api_port)], cwd=ROOT
        )
        try:
            await_answer(url)
            yield Site(url, base_model, folder, engine, api)
        finally:
            page.terminate()
            page.wait(30)
            api.stop()


def await_answer(url: str) -> None:
    for _ in range(_START_TIMEOUT_S * 5):
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")


@pytest.fixture(scope="package")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser saves files."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[webdriver.Chrome]:
    """It notes every request and everything that its console says."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.fail("Chromium is missing: deploy/setup.sh --test installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def screen(browser: webdriver.Chrome, *, dark: bool, phone: bool) -> Iterator[None]:
    """As a visitor with this screen and these colours sees it."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    width, height = (390, 844) if phone else (1280, 1000)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def hosts_asked(browser: webdriver.Chrome) -> set[str]:
    """Every host that the page has sent a request to so far."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))  # type: ignore[no-untyped-call]
    urls = (
        urlsplit(message["params"]["request"]["url"])
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    )
    return {url.netloc for url in urls if url.scheme.startswith("http")}
