"""No finding of axe, on a desktop and a phone, in light and dark, in every state of the page."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.conftest import Site, screen
from tests.browser.test_page import await_one, opened, turn_to
from tests.services.helpers import CIRCLE, TRUNCATED
from tests.services.test_page import report

pytestmark = pytest.mark.browser


def findings(page: webdriver.Chrome) -> list[str]:
    page.execute_script("document.getAnimations().forEach((animation) => animation.finish())")
    return [
        f"{found['impact']} {found['id']}: {node['html']}"
        for found in Axe().run(page)["violations"]
        for node in found["nodes"]
    ]


def fits(page: webdriver.Chrome) -> bool:
    """Nothing makes the page wider than the screen."""
    return bool(page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(
    browser: webdriver.Chrome, site: Site, tmp_path: Path, dark: bool, phone: bool
) -> None:
    path = site.folder / "runs" / "axe" / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report("mine")))
    found: dict[str, list[str]] = {}
    site.engine.says = "A black circle in a red square on a white ground"  # true, false and undecidable
    with screen(browser, dark=dark, phone=phone):
        page = opened(browser, site.url)
        found["start"] = findings(page)
        for name, content in (("captioned", CIRCLE), ("refused", TRUNCATED)):
            (tmp_path / f"{name}.svg").write_text(content)
            page.find_element(By.CSS_SELECTOR, "#file input").send_keys(str(tmp_path / f"{name}.svg"))
            await_one(page, "#picture .name", name)
            await_one(page, "#result mark.undecidable" if name == "captioned" else "#result .refusal")
            found[name] = findings(page)
        await_one(page, "#options button").click()
        await_one(page, "#again")
        found["options"] = findings(page)
        turn_to(page, "Many files")
        with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
            archive.writestr("good.svg", CIRCLE)
            archive.writestr("bad.svg", TRUNCATED)
        page.find_element(By.CSS_SELECTOR, "#files input").send_keys(str(tmp_path / "two.zip"))
        await_one(page, "#batch [data-save]")
        found["batch"] = findings(page)
        turn_to(page, "Evaluation")
        await_one(page, "#report h2")
        found["report"] = findings(page)
        assert fits(page)
    site.engine.says = None
    assert {state: each for state, each in found.items() if each} == {}
