"""Law: the report is a page that a real browser draws whole, wide and narrow, light and dark, without asking for anything else.

Skipped, and said so, where no Chromium is installed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.report_runs import chinese_run, digits_run
from weighbridge.report import write_report

BROWSER = next((found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None)
QUIET = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


def screenshot(page: Path, out: Path, width: int, *, dark: bool) -> np.ndarray:
    """Return what the browser drew, uint8 [H, W, 3]."""
    from PIL import Image

    assert BROWSER is not None
    profile = out.with_suffix(".profile")
    colours = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},1600", *QUIET, *colours)
    command = [BROWSER, *flags, f"--user-data-dir={profile}", f"--screenshot={out}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return np.asarray(Image.open(out).convert("RGB"))


@pytest.mark.parametrize(("make", "width"), [(digits_run, 1100), (digits_run, 390), (chinese_run, 390)])
def test_the_page_is_drawn_in_light_and_in_dark(make: Callable[[Path], Path], width: int, tmp_path: Path) -> None:
    page = write_report(make(tmp_path / "run"))
    light = screenshot(page, tmp_path / "light.png", width, dark=False)
    dark = screenshot(page, tmp_path / "dark.png", width, dark=True)
    assert light.shape[:2] == dark.shape[:2] == (1600, width)
    assert light.mean() > 200
    assert dark.mean() < 80
    for picture in (light, dark):
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100  # text and drawings, not an empty page
    margin = light[:, -8:]
    assert (margin == light[0, -1]).mean() > 0.98  # nothing runs out over the right edge
