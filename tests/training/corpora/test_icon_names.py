from __future__ import annotations

import pytest

from training.corpora.icon_names import alt_text, describe, parse_name
from training.corpora.icon_words import NOUNS, OTHER_WORDS
from training.corpora.wording import a, plural

FAMILY = [
    "bell",
    "camera",
    "arrow-left",
    "folder",
    "house",
    "calendar",
    "battery",
    "person",
    "users",
    "alarm",
    "alpha-a",
]


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("camera", "An outline icon of a camera."),
        ("camera-off", "An outline icon of a camera with a slash."),
        ("bell-plus", "An outline icon of a bell with a plus sign."),
        ("folder-lock", "An outline icon of a folder with a padlock."),
        ("folder-arrow-down", "An outline icon of a folder with an arrow pointing down."),
        ("calendar2-heart", "An outline icon of a calendar with a heart."),
        ("alarm-clock", "An outline icon of an alarm clock."),
        ("sea-star", "An outline icon of a sea star."),
        ("arrow-left", "An outline icon of an arrow pointing left."),
        ("arrow-top-right", "An outline icon of an arrow pointing up right."),
        ("arrow-left-circle", "An outline icon of an arrow pointing left in a circle."),
        ("arrow-circle-left", "An outline icon of an arrow pointing left in a circle."),
        ("circle-arrow-left", "An outline icon of an arrow pointing left in a circle."),
        ("chevron-double-down", "An outline icon of a double chevron pointing down."),
        ("home", "An outline icon of a house."),
        ("account", "An outline icon of a person."),
        ("users", "An outline icon of people."),
        ("weather-sunny", "An outline icon of a sun."),
        ("building-church", "An outline icon of a church."),
        ("mood-happy", "An outline icon of a smiling face."),
        ("alpha-a-box", "An outline icon of the letter A in a square."),
        ("number-circle-five", "An outline icon of the number 5 in a circle."),
        ("square-rounded-number-5", "An outline icon of the number 5 in a rounded square."),
        ("help-square-rounded", "An outline icon of a question mark in a rounded square."),
        ("qrcode", "An outline icon of a QR code."),
        ("scissors", "An outline icon of scissors."),
        ("undo", "An outline undo icon."),
        ("align-left", "An outline align left icon."),
    ],
)
def test_names_become_captions(name: str, caption: str) -> None:
    assert describe(parse_name(name, FAMILY), "outline")[0] == caption


BASES = [*FAMILY, "box-multiple", "beaker", "tab-desktop", "chevron-left", "arrow-down", "arrow-down-bold"]


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("favorite-off", "A heart with a slash."),
        ("gear-six", "A gear."),
        ("stop", "A stop button."),
        ("stop-sign", "A stop sign."),
        ("bus-stop", "A bus stop."),
        ("antenna", "An antenna."),
        ("school", "A school."),
        ("beaker-dismiss", "A flask with an x."),
        ("chat-checkmark", "A speech bubble with a check mark."),
        ("mail-prohibited", "An envelope with a no entry sign."),
        ("calendar-sparkle", "A calendar with a sparkle."),
        ("folder-subtract", "A folder with a minus sign."),
        ("add-notes", "An icon for add notes."),
        ("no-smoking", "An icon for no smoking."),
        ("ban", "A no entry sign."),
        ("eject", "An eject button."),
        ("phone-arrow-down-left", "A telephone with an arrow pointing down left."),
        ("folder-chevron-down", "A folder with a chevron pointing down."),
        ("box-multiple-arrow-left", "A box multiple with an arrow pointing left."),
        ("folder-arrow-left-right", "A folder with an arrow pointing left and an arrow pointing right."),
        ("calendar-chevrons-left", "A calendar with chevrons pointing left."),
        ("arrow-up-on-square-stack", "An arrow pointing up on a square stack."),
        ("go-kart", "A go kart."),
        ("go-forward-5-sec", "An icon for go forward 5 sec."),
        ("attach-text", "A paperclip with lines of text."),
        ("two-women", "Two women."),
        ("long-arrow-up-right", "A long arrow pointing up right."),
        ("arrow-down-tray", "An arrow pointing down with a tray."),
        ("arrow-up-left-from-circle", "An arrow pointing up left from a circle."),
        ("chevron-left-rectangle", "A chevron pointing left in a rectangle."),
        ("arrow-down-bold-hexagon", "A bold arrow pointing down in a hexagon."),
        ("corner-down-right", "A corner arrow pointing right."),
        ("comment-alt-heart", "A speech bubble with a heart."),
        ("checklist-rtl", "A checklist."),
        ("baby-0203m", "A baby."),
        ("speed-1-5x", "A 1.5x sign."),
        ("multiplier-2x", "A 2x sign."),
        ("unlock-open", "An open padlock."),
        ("login-circle", "An icon for log in inside a circle."),
        ("dots-three-vertical-circle", "A menu of three vertical dots in a circle."),
        ("file-rss", "An RSS file."),
        ("sim-card", "A SIM card."),
    ],
)
def test_phrases_are_true_and_english(name: str, phrase: str) -> None:
    assert describe(parse_name(name, BASES), "outline")[1] == phrase


def test_no_word_is_said_twice() -> None:
    texts = describe(parse_name("zodiac-leo"), "") + describe(parse_name("zoom-in"), "", (), ("red", "blue"))
    assert "A simple leo zodiac sign." in texts
    assert "An icon for zoom in drawn in red and blue." in texts
    vertical = describe(parse_name("dots-vertical-circle", ["dots-vertical"]), "")
    assert not any("a vertical three dots" in text for text in vertical)


def test_style_words_never_reach_the_caption() -> None:
    for name in ("bell-fill", "bell-outline", "bell-filled"):
        assert parse_name(name, FAMILY) == parse_name("bell", FAMILY)


def test_references_say_the_same_in_other_words() -> None:
    assert describe(parse_name("home-off", ["home"]), "filled") == (
        "A filled icon of a house with a slash.",
        "A house with a slash.",
        "A crossed-out house.",
        "A filled icon of a home with a slash.",
    )


def test_an_unknown_style_is_not_named() -> None:
    assert describe(parse_name("bell"), "")[0] == "An icon of a bell."


@pytest.mark.parametrize(
    ("name", "alt"),
    [
        ("camera", "camera icon, outline"),
        ("camera-off", "camera icon with slash, outline"),
        ("arrow-left-circle", "arrow pointing left icon in circle, outline"),
    ],
)
def test_alt_texts(name: str, alt: str) -> None:
    assert alt_text(parse_name(name, FAMILY), "outline")[0] == alt


def test_the_vocabulary_is_one_to_one() -> None:
    assert set(NOUNS.values()) <= set(OTHER_WORDS)
    assert all(word == word.strip("-") for words in NOUNS for word in words)
    assert ("square",) not in NOUNS


@pytest.mark.parametrize(
    "phrase",
    ["a cup", "a unicorn", "a USB stick", "an SD card", "an x mark", "an hourglass", "a U-turn",
     "an upload arrow", "an undo icon", "a one-way sign", "an orange circle", "a euro sign", "an RSS feed",
     "a SIM card", "a RAW file", "an STI", "an h3", "an 8K", "an 18 up rating", "a 180"],
)  # fmt: skip
def test_articles(phrase: str) -> None:
    assert a(phrase.split(" ", 1)[1]) == phrase


@pytest.mark.parametrize(
    ("one", "many"),
    [("red box", "red boxes"), ("cross", "crosses"), ("fish", "fish"), ("blue battery", "blue batteries"),
     ("snowman", "snowmen"), ("key", "keys"), ("cactus", "cacti")],
)  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many
