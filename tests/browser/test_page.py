"""The page as a visitor meets it: a file, a sample, pasted code, a refusal, another model."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.conftest import hosts_asked
from tests.captioning.helpers import make_adapter
from tests.live_service import LiveService
from tests.services.helpers import CIRCLE, ENTITY_BOMB, TRUNCATED

pytestmark = [pytest.mark.browser, pytest.mark.ray]

PATIENCE_S = 120


@pytest.fixture
def page(browser: webdriver.Chrome, live_service: LiveService) -> webdriver.Chrome:
    browser.get(live_service.url)
    await_one(browser, "#file input[type=file]")
    await_one(browser, "#result .card.blank")
    return browser


def await_one(page: webdriver.Chrome, selector: str, text: str = "") -> WebElement:
    """The first element of that selector which holds `text`."""

    def find(page: webdriver.Chrome) -> list[WebElement]:
        elements = page.find_elements(By.CSS_SELECTOR, selector)
        return [element for element in elements if text in element.text]

    return WebDriverWait(page, PATIENCE_S, ignored_exceptions=[WebDriverException]).until(find)[0]


def choose(page: webdriver.Chrome, path: Path, content: str) -> None:
    path.write_text(content)
    page.find_element(By.CSS_SELECTOR, "#file input[type=file]").send_keys(str(path))
    await_one(page, "#result .name", path.name)


def test_a_file_is_shown_and_captioned(
    page: webdriver.Chrome, live_service: LiveService, tmp_path: Path
) -> None:
    choose(page, tmp_path / "circle.svg", CIRCLE)
    caption = await_one(page, "#result .said .caption")
    picture = await_one(page, "#result img.render")
    assert caption.text
    assert str(picture.get_attribute("src")).startswith("data:image/png;base64,")  # never the upload
    assert str(picture.get_attribute("alt")).split() == caption.text.split()
    assert picture.get_attribute("naturalWidth") == "512"
    assert "script (1)" in await_one(page, "#result .removed").text
    assert "tiny" in await_one(page, "#result .facts").text
    page.save_screenshot(str(tmp_path / "page.png"))
    assert hosts_asked(page) == {urlsplit(live_service.url).netloc}  # fonts, scripts, telemetry: nothing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("just words", "The file is not an SVG"),
        (TRUNCATED, "not well-formed XML"),
        (ENTITY_BOMB, "XML entities"),
        ("", "The file is empty"),
    ],
)
def test_a_bad_file_is_refused_and_the_next_one_works(
    page: webdriver.Chrome, tmp_path: Path, content: str, message: str
) -> None:
    choose(page, tmp_path / "bad.svg", content)
    assert message in await_one(page, "#result .refusal").text
    choose(page, tmp_path / "good.svg", CIRCLE)
    assert await_one(page, "#result .said .caption").text


def test_pasted_code_is_captioned(page: webdriver.Chrome) -> None:
    await_one(page, "button[role=tab]", "Code").click()
    await_one(page, "#code textarea").send_keys(CIRCLE)
    await_one(page, "#send").click()
    assert await_one(page, "#result .name", "Pasted code")
    assert await_one(page, "#result .said .caption").text


def test_a_sample_is_captioned(page: webdriver.Chrome) -> None:
    await_one(page, "#samples button").click()
    assert await_one(page, "#result .said .caption").text


def test_an_adapter_that_came_later_can_be_chosen(
    page: webdriver.Chrome, live_service: LiveService, tmp_path: Path
) -> None:
    choose(page, tmp_path / "circle.svg", CIRCLE)
    before = await_one(page, "#result .said .caption").text
    folder = live_service.adapters_dir / "late"
    make_adapter(live_service.base_model, folder, "late", seed=5)
    try:
        await_one(page, "#model input").click()
        await_one(page, "[role=option]", "late").click()
        await_one(page, "#result .facts", "late")
        assert await_one(page, "#result .said .caption").text != before
    finally:
        shutil.rmtree(folder)  # the service is shared with the other tests
