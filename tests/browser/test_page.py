"""The page as a visitor meets it: a file, a sample, code, a refusal, a slow answer, many files, a title."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.conftest import Site, hosts_asked
from tests.captioning.helpers import make_adapter
from tests.live_service import LiveService
from tests.services.helpers import CIRCLE, ENTITY_BOMB, SQUARE, TRUNCATED
from tests.services.test_page import report

pytestmark = pytest.mark.browser

PATIENCE_S = 120
DONE = "#result [data-copy]"  # it stands beside a caption that is whole


@pytest.fixture
def page(browser: webdriver.Chrome, site: Site) -> Iterator[webdriver.Chrome]:
    yield opened(browser, site.url)
    site.engine.delay_s, site.engine.says, site.engine.goes_on = 0, None, {}


def opened(browser: webdriver.Chrome, url: str) -> webdriver.Chrome:
    browser.get(url)
    await_one(browser, "#samples button")
    await_one(browser, "#picture .blank")
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
    await_one(page, "#picture .name", path.name)


def turn_to(page: webdriver.Chrome, tab: str) -> None:
    await_one(page, "button[role=tab]", tab).click()


def saved(page: webdriver.Chrome, path: Path) -> str:
    WebDriverWait(page, PATIENCE_S).until(lambda _: path.exists())
    return path.read_text(encoding="utf-8")


@pytest.mark.ray
def test_a_file_is_shown_and_captioned_by_the_real_service(
    browser: webdriver.Chrome, live_service: LiveService, tmp_path: Path
) -> None:
    page = opened(browser, live_service.url)
    hosts_asked(page)  # forget what came before
    choose(page, tmp_path / "circle.svg", CIRCLE)
    await_one(page, DONE)
    picture = await_one(page, "#picture img.render")
    assert await_one(page, "#result .caption").text
    assert str(picture.get_attribute("src")).startswith("data:image/png;base64,")  # never the upload
    assert picture.get_attribute("naturalWidth") == "640"
    assert "script (1)" in await_one(page, "#result .removed").text
    assert "tiny" in await_one(page, "#result .facts").text
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
    assert await_one(page, DONE)


def test_pasted_code_is_captioned(page: webdriver.Chrome) -> None:
    turn_to(page, "Code")
    await_one(page, "#code textarea").send_keys(CIRCLE)
    await_one(page, "#send").click()
    assert await_one(page, "#picture .name", "Pasted code")
    assert await_one(page, "#result .caption", "by base")


def test_what_is_false_is_corrected_unless_the_visitor_wants_the_models_own_words(
    page: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    site.engine.says, site.engine.goes_on = "A blue square.", {"A": "A red square."}
    choose(page, tmp_path / "square.svg", SQUARE)
    assert "red" in await_one(page, "#result .caption mark.true", "red").text
    note = await_one(page, "#result .note", "The model first wrote: A blue square.")
    caption = page.find_element(By.CSS_SELECTOR, "#result .caption")
    assert note.location["y"] >= caption.location["y"] + caption.size["height"]
    await_one(page, "#options button").click()
    await_one(page, "#revise input").click()
    await_one(page, "#again").click()
    assert await_one(page, "#result .caption mark.false", "blue")
    assert "The model first wrote" not in page.find_element(By.ID, "result").text


def test_a_sample_is_captioned_by_keyboard_alone(page: webdriver.Chrome) -> None:
    for _ in range(20):
        page.switch_to.active_element.send_keys(Keys.TAB)
        if page.switch_to.active_element.get_attribute("data-sample"):
            break
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert await_one(page, DONE)


def test_a_slow_answer_is_waited_for_in_words_and_may_be_replaced(
    page: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    site.engine.delay_s = 3600
    choose(page, tmp_path / "slow.svg", CIRCLE)
    await_one(page, "#result .pending", "Reading the drawing")
    assert await_one(page, "#picture img.render")
    await_one(page, "#result [aria-busy=true]")
    site.engine.delay_s = 0
    choose(page, tmp_path / "quick.svg", SQUARE)
    await_one(page, DONE)
    await_one(page, "#result [aria-busy=false]")
    WebDriverWait(page, PATIENCE_S).until(lambda _: site.engine.streams == 0)  # the slow one was given up


def test_a_service_that_restarts_is_said_so_and_found_again(
    page: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    site.api.stop()
    try:
        choose(page, tmp_path / "away.svg", CIRCLE)
        assert "cannot be reached" in await_one(page, "#result .refusal").text
    finally:
        site.api.start()
    choose(page, tmp_path / "back.svg", CIRCLE)
    assert await_one(page, DONE)


def test_an_adapter_that_came_later_answers_beside_the_base_model(
    page: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    choose(page, tmp_path / "circle.svg", CIRCLE)
    await_one(page, "#result .caption", "by base")
    folder = site.folder / "adapters" / "late"
    make_adapter(site.base_model, folder, "late", seed=5)
    try:
        await_one(page, "#models input").click()
        await_one(page, "[role=option]", "late").click()
        await_one(page, "#result .caption", "by late")
        assert await_one(page, "#result .caption", "by base")
    finally:
        shutil.rmtree(folder)  # the service is shared with the other tests


def test_a_caption_is_saved_in_the_visitors_own_file(
    page: webdriver.Chrome, site: Site, downloads: Path, tmp_path: Path
) -> None:
    site.engine.says = "A red circle"
    choose(page, tmp_path / "mine.svg", CIRCLE)
    assert await_one(page, "#result mark.false").text.startswith("red")
    await_one(page, "#result [data-title]").click()
    text = saved(page, downloads / "mine.svg")
    assert text == CIRCLE.replace(  # without the verdict
        '8 8">', '8 8" role="img" aria-labelledby="title"><title id="title">A red circle</title>'
    )


def test_many_files_make_a_table_and_a_download(
    page: webdriver.Chrome, downloads: Path, tmp_path: Path
) -> None:
    turn_to(page, "Many files")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.svg", SQUARE)
        archive.writestr("b.svg", TRUNCATED)
    (tmp_path / "c.svg").write_text(CIRCLE)
    paths = "\n".join(str(tmp_path / name) for name in ("two.zip", "c.svg"))
    page.find_element(By.CSS_SELECTOR, "#files input[type=file]").send_keys(paths)
    await_one(page, "#batch [role=status]", "3 of 3 files, 1 refused")
    assert "not well-formed" in await_one(page, "#batch tbody").text
    await_one(page, "#batch [data-save=jsonl]").click()
    lines = saved(page, downloads / "captions.jsonl").splitlines()
    assert [json.loads(line)["status"] for line in lines] == [200, 400, 200]


def test_the_latest_report_is_shown_without_a_restart(page: webdriver.Chrome, site: Site) -> None:
    turn_to(page, "Evaluation")
    await_one(page, "#report", "No evaluation yet")
    path = site.folder / "runs" / "one" / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(report("mine")))
    turn_to(page, "One drawing")
    turn_to(page, "Evaluation")
    assert await_one(page, "#report", "Suite mine")
