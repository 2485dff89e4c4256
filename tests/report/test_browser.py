"""The page in a real browser: every plot is drawn, nothing is asked of the network, nothing is logged."""

import os
import shutil
import tempfile
from dataclasses import replace

import pytest

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Metric, Objective
from archsmith.report import FinalNetwork
from archsmith.report.html import write_html
from archsmith.value import Value

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    home = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={home / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The browser keeps a socket in its temporary folder, whose path may have 60 letters at most.
    short = str(home) if len(str(home)) < 60 else tempfile.mkdtemp()
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "TMPDIR": short}
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, env=environment))
    try:
        yield driver
    finally:
        driver.quit()
        if short != str(home):
            shutil.rmtree(short, ignore_errors=True)


@pytest.fixture(scope="module")
def usual(make):
    """The report that most tests look at; it is loaded once."""
    return make()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a report from disk and waits until it is drawn; the test fails on anything logged or fetched."""
    from selenium.webdriver.support.ui import WebDriverWait

    def show(data, *, width=1280, dark=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        if getattr(browser, "shown", None) is data:
            return browser
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(write_html(data, tmp_path / "report.html").as_uri())
        browser.shown = data
        plots = len(browser.find_elements("css selector", ".plot"))
        if plots:
            drawn = "return document.documentElement.dataset.drawn"
            WebDriverWait(browser, 30).until(lambda b: b.execute_script(drawn) == str(plots))
        return browser

    yield show
    assert browser.get_log("browser") == []
    asked = [m for e in browser.get_log("performance") if "Network.requestWillBeSent" in (m := e["message"])]
    assert all('"url":"file://' in m or '"url":"data:' in m for m in asked)
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def marks(browser, plot="plot-front"):
    """Name of each trace -> how many points are drawn."""
    script = """
      return Object.fromEntries(document.getElementById(arguments[0])._fullData.map(t => [t.name,
        document.querySelectorAll(`#${arguments[0]} .trace${t.uid} .point`).length]))"""
    return browser.execute_script(script, plot)


def test_every_plot_is_drawn_with_every_point(usual, show):
    data = usual
    browser = show(data)
    ok = sum(e.ok for e in data.evaluations) + sum(e.ok for e in data.baselines["random"])
    dropped = sum(bool(n.dropped) for n in data.networks)
    drawn = marks(browser)
    assert drawn["Pareto front"] == len(data.handed_out)
    assert drawn["baseline: random"] == sum(e.ok for e in data.baselines["random"])
    assert sum(drawn.values()) == ok + len(data.handed_out) + dropped + 1
    shown = {kind: len(browser.find_elements("css selector", f"#plot-front .{kind}error")) for kind in "xy"}
    assert shown == {"x": sum(drawn.values()), "y": len(data.handed_out)}  # every latency, the front's accuracies
    for name, lines in (("hypervolume", 2), ("training", 2)):
        assert len(browser.find_elements("css selector", f"#plot-{name} .scatterlayer .js-line")) == lines
    dots = browser.find_elements("css selector", ".effect circle.mean")
    assert len(dots) == 2 * (9 * 2 + 3 * 3 + 3 * 4 + 3)


def test_hovering_a_point_shows_its_architecture(usual, show):
    from selenium.webdriver.common.action_chains import ActionChains

    data = usual
    browser = show(data)
    point = browser.find_elements("css selector", "#plot-front .trace .point")[-1]  # the front is drawn last
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    label = browser.find_element("css selector", "#plot-front .hoverlayer").text
    assert any(n.name in label for n in data.handed_out)
    assert "activation=" in label
    assert "measured" in label


def test_dark_and_light_differ_and_text_is_readable(usual, show):
    seen = []
    for dark in (False, True):
        browser = show(usual, dark=dark)  # the page follows while it is open
        browser.execute_async_script("setTimeout(arguments[0], 400)")
        color = browser.execute_script("""
          const of = (node, what) => getComputedStyle(node)[what].match(/[0-9.]+/g).slice(0, 3).map(Number);
          return [of(document.body, 'backgroundColor'), of(document.querySelector('.note'), 'color'),
                  of(document.querySelector('#plot-front .xtick text'), 'fill')]""")
        assert contrast(color[0], color[1]) > 4.5
        assert contrast(color[0], color[2]) > 4.5
        seen.append(color)
    assert seen[0][0] != seen[1][0]


def contrast(a, b):
    """Ratio of the relative luminances, as accessibility guidelines define it."""

    def luminance(rgb):
        linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_on_a_phone_only_tables_scroll_sideways(usual, show):
    browser = show(usual, width=390)
    browser.execute_async_script("setTimeout(arguments[0], 600)")  # the plots follow the window a moment later
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    box = "return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)"
    assert browser.execute_script(box)


def test_the_keyboard_reaches_tables_details_and_commands(usual, show):
    browser = show(usual)
    reach = "return [...document.querySelectorAll('.scroll, summary, button, select')].every(e => e.tabIndex === 0)"
    assert browser.execute_script(reach)
    labelled = "return [...document.querySelectorAll('.scroll, [role=img]')].every(e => e.getAttribute('aria-label'))"
    assert browser.execute_script(labelled)


def test_without_a_baseline_there_is_no_baseline(make, show):
    browser = show(make(baseline=0, finals=False, training=[], limits=(), largest=None))
    assert not any("baseline" in name for name in marks(browser))
    assert len(browser.find_elements("css selector", "#plot-hypervolume .scatterlayer .js-line")) == 1


def test_three_objectives_have_a_chooser(make, show):
    from selenium.webdriver.support.ui import Select

    data = make(objectives=3)
    browser = show(data)
    chooser = Select(browser.find_element("id", "axes"))
    titles = set()
    for option in chooser.options:
        chooser.select_by_value(option.get_attribute("value"))
        titles.add(browser.find_element("css selector", "#plot-front .xtitle").text)
        assert marks(browser)["Pareto front"] == len(data.handed_out)
    assert titles == {"params", "latency_ms (ms)"}


@pytest.mark.parametrize("changes", [{"objectives": 1}, {"fail": 1.0, "baseline": 0}])
def test_odd_runs_draw_what_there_is(make, show, changes):
    browser = show(make(**changes))
    assert browser.find_element("tag name", "h1").text


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_macs_against_time(make, show, width, dark):
    data = make(metrics=("accuracy_top1", "latency_ms", "params", "macs"))
    browser = show(data, width=width, dark=dark)
    browser.execute_async_script("setTimeout(arguments[0], 600)")
    drawn = marks(browser, "plot-macs-1")
    keys = {e.architecture.key for e in [*data.evaluations, *data.baselines["random"], data.largest] if e.ok}
    assert drawn["Pareto front"] == len(data.handed_out)
    assert drawn["Pareto front"] + drawn["evaluated"] == len(keys)
    assert len(browser.find_elements("css selector", "#plot-macs-1 .yerror")) == len(keys)
    assert browser.find_elements("css selector", ".warning li")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    overlapping = """
      const boxes = [...document.querySelectorAll('#plot-macs-1 text')].filter(t => t.textContent.trim())
        .map(t => t.getBoundingClientRect()).filter(b => b.width);
      return boxes.some((a, i) => boxes.slice(i + 1).some(b => a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 1 && b.top < a.bottom - 1))"""
    assert not browser.execute_script(overlapping)


HOSTILE = (
    "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"'><svg onload=window.hit=1>"
    "<a href='javascript:window.hit=1'>x</a>\u2028%{x}${hit=1}</title></style><base href=http://127.0.0.1:9/>\u202e"
)
INJECTED = """
  const strange = 'img, [onload], [onerror], [onclick], a[href], iframe, object, embed, form, base, main script';
  return [window.hit ?? null, ...[...document.body.querySelectorAll(strange)].map(e => e.outerHTML)]"""


def hostile_run(make):
    """A report of which every text is somebody else's."""
    metric = f"m{HOSTILE}"

    def evaluation(i, **more):
        proposal = Proposal(Architecture("5f", ((f"c{HOSTILE}", f"{i}{HOSTILE}"), ("depth", i))), parent=HOSTILE)
        values = {metric: Value(90.0 + i, "measured", 89.0 + i, 91.0 + i), "latency_ms": Value(1.0 + i, "measured")}
        return Evaluation(**({"proposal": proposal, "values": values, "evaluator": HOSTILE} | more))

    found = [evaluation(i) for i in range(6)]
    failed = evaluation(7, values={}, status="failed", reason=HOSTILE)
    networks = [FinalNetwork(f"n{HOSTILE}", found[0], found[0], files={f"exports/{HOSTILE}.onnx": 9})]
    networks += [FinalNetwork(f"d{HOSTILE}", found[1], dropped=HOSTILE)]
    return replace(
        make(),
        title=HOSTILE,
        run=HOSTILE,
        notes=[HOSTILE],
        space=None,
        evaluations=[*found, failed],
        baselines={HOSTILE: found[2:]},
        networks=networks,
        largest=found[5],
        objectives=(Objective(metric, "max"), Objective("latency_ms", "min")),
        limits=[Limit(metric, ">=", 1.0)],
        metrics={metric: Metric(metric, HOSTILE, "max", HOSTILE)},
        settings={HOSTILE: HOSTILE, "strategy": HOSTILE},
        seeds={HOSTILE: 1},
        environment={HOSTILE: {HOSTILE: HOSTILE}, "cpu": HOSTILE},
        timing={HOSTILE: 1.0, "measuring": 2.0},
        training=[{"epoch": i, HOSTILE: 1.0 / i, "smallest": float("nan")} for i in (1, 2, 3)],
    )


HOVER = """
  const shown = arguments[0]._fullData.map((trace, i) => [trace, i]).filter(([trace]) => trace.hoverinfo !== "skip");
  for (const [trace, i] of shown) Plotly.Fx.hover(arguments[0], [{curveNumber: i, pointNumber: 0}]);"""


def test_texts_of_others_do_nothing(make, show):
    page = show(hostile_run(make))
    assert page.execute_script(INJECTED) == [None]
    assert page.title.startswith("</script><script>")
    assert "\\u202e" in page.title
    assert "<img src=x" in page.find_element("css selector", "body").text
    for plot in page.find_elements("css selector", ".plot"):
        page.execute_script(HOVER, plot)
    assert page.execute_script(INJECTED) == [None]


def test_a_script_that_is_no_part_of_the_page_does_not_run(browser, make, tmp_path):
    """The second line of defence: even if something got into the page, its policy names the two scripts it has."""
    text = write_html(make(n=5, baseline=0), tmp_path / "report.html").read_text()
    injected = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'><main>"
    (tmp_path / "changed.html").write_text(text.replace("<main>", injected, 1))
    browser.get((tmp_path / "changed.html").as_uri())
    browser.shown = None
    assert browser.execute_async_script("setTimeout(() => arguments[0](window.owned ?? 0), 200)") == 0
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert sum("Content Security Policy" in message for message in said) >= 2, said
