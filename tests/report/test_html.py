"""The page as text: it holds what it promises, escapes what it is given, and is written whole."""

import errno
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from archsmith.architecture import Architecture, Proposal
from archsmith.errors import MissingExtra, StorageFull
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Metric, Objective
from archsmith.quantities import interval
from archsmith.report import FinalNetwork, ReportData
from archsmith.report.html import page, write_html
from archsmith.value import Value


class Outline(HTMLParser):
    """What a browser would build: tags in balance, texts, attributes that load something."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.loads, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "action") and not v.startswith("data:")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)


def outline(text):
    parser = Outline()
    parser.feed(text)
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    return parser


def words(text):
    return " ".join(" ".join(outline(text).texts).split())


def figures(text):
    return {
        i: json.loads(t) for i, t in re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text)
    }


@pytest.fixture(scope="module")
def usual(make):
    data = make()
    return data, page(data)


def test_it_is_one_well_formed_page_that_loads_nothing(usual):
    assert outline(usual[1]).loads == []
    assert "default-src 'none'" in usual[1]


def test_the_answer_comes_first(usual):
    data, text = usual
    values = [n.best_known for n in data.handed_out]
    [headline] = re.findall(r"<h1>(.*?)</h1>", text)
    assert headline.endswith("\u00a0%")
    assert headline.startswith(f"{len(values)} networks from ")
    for metric in ("latency_ms", "accuracy_top1"):
        assert f"{max(e[metric] for e in values):.2f}" in headline


def test_every_network_stands_with_values_intervals_files_and_a_command(usual):
    data, text = usual
    said = words(text)
    for n in data.handed_out:
        assert n.name in said
        assert f"{n.best_known['latency_ms']:.3g}" in said
        assert f"{n.final['test_accuracy_top1']:.2f}" in said
        assert interval(n.evaluation.values["latency_ms"], "ms") in said  # believed, beside what was measured again
        assert str(n.evaluation.architecture) in said
        assert f"exports/{n.name}.onnx" in said
    assert "245 KiB" in said
    assert "equal to 2.1e-07 on 384 inputs" in said
    assert f"archsmith export runs/demo --name {data.handed_out[len(data.handed_out) // 2].name}" in said


def test_a_pick_that_the_page_offers_is_met(usual):
    data, text = usual
    [bound] = re.findall(r"--pick &#x27;(.*?)&#x27;</code>", text)
    limit = Limit.parse(bound.replace("&lt;", "<").replace("&gt;", ">"))
    within = [n.name for n in data.handed_out if limit.violation(n.best_known) == 0]
    assert 0 < len(within) < len(data.handed_out)


def test_dropped_and_failed_are_reported_with_reasons(usual):
    data, text = usual
    [dropped] = [n for n in data.networks if n.dropped]
    said = words(text)
    assert f"{dropped.name} {dropped.dropped}" in said
    assert "out of memory in stage3" in said
    assert dropped.name not in [n.name for n in data.handed_out]
    assert "1 network was dropped at that check" in said


def test_how_it_was_made_is_told(usual):
    said = words(usual[1])
    for fact in (
        "linas",
        "onnxruntime:threads=1,batch=64",
        "numpy 2.4.6",
        "1 min 11 s",
        "The test split was made here",
    ):
        assert fact in said


def test_front_figure_holds_every_evaluation_once(usual):
    data, text = usual
    traces = {t.get("name"): t for t in figures(text)["figure-front"]["data"]}
    ok = [e for e in data.evaluations if e.ok]
    assert len(traces["evaluated"]["x"]) + len(traces["breaks a limit"]["x"]) == len(ok)
    assert len(traces["Pareto front"]["x"]) == len(data.handed_out)
    assert len(traces["baseline: random"]["x"]) == sum(e.ok for e in data.baselines["random"])
    assert all(x > data.limits[0].bound * 0.9 for x in traces["breaks a limit"]["x"])
    n = data.handed_out[0]
    at = traces["Pareto front"]["x"].index(n.best_known["latency_ms"])
    assert traces["Pareto front"]["error_x"]["array"][at] == pytest.approx(
        n.best_known.values["latency_ms"].high - n.best_known["latency_ms"]
    )


def test_no_baseline_is_never_invented(make):
    text = page(make(baseline=0))
    assert "random" not in json.dumps(figures(text))
    assert "No baseline was run" in words(text)
    assert len(figures(text)["figure-hypervolume"]["data"]) == 1


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_any_number_of_objectives(make, objectives):
    text = page(make(objectives=objectives))
    fronts = [name for name in figures(text) if name.startswith("figure-front")]
    assert len(fronts) == {1: 1, 2: 1, 3: 3}[objectives]
    assert ("figure-hypervolume" in figures(text)) == (objectives > 1)
    assert ("<select" in text) == (objectives > 2)


def test_a_limit_that_nothing_meets(make):
    data = make(finals=False, limits=(Limit("latency_ms", "<=", 0.1),))
    text = page(data)
    nearest = min(e.values["latency_ms"].high for e in data.evaluations if e.ok)
    assert f"No network meets latency_ms ≤ 0.100 ms: the smallest found is {nearest:.3g}" in words(text)
    assert "archsmith export" not in text
    assert "figure-hypervolume" not in figures(text)


def test_only_failures(make):
    text = page(make(fail=1.0, baseline=0))
    assert "All 40 evaluations failed" in words(text)
    assert "figure-front" not in figures(text)


def test_nothing_evaluated_yet(make):
    assert "Nothing has been evaluated yet" in words(page(make(n=0, baseline=0)))


def test_one_network_with_one_option_each(make, space):
    text = page(make(n=1, baseline=0, fail=0.0, limits=(), finals=False))
    assert "1 network: " in words(text)
    assert "What each choice does" not in text


HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>&amp;'


def hostile_data():
    def evaluation(i, ok=True):
        proposal = Proposal(Architecture("s", ((HOSTILE, f"{HOSTILE}{i}"), ("width", i))))
        if not ok:
            return Evaluation(proposal=proposal, values={}, evaluator="e", status="failed", reason=HOSTILE)
        values = {HOSTILE: Value(float(i), "measured"), "latency_ms": Value(1.0 + i, "measured", 0.9 + i, 1.2 + i)}
        return Evaluation(proposal=proposal, values=values, evaluator="e")

    some = [evaluation(i) for i in range(4)]
    return ReportData(
        title=HOSTILE,
        run=f"runs/{HOSTILE}",
        objectives=(Objective(HOSTILE, "max"), Objective("latency_ms", "min")),
        evaluations=[*some, evaluation(9, ok=False)],
        baselines={HOSTILE: some[:2]},
        networks=[
            FinalNetwork(f"n{HOSTILE}{i}", e, files={HOSTILE: 1}, certificate={"line": HOSTILE})
            for i, e in enumerate(some[:3])
        ]
        + [FinalNetwork("d", some[3], dropped=HOSTILE)],
        metrics={HOSTILE: Metric(HOSTILE, HOSTILE, "max", HOSTILE)},
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        seeds={HOSTILE: 1},
        environment={HOSTILE: HOSTILE},
        timing={HOSTILE: 1.0},
        training=[{"epoch": 1, HOSTILE: 1.0}],
        notes=[HOSTILE],
    )


def test_hostile_names_stay_text():
    text = page(hostile_data())
    assert "<script>alert" not in text
    assert "<img" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert HOSTILE in "".join(outline(text).texts)
    assert figures(text)["figure-front"]["data"]  # still JSON


def test_a_report_is_replaced_whole(make, tmp_path, monkeypatch):
    path = write_html(make(n=5), tmp_path / "report.html")
    before = path.read_text(encoding="utf-8")

    def half(file, text, **_):
        file.write_bytes(text[:1000].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "write_text", half)
        with pytest.raises(StorageFull):
            write_html(make(n=5), path)
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_plotly_the_extra_is_named(make, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(MissingExtra, match=r"archsmith\[report\]"):
        page(make(n=3))


def test_evaluations_at_a_lower_fidelity_are_shown_apart(make):
    data = make(finals=False, fail=0.0)
    partly = [
        Evaluation(proposal=Proposal(e.architecture, {"epochs": 1}), values=e.values, evaluator="toy")
        for e in data.evaluations[:6]
    ]
    mixed = make(finals=False, fail=0.0, evaluations=[*partly, *data.evaluations[6:]])
    traces = {t.get("name"): t for t in figures(page(mixed))["figure-front"]["data"]}
    assert len(traces["evaluated in part"]["x"]) == 6
    assert not mixed.on_front[:6].any()


def test_front_of_the_data_is_the_feasible_non_dominated_set(make):
    data = make(finals=False)
    front = {e.architecture.key for e in data.front}
    fine = [e for e in data.evaluations if e.feasible(data.limits)]
    for e in fine:
        beaten = any(
            o["accuracy_top1"] >= e["accuracy_top1"]
            and o["latency_ms"] <= e["latency_ms"]
            and (o["accuracy_top1"], o["latency_ms"]) != (e["accuracy_top1"], e["latency_ms"])
            for o in fine
        )
        assert (e.architecture.key in front) != beaten
    assert np.all(np.diff([e["latency_ms"] for e in data.front]) > 0)


@pytest.mark.parametrize("largest", [1e308, 1.7e308, 5e-324])
def test_values_at_the_ends_of_what_numbers_can_be_are_shown(make, tmp_path, largest):
    data = make(n=4, baseline=3, fail=0.0, finals=False)
    for i, evaluation in enumerate([*data.evaluations, *data.baselines["random"]]):
        evaluation.values["params"] = Value(largest * (-1) ** i, "computed")
        evaluation.values["latency_ms"] = Value(largest, "measured")
    text = write_html(data, tmp_path / "report.html").read_text(encoding="utf-8")
    assert all("NaN" not in part and "Infinity" not in part for part in re.findall(r"json\" id=.*?</script>", text))
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", text)).replace("nance", "")
