"""Law: no name, value or text of a stranger becomes a node that does anything on the page, and the page's policy would stop it if it did.

Hostile are the names of columns and classes, the choices of a form, the text of a row, what is pasted, and what the server says.
Skipped, and said so, where no Chromium is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.journeys.browser import PROGRAM, browser
from tests.unit.explained_packages import text_model
from tests.unit.preprocessing_tables import SECTION, schema, table
from tests.unit.runtime_packages import write_package
from tests.unit.serving_servers import running
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]
HOSTILE = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=1>",
    '"><iframe srcdoc="<script>1">',
    "javascript:window.hacked=1",
    "</option></select><b onclick=window.hacked=1>",
    "{{constructor.constructor('window.hacked=1')()}}",
    "__proto__",
    "constructor",
    "<style>*{display:none}</style>",
    "<a href=javascript:window.hacked=1>x</a>",
    "\u202e<b>\u0001\ufeff",
]
ALLOWED = set(
    "HTML HEAD META TITLE LINK SCRIPT BODY A MAIN HEADER P DIV BUTTON H1 H2 H3 NOSCRIPT FORM LABEL INPUT SECTION SPAN SELECT OPTION "
    "DETAILS SUMMARY TEXTAREA UL LI I B SMALL FIELDSET LEGEND DATALIST CANVAS FIGURE FIGCAPTION".split()
)
PUT_IN = "(() => { const one = document.createElement('script'); one.textContent = 'window.hacked=1'; document.body.append(one); })()"
LOOK = """(() => {
  const all = [...document.querySelectorAll("*")];
  return {
    tags: [...new Set(all.map((one) => one.tagName))],
    handlers: all.filter((one) => [...one.attributes].some((at) => at.name.startsWith("on"))).length,
    addresses: all.filter((one) => [...one.attributes].some((at) => /^\\s*javascript:/i.test(at.value) && at.name !== "value")).length,
    scripts: document.scripts.length,
    styles: document.styleSheets.length,
    hacked: window.hacked ?? null,
    polluted: ({}).polluted ?? null,
    nodes: all.length,
  };
})()"""


def hostile_package(folder: Path) -> None:
    """`folder` is a package whose columns, classes and values are hostile."""
    random = np.random.default_rng(0)
    names = {HOSTILE[0]: "number", HOSTILE[1]: "category", HOSTILE[7]: "category", HOSTILE[5]: "set", HOSTILE[8]: "date"}
    values = objects([HOSTILE[place % len(HOSTILE)] for place in range(60)])
    columns = {
        HOSTILE[0]: random.normal(size=60), HOSTILE[1]: values, HOSTILE[7]: values[::-1], HOSTILE[5]: objects([(one,) for one in values]),
        HOSTILE[8]: np.full(60, np.datetime64("2026-05-01", "us")), "label": objects([HOSTILE[place % 11] for place in range(60)]),
    }  # fmt: skip
    encoder = Encoder.fit(table(columns), schema({**names, "label": "category"}, "label"), SECTION)
    write_package(folder, encoder, columns, target=HOSTILE[2], reference={HOSTILE[1]: HOSTILE[1:4], HOSTILE[0]: [1.0, 2.0, 3.0]})


def test_nothing_that_a_stranger_named_does_anything_on_the_page(tmp_path: Path, record: Callable[..., None]) -> None:
    hostile_package(tmp_path / "hostile")
    text_model(tmp_path / "texts", "wab")
    looks = 0
    (tmp_path / "state").mkdir()
    with running([str(tmp_path / "hostile"), str(tmp_path / "texts")], tmp_path / "state") as server, browser(tmp_path / "profile") as page:
        page.open(server.url)
        page.type("#key", server.key)
        page.click("#door button")
        page.wait("!document.querySelector('#desk').hidden")

        def harmless() -> None:
            nonlocal looks
            looks += 1
            seen = page.evaluate(LOOK)
            assert set(seen["tags"]) <= ALLOWED
            wanted = {"handlers": 0, "addresses": 0, "scripts": 1, "styles": 1, "hacked": None, "polluted": None}
            assert {name: seen[name] for name in wanted} == wanted

        def answered(rows: str) -> None:
            page.evaluate(f"document.querySelector('#pasted').value = {json.dumps(rows)}")
            page.click("#fill")
            page.click("#go")
            page.wait("document.querySelector('p.said')")
            page.click("#ask-why")
            page.wait("document.querySelector('.faith')")
            page.click("#it-is-not")
            harmless()

        page.choose("#models", "hostile")
        page.wait("document.querySelector('#name').textContent === 'hostile'")
        harmless()
        for one in HOSTILE:
            answered(json.dumps({HOSTILE[0]: 0.5, HOSTILE[1]: one, HOSTILE[7]: one, HOSTILE[5]: [one], HOSTILE[8]: one}))
        assert page.evaluate("document.querySelector('p.said').textContent") in HOSTILE
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        harmless()
        page.choose("#truth", HOSTILE[1])
        page.click("#send-truth")
        page.wait("!document.querySelector('#problem').hidden")  # this server keeps no predictions, and says so
        harmless()
        page.choose("#models", "texts")
        page.wait("document.querySelector('#name').textContent === 'texts'")
        for one in HOSTILE:
            answered(json.dumps({"text": f"wab {one} {one}", "__proto__": {"polluted": 1}, one: one}))
        for one in HOSTILE:
            page.evaluate(f"document.querySelector('#pasted').value = {json.dumps(one)}")
            page.click("#fill")
            harmless()
        (complaint,) = page.complaints()
        assert "400" in complaint
        assert complaint.endswith("/feedback")
        page.evaluate(PUT_IN)
        assert page.evaluate("window.hacked ?? null") is None  # the policy alone stops a script that was put in
        page.evaluate("document.querySelector('#said').innerHTML = '<b onclick=1>x</b><iframe></iframe>'")
        planted = page.evaluate(LOOK)
        assert planted["handlers"] == 1  # what the page never does would be seen
        assert set(planted["tags"]) - ALLOWED == {"IFRAME"}
    record("attacks.page", 0, n=looks)
