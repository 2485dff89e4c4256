"""The report of a comparison in a real browser: every plot is drawn, and nothing goes wrong on the way."""

import os
import re
import shutil
import subprocess

import pytest

from archsmith.comparison.page import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="needs chromium")]

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000"),
    *("--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"),
)


@pytest.mark.slow
def test_every_plot_is_drawn(finished, tmp_path):
    _, summary = finished
    page = tmp_path / "report.html"
    page.write_text(html(summary), encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    drawn = ended.stdout
    assert 'data-drawn="4"' in drawn, ended.stderr[-2000:]
    assert "CONSOLE" not in ended.stderr
    plots = dict(re.findall(r'id="plot-([\w-]+)"(.*?)</figure>', drawn, flags=re.DOTALL))
    strategies, problems = len(summary["strategies"]), len(summary["problems"])
    assert plots["curve-0"].count('class="js-line"') == 4 * strategies  # median, both quartiles, legend
    assert plots["curve-0"].count('class="js-fill"') == strategies
    assert plots["dots"].count('class="point"') == plots["overhead"].count('class="point"') == strategies * problems
    assert plots["ranks"].count("heatmap-label") == strategies * (strategies - 1)
