"""Makes the pictures of the documents anew, from a service that runs on the embedded model.

    make demo                                    # in another terminal
    .venv/bin/python docs/images/make.py         # writes docs/images/*.png; --url for another address

Needs Chromium and its driver: `deploy/setup.sh --test` installs them.
"""

from __future__ import annotations

import argparse
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import visibility_of_element_located
from selenium.webdriver.support.ui import WebDriverWait

FOLDER = Path(__file__).parent
SAMPLE = "[data-sample=mountains]"
CAPTIONED = "#result [data-copy]"
SCREENS = {  # name: width, height, dark
    "page": (1280, 900, False),
    "page-dark": (1280, 900, True),
    "page-phone": (390, 844, False),
    "page-phone-dark": (390, 844, True),
}
SHOWN = ("page",)  # in the documents; the others are for whoever looks at the page


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the pictures of the documents anew.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the running service")
    parser.add_argument(
        "--out", type=Path, help="folder for all of them; default: those of the documents, in place"
    )
    options = parser.parse_args()
    with chromium() as browser:
        for name in SCREENS if options.out else SHOWN:
            width, height, dark = SCREENS[name]
            picture = captioned(browser, options.url, width, height, dark=dark)
            ((options.out or FOLDER) / f"{name}.png").write_bytes(picture)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def captioned(browser: webdriver.Chrome, url: str, width: int, height: int, *, dark: bool) -> bytes:
    """PNG of the whole page with one of its samples captioned."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(url)
    patience = WebDriverWait(browser, 120)
    patience.until(visibility_of_element_located((By.CSS_SELECTOR, SAMPLE))).click()
    patience.until(visibility_of_element_located((By.CSS_SELECTOR, CAPTIONED)))
    patience.until(lambda _: browser.execute_script(_SETTLED))  # type: ignore[no-untyped-call]
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")  # type: ignore[no-untyped-call]
    whole = browser.execute_script("return document.documentElement.scrollHeight")  # type: ignore[no-untyped-call]
    clip = {"x": 0, "y": 0, "width": width, "height": max(height, whole), "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return b64decode(shot["data"])


_SETTLED = "return document.getAnimations().every((animation) => animation.playState === 'finished')"

if __name__ == "__main__":
    main()
