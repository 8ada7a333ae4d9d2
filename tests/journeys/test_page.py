"""Law: a person with a key tries a model on the page: gives a row by hand, by paste or as a file, is answered, told why with a figure that
says whether that holds, and says what was right; narrow, dark and in Chinese as well, and nothing is asked of anybody else.

Skipped, and said so, where no Chromium is installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.journeys.browser import PROGRAM, Browser, browser
from tests.unit.explained_packages import WORDS, numbers_model, picture_model, text_model
from tests.unit.preprocessing_tables import picture
from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import Running, running
from weighbridge.feedback.log import Log

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]
NORMAL = [-1.4, -0.7, -0.2, 0.2, 0.7, 1.4]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    numbers_model(folder / "numbers", 7, reference={f"x{place}": NORMAL for place in range(10)}, target="y")
    picture_model(folder / "pictures", 2, 5)
    text_model(folder / "texts", WORDS[9])
    make_package(folder / "mixed", photos=False)
    make_package(folder / "values", "number", photos=False)
    packages, state = [str(path) for path in sorted(folder.iterdir())], tmp_path_factory.mktemp("state")
    with running(packages, state, "--log", "inputs") as found:
        yield found


@pytest.fixture(scope="module")
def page(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as found:
        found.look(1100)
        found.open(server.url)
        found.type("#key", server.key)
        found.click("#door button")
        found.wait("!document.querySelector('#desk').hidden")
        yield found


def choose(page: Browser, name: str) -> None:
    page.choose("#models", name)
    page.wait(f"document.querySelector('#name').textContent === '{name}' && !document.querySelector('p.said')")


def answer(page: Browser, *, why: bool = True) -> str:
    page.click("#go")
    page.wait("document.querySelector('p.said')")
    if why:
        page.click("#ask-why")
        page.wait("document.querySelector('.faith')")
    return page.text("p.said")


def test_a_row_of_numbers_is_answered_and_the_column_that_is_read_comes_first_with_its_figure(page: Browser) -> None:
    choose(page, "numbers")
    page.click("#typical")
    assert page.evaluate("document.querySelector('#field-3').value") == "0.2"
    page.type("#field-7", "3.5")
    assert answer(page) == "yes"
    assert "certain" in page.text(".sure")
    assert page.text(".weights:not(.head) li b") == "x7"
    assert page.evaluate("document.querySelectorAll('.weights:not(.head) i').length") == 10
    figure = page.text(".faith")
    assert "19 random orders" in figure or "of 19" in figure
    assert page.evaluate("getComputedStyle(document.querySelector('.weights:not(.head) li i')).width") != "0px"


def test_a_row_is_pasted_as_json_or_csv_and_a_mistake_is_named(page: Browser) -> None:
    choose(page, "numbers")
    for text in ('{"x7": -4, "x0": 1, "other": 2}', '[{"x7": "-4", "x0": 1}]', 'x0,"x7",other\n1,-4,"a, ""b"""', "x0;x7\r\n1;-4\r\n"):
        page.click("#clear")
        page.evaluate(f"document.querySelector('#pasted').value = {json.dumps(text)}")
        page.click("#fill")
        assert page.evaluate("[0, 7].map((place) => document.querySelector(`#field-${place}`).value)") == ["1", "-4"]
    assert answer(page, why=False) == "no"
    page.evaluate("document.querySelector('#pasted').value = 'nonsense'")
    page.click("#fill")
    assert "neither" in page.text("#problem")


def test_every_type_of_column_has_a_field_of_its_own_and_missing_values_stay_missing(page: Browser) -> None:
    choose(page, "mixed")
    page.choose("#field-1", "Oslo")
    page.evaluate("document.querySelector('#field-2').value = '2026-05-01'")
    page.evaluate("document.querySelector('.ticks input').click()")
    answer(page, why=False)
    sent = [one for one in page.heard if one.get("method") == "Network.requestWillBeSent" and "/predict" in one["params"]["request"]["url"]]
    row = json.loads(sent[-1]["params"]["request"]["postData"])["rows"][0]
    assert row == {"age": None, "city": "Oslo", "seen": "2026-05-01", "tags": ["a"]}


def test_an_image_is_taken_from_a_file_shown_and_explained_by_its_squares(page: Browser, tmp_path: Path) -> None:
    choose(page, "pictures")
    pixels = np.full((16, 16), 250, np.uint8)
    (tmp_path / "seen.png").write_bytes(picture(pixels))
    page.give_file("#field-0", tmp_path / "seen.png")
    page.wait("!document.querySelector('.drop canvas').hidden")
    assert answer(page) == "yes"
    shown = page.wait("document.querySelectorAll('.map canvas')[1].width === 400 && document.querySelectorAll('.map canvas')[1].ariaLabel")
    assert "row 3 of 8, column 6 of 8" in shown
    plain, marked = (colour(page, f"document.querySelectorAll('.map canvas')[{place}]", 5.5 / 8, 2.5 / 8) for place in (0, 1))
    assert min(plain) > 240
    assert marked[2] - marked[0] > 60  # the square that is read is coloured, and another one is not
    other = colour(page, "document.querySelectorAll('.map canvas')[1]", 0.5 / 8, 7.5 / 8)
    assert max(other) - min(other) < 10


def colour(page: Browser, canvas: str, across: float, down: float) -> list[int]:
    """Return red, green and blue of a canvas at a place given in shares of its sides."""
    place = f"at.width * {across}, at.height * {down}"
    return list(
        page.evaluate(f"(() => {{ const at = {canvas}; return [...at.getContext('2d').getImageData({place}, 1, 1).data]; }})()")[:3]
    )


def test_the_word_that_is_read_is_shaded_most(page: Browser) -> None:
    choose(page, "texts")
    page.type("#field-0", f"{WORDS[1]} {WORDS[2]} {WORDS[9]} {WORDS[4]} {WORDS[5]}")
    answer(page)
    assert page.evaluate("[...document.querySelectorAll('.told i')].map((one) => one.textContent)") == [WORDS[9]]
    assert "without it" in page.evaluate("document.querySelector('.told i').title")
    assert page.evaluate("document.querySelector('.told').nextElementSibling.className").startswith("faith")


def test_no_explanation_is_shown_without_its_figure(page: Browser) -> None:
    for name in ("mixed", "values", "texts"):
        choose(page, name)
        answer(page)
        shown = page.evaluate("document.querySelectorAll('.told, .map, .weights.head').length")
        assert shown == page.evaluate("document.querySelectorAll('.faith').length") > 0


def test_what_was_right_goes_to_the_log_and_joins_its_answer(page: Browser, server: Running) -> None:
    choose(page, "texts")
    page.type("#field-0", WORDS[0])
    said = answer(page, why=False)
    page.click("#it-is-not")
    page.choose("#truth", "yes" if said == "no" else "no")
    page.click("#send-truth")
    page.wait("document.querySelector('#wrong .ok')")
    id_ = page.text("#wrong .ok").split()[-1].rstrip(".")
    log = Log.open(server.log.parent)
    log.ingest()
    window = log.window()
    log.close()
    assert id_ in window.id.tolist()
    assert len(window.rows(np.array(window.labelled))) == 1
    kinds = [one for one in page.asked() if "/explain" in one]
    asked = [one for one in page.asked() if "/predict" in one]
    assert len(kinds) > 3
    assert len(window) == len(asked)  # explanations are not counted as answers


def test_a_number_that_was_wrong_is_corrected_by_a_number(page: Browser) -> None:
    choose(page, "values")
    answer(page, why=False)
    page.click("#it-is-not")
    page.type("#truth", "12.5")
    page.click("#send-truth")
    assert "12.5" in page.wait("document.querySelector('#wrong .ok')?.textContent")


@pytest.mark.parametrize(("language", "wanted"), [("en-US", "Answer it"), ("zh-CN", "提问")])
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_it_is_drawn_wide_and_narrow_light_and_dark_in_both_languages(
    page: Browser, server: Running, width: int, dark: bool, language: str, wanted: str, tmp_path: Path
) -> None:
    from PIL import Image

    page.look(width, dark=dark)
    page.evaluate("sessionStorage.removeItem('weighbridge.language')")
    page.open(server.url, language=language)
    page.wait("!document.querySelector('#desk').hidden")
    choose(page, "numbers")
    page.click("#typical")
    answer(page)
    assert page.text("#go") == wanted
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = np.asarray(Image.open(page.screenshot(tmp_path / "page.png")).convert("RGB"))
    assert drawn.mean() > 200 if not dark else drawn.mean() < 80
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100
    page.look(1100)


def test_the_switch_keeps_what_was_filled_in(page: Browser, server: Running) -> None:
    page.open(server.url, language="en-US")
    page.wait("!document.querySelector('#desk').hidden")
    choose(page, "numbers")
    page.type("#field-2", "1.25")
    before = page.text("#go")
    page.click("#language")
    page.wait(f"document.querySelector('#go').textContent !== {json.dumps(before)}")
    assert page.evaluate("document.querySelector('#field-2').value") == "1.25"


def test_every_field_has_a_name_every_text_contrast_and_answers_are_told_aloud(page: Browser) -> None:
    choose(page, "mixed")
    answer(page)
    unnamed = """[...document.querySelectorAll('input, select, textarea, button, canvas')].filter((one) => one.offsetParent
        && !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []
    assert page.evaluate("document.querySelector('#said').ariaLive") == "polite"
    choose(page, "texts")
    page.type("#field-0", f"{WORDS[9]} {WORDS[1]}")
    answer(page)
    for dark in (False, True):
        page.look(1100, dark=dark)
        assert page.evaluate(CONTRAST) >= 4.5, "of WCAG 2.2, AA"
    page.look(1100)


CONTRAST = """(() => {
  const linear = (one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => rgb.map(linear).reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const read = (text) => {  // rgb(), rgba() and color(srgb ...) as red, green, blue and how much of it, in 0..1
    const found = text.replace("color(srgb", "").match(/[\\d.]+(e-?\\d+)?/g).map(Number);
    const scale = text.startsWith("color") ? 1 : 255;
    return [found.slice(0, 3).map((one) => one / scale), found[3] ?? 1];
  };
  const behind = (node) => {
    if (!node) return [1, 1, 1];
    const [rgb, much] = read(getComputedStyle(node).backgroundColor);
    if (much === 1) return rgb;
    const under = behind(node.parentElement);
    return rgb.map((one, place) => much * one + (1 - much) * under[place]);
  };
  const texts = [...document.querySelectorAll("main *")].filter((one) => one.offsetParent
    && [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return Math.min(...texts.map((one) => {
    const pair = [light(read(getComputedStyle(one).color)[0]), light(behind(one))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  }));
})()"""


def test_the_page_asks_nobody_else_runs_nothing_of_others_and_a_wrong_key_opens_nothing(page: Browser, server: Running) -> None:
    assert all(one.startswith((server.url, "data:image/svg+xml")) for one in page.asked())
    assert page.complaints() == []
    assert not any(server.key in one for one in page.asked())  # in no address
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""
    page.click("#forget")
    page.wait("!document.querySelector('#door')?.hidden && document.documentElement.dataset.ready")
    assert page.evaluate("Object.keys(sessionStorage).includes('weighbridge.key')") is False
    page.type("#key", "wb_nonsense")
    page.click("#door button")
    page.wait("!document.querySelector('#problem').hidden")
    assert page.evaluate("document.querySelector('#desk').hidden") is True
