"""Law: the dashboard shows what was promised and what was seen, what the watch found and what was decided, takes an administrator's yes or
no and anybody's label; whoever may only ask the model sees nothing; nothing that a stranger named does anything on it.

Skipped, and said so, where no Chromium is installed.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.journeys.browser import PROGRAM, Browser, browser
from tests.unit.explained_packages import numbers_model, picture_model
from tests.unit.feedback_logs import answer, journalled
from tests.unit.served_course import CLASSES, describe_as, past, watched
from tests.unit.serving_servers import Running, running
from weighbridge.feedback.decisions import decisions
from weighbridge.feedback.log import Log
from weighbridge.serving.keys import KeyFile

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]
HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, state = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("state")
    numbers_model(folder / "numbers", 7, target="y")
    picture_model(folder / "pictures", 2, 5)
    past(state, "numbers", x7=lambda row, random: float(row % 13), city=lambda row, random: HOSTILE).close()
    watched(state, "numbers", title="Accuracy <script>window.hacked=1</script>")
    log = Log.open(state)
    picture = {"uint8": base64.b64encode(bytes(range(256))).decode(), "shape": [16, 16]}
    shots = [{**answer(row, package="pictures", output=[0.55, 0.45], inputs={"picture": picture}), "id": f"p{row}/0"} for row in range(8)]
    journalled(log, shots, classes=CLASSES)
    describe_as(log, "pictures")
    log.close()
    with running([str(path) for path in sorted(folder.iterdir())], state, "--log", "inputs") as found:
        yield found


@pytest.fixture(scope="module")
def page(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as found:
        found.look(1100)
        found.open(f"{server.url}/dashboard")
        found.type("#key", server.key)
        found.click("#door button")
        found.wait("document.querySelector('#worth .row')")
        yield found


def state_of(server: Running) -> Path:
    return server.log.parent


def test_the_course_is_drawn_with_every_window_and_can_be_read_as_a_table(page: Browser) -> None:
    assert page.text("#name") == "numbers"
    assert page.evaluate("document.querySelectorAll('#charts figure:first-of-type .dot').length") == 8
    assert page.evaluate("document.querySelectorAll('#charts tbody tr').length") == 10
    assert "10 windows, 8 with labels" in page.evaluate("document.querySelector('#charts figure svg').getAttribute('aria-label')")
    assert "Accuracy in windows of 200" in page.text("#charts figcaption")
    assert "carries no contract" in page.text("#promise")
    assert "2,000 answers" in page.text("#about").replace("2000", "2,000")


def test_alarms_come_first_and_what_is_quiet_is_folded(page: Browser) -> None:
    assert page.evaluate("document.querySelectorAll('#found > .facts > li').length") == 1
    assert "0.810 [0.780 – 0.840] n = 1500" in page.text("#found")
    assert "against the champion 0.930" in page.text("#found")


def test_nothing_that_a_stranger_named_does_anything(page: Browser) -> None:
    assert "<script>window.hacked=1</script>" in page.text("#found")
    assert HOSTILE in page.evaluate("document.querySelector('#worth dl').textContent")
    assert page.evaluate("window.hacked ?? null") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('img, iframe, [onerror], [onclick], [style*=url]').length") == 0


def test_a_label_from_the_queue_is_kept_and_joins_its_answer(page: Browser, server: Running) -> None:
    page.choose("#truth-0", "yes")
    page.evaluate("document.querySelector('#worth .row form').requestSubmit()")
    page.wait("document.querySelector('#worth .ok')")
    id_ = page.text("#worth .ok").split()[-1].rstrip(".")
    log = Log.open(state_of(server))
    assert json.loads(log.window(ids=[id_]).label[0]) == "yes"
    log.close()


def test_pictures_are_shown_as_the_model_read_them(page: Browser) -> None:
    page.choose("#models", "pictures")
    page.wait("document.querySelector('#worth canvas')?.width === 16")
    assert page.evaluate("[...document.querySelector('#worth canvas').getContext('2d').getImageData(3, 2, 1, 1).data]") == [35, 35, 35, 255]
    page.choose("#models", "numbers")
    page.wait("document.querySelector('#name').textContent === 'numbers' && document.querySelector('#worth dl')")


def test_who_may_label_may_look_and_not_decide_and_who_may_only_ask_may_not_look(server: Running) -> None:
    keys = {role: KeyFile(state_of(server)).add(role, [role])[1] for role in ("label", "predict")}
    time.sleep(3.0)  # the server looks for new keys now and then, and an unknown key that is tried often is shut out
    for path in ("status", "windows", "decisions", "queue"):
        assert server.ask(f"/feedback/{path}?model=numbers", key=keys["label"]).status == 200
        assert server.ask(f"/feedback/{path}?model=numbers", key=keys["predict"]).status == 403
        assert server.ask(f"/feedback/{path}?model=numbers", key="").status == 401
    assert server.ask("/feedback/decisions/1", {"answer": "approved"}, key=keys["label"]).status == 403
    for path, body in (("1", {"answer": "maybe"}), ("x", {"answer": "approved"}), ("99", {"answer": "approved"}), ("1", {})):
        assert server.ask(f"/feedback/decisions/{path}", body).status == 400
    for query in ("language=xx", "rows=0", "rows=1e3", "model=none", "other=1"):
        path = "windows" if query.startswith("rows") else "status"
        assert server.ask(f"/feedback/{path}?{query}").status in (400, 404)


@pytest.mark.parametrize(("language", "wanted"), [("en-US", "Decisions"), ("zh-CN", "决定")])
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_it_is_drawn_wide_and_narrow_light_and_dark_in_both_languages(
    page: Browser, server: Running, width: int, dark: bool, language: str, wanted: str, tmp_path: Path
) -> None:
    from PIL import Image

    page.look(width, dark=dark)
    page.evaluate("sessionStorage.removeItem('weighbridge.language')")
    page.open(f"{server.url}/dashboard", language=language)
    page.wait("document.querySelector('#worth .row')")
    assert page.text("#decided-title") == wanted
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    bare = "[...document.querySelectorAll('main *')].filter((one) => one.children.length === 0 && /board\\./.test(one.textContent)).length"
    assert page.evaluate(bare) == 0
    drawn = np.asarray(Image.open(page.screenshot(tmp_path / "page.png")).convert("RGB"))
    assert drawn.mean() > 200 if not dark else drawn.mean() < 80
    page.look(1100)


def test_an_administrator_says_yes_and_it_is_in_the_decisions_and_in_the_trail(page: Browser, server: Running) -> None:
    page.open(f"{server.url}/dashboard", language="en-US")
    page.wait("document.querySelector('#approved-1')")
    page.click("#approved-1")
    page.wait("!document.querySelector('.waits')")
    (one,) = decisions(state_of(server), "numbers")
    assert one.answer == "approved"
    assert one.who
    lines = [json.loads(line) for path in (state_of(server) / "trail").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert any("feedback.approved" in json.dumps(line) for line in lines)


def test_nothing_was_complained_of_and_nobody_else_was_asked(page: Browser, server: Running) -> None:
    assert page.complaints() == []
    assert all(one.startswith((server.url, "data:", "blob:")) for one in page.asked())
