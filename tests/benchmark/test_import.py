"""Imports from files of the published forms, made up here; ours and the publishers' give the same table."""

import csv
import json
import pickle
import zipfile

import numpy as np
import pytest

from archsmith.benchmark import describe_benchmark, import_benchmark, open_benchmark
from archsmith.benchmark.nasbench201 import OPERATIONS, PROXIES, counts
from archsmith.errors import InvalidData

DEVICES = (
    *("edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency"),
    *("eyeriss_latency", "eyeriss_energy", "eyeriss_arithmetic_intensity", "fpga_latency", "fpga_energy"),
)


def write_csv(path, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(path, columns):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(columns).to_parquet(path)


def theirs_and_ours(spec, folder):
    """The tables that two forms of the same values give."""
    for form in ("theirs", "ours"):
        import_benchmark(spec, folder / form, folder / form)
    theirs, ours = (open_benchmark(spec, folder / form) for form in ("theirs", "ours"))
    assert theirs.fingerprint == ours.fingerprint
    assert theirs.origin != ours.origin
    return ours


@pytest.fixture
def folders(tmp_path):
    for form in ("theirs", "ours"):
        (tmp_path / form / "data").mkdir(parents=True)
    return tmp_path / "theirs" / "data", tmp_path / "ours"


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    rows = rng.permutation(describe_benchmark("nasbench201").space.enumerate_rows())
    costs = {name: rng.random(len(rows)).round(4) for name in DEVICES}
    costs["edgetpu_latency"][::7] = -1.0
    proxies = {name: rng.normal(size=5000).round(4) for name in PROXIES}
    proxies["nwot"][3] = -1e8
    return rows, rng.uniform(10, 92, len(rows)).round(2), costs, proxies


def test_nasbench201(tmp_path, folders, cells):
    rows, accuracy, costs, proxies = cells
    net = [str(tuple(r)) for r in rows.tolist()]
    other = np.random.default_rng(1).permutation(len(rows))
    theirs, ours = folders
    write_csv(theirs / "hw_cifar10.csv", {"net": net, **costs})
    accuracies = {"net": np.array(net)[other], "val_accs": accuracy[other]}
    write_csv(theirs / "robustness_targets.csv", accuracies | {"fgsm@Linf_eps-0.1": other})
    write_csv(theirs / "nb201_zc_proxies.csv", {"net": net[:5000], "net_str": net[:5000], **proxies})
    named = {name if name.endswith("intensity") else _with_unit(name): column.copy() for name, column in costs.items()}
    named["edgetpu_latency_ms"][named["edgetpu_latency_ms"] == -1] = np.nan
    proxies = {f"zc_{k}": np.append(v, np.full(len(rows) - 5000, np.nan)) for k, v in proxies.items()}
    proxies["zc_nwot"][3] = np.nan
    flops, params = counts(rows)
    edges = {f"op_{e}": rows[:, j] for j, e in enumerate(("0_1", "0_2", "0_3", "1_2", "1_3", "2_3"))}
    everything = edges | named | proxies | {"val_acc": accuracy, "flops_m": flops, "params_m": params}
    write_parquet(ours / "nasbench201_cifar10.parquet", everything)
    table = theirs_and_ours("nasbench201", tmp_path)
    at = table.find(rows)
    np.testing.assert_array_equal(table.columns["val_acc"][at], accuracy)
    np.testing.assert_array_equal(table.columns["edgetpu_latency_ms"][at], named["edgetpu_latency_ms"])
    np.testing.assert_array_equal(table.columns["zc_nwot"][at], proxies["zc_nwot"])
    (theirs / "nb201_zc_proxies.csv").unlink()
    with pytest.raises(InvalidData, match=r"has no nb201_zc_proxies\.csv"):
        import_benchmark("nasbench201", tmp_path / "theirs", tmp_path)


def _with_unit(name):
    return f"{name}_{'ms' if name.endswith('latency') else 'mj'}"


def test_counts_of_a_cell_are_those_of_the_publishers():
    row = [[OPERATIONS.index(o) for o in ("avg_pool_3x3", "nor_conv_1x1", "nor_conv_1x1", *["skip_connect"] * 3)]]
    flops, params = counts(np.array(row))
    assert (flops[0], params[0]) == (17.958592, 0.129306)


def test_nasbench_macro(tmp_path, folders):
    rng = np.random.default_rng(0)
    rows = rng.permutation(describe_benchmark("nasbench_macro").space.enumerate_rows())
    accuracies = rng.uniform(40, 93, (len(rows), 3)).round(4)
    columns = {"mean_acc": accuracies.mean(axis=1), "std_acc": accuracies.std(axis=1)}
    columns |= {name: rng.integers(10**5, 10**7, len(rows)) for name in ("params", "flops")}
    theirs, ours = folders
    data = {
        "".join(map(str, row)): {
            "test_acc": accuracies[i].tolist(),
            "mean_acc": columns["mean_acc"][i],
            "std": columns["std_acc"][i],
            "params": int(columns["params"][i]),
            "flops": int(columns["flops"][i]),
        }
        for i, row in enumerate(rows.tolist())
    }
    (theirs / "nas-bench-macro_cifar10.json").write_text(json.dumps(data), encoding="utf-8")
    columns |= {f"test_acc_{i}": accuracies[:, i] for i in range(3)}
    layers = {f"choice_{j}": rows[:, j] for j in range(8)}
    write_parquet(ours / "nasbench_macro.parquet", layers | columns)
    table = theirs_and_ours("nasbench_macro", tmp_path)
    np.testing.assert_array_equal(table.values(rows, ["flops"])[:, 0], columns["flops"])
    data.pop("00000000")
    (theirs / "nas-bench-macro_cifar10.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InvalidData, match="6,560 of the 6,561"):
        import_benchmark("nasbench_macro", theirs, tmp_path)


def graph_values(rows):
    rng = np.random.default_rng(0)
    names = ("valid_perf", "test_perf", "latency", "params_m")
    return {name: rng.random(len(rows)).round(5) for name in names}


@pytest.mark.slow
def test_nasbench_graph(tmp_path, folders):
    rows = describe_benchmark("nasbench_graph").space.enumerate_rows().astype(np.int64)
    keys = rows @ 10 ** np.arange(4, -1, -1)
    values = graph_values(rows)
    theirs, ours = folders
    renamed = {"valid_perf": "valid_perf", "test_perf": "perf", "latency": "latency", "params_m": "para"}
    published = {their: list(values[our]) for our, their in renamed.items()}  # NumPy's numbers, as published
    published["para"] = values["params_m"].tolist()
    data = {key: {name: column[i] for name, column in published.items()} for i, key in enumerate(keys.tolist())}
    with zipfile.ZipFile(theirs / "light.zip", "w") as archive:
        archive.writestr("light/citeseer.bench", pickle.dumps(data))
    write_parquet(ours / "nasbench_graph_citeseer.parquet", {"hash": keys, **values})
    table = theirs_and_ours("nasbench_graph:dataset=citeseer", tmp_path)
    np.testing.assert_array_equal(table.columns["latency"], values["latency"])
    whole = (theirs / "light.zip").read_bytes()
    (theirs / "light.zip").write_bytes(whole[:2000] + b"changed" + whole[2007:])
    (theirs / "other.zip").write_bytes(b"nothing")
    with pytest.raises(InvalidData, match="is damaged"):
        import_benchmark("nasbench_graph:dataset=citeseer", theirs, tmp_path)
    data[99999] = data[0]
    (theirs / "citeseer.bench").write_bytes(pickle.dumps(data))  # nearer than the archive's
    with pytest.raises(InvalidData, match="99999 is no key"):
        import_benchmark("nasbench_graph:dataset=citeseer", theirs / "citeseer.bench", tmp_path)


class Harmful:
    def __reduce__(self):
        return (open, ("harm.txt", "w"))


@pytest.mark.parametrize("thing", [Harmful(), {0: Harmful()}, {0: np.arange(3)}, [1, 2], {0: np.datetime64("2020")}])
def test_pickles_can_do_nothing(tmp_path, monkeypatch, thing):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cora.bench").write_bytes(pickle.dumps(thing))
    with pytest.raises(InvalidData, match=r"cora\.bench"):
        import_benchmark("nasbench_graph:dataset=cora", tmp_path, tmp_path)
    assert not (tmp_path / "harm.txt").exists()


@pytest.fixture
def networks():
    """Some sixty networks of the right counts and a made-up accuracy that grows with them."""
    table = describe_benchmark("ofa_mobilenet_v3")
    rows = table.space.sample_rows(60, np.random.default_rng(0))
    params, macs = table.values(rows, ["params", "macs"]).T
    names = table.space.names
    options = [np.array(c.options) for c in table.space.choices]
    values = np.column_stack([o[rows[:, j]] for j, o in enumerate(options)])
    rng = np.random.default_rng(1)
    return dict(zip(names, values.T, strict=True)), params, macs, (60 + macs / 2e7 + rng.normal(size=60) / 9).round(3)


def test_ofa_mobilenet_v3(tmp_path, folders, networks):
    values, params, macs, top1 = networks
    theirs, ours = folders
    lists = {
        kind: np.column_stack([values[f"{kind}_{i}"] for i in range(n)])
        for kind, n in (("ks", 20), ("e", 20), ("d", 5))
    }
    subnets = [
        str({"wid": None, **{kind: lists[kind][i].tolist() for kind in lists}, "r": [224]}) for i in range(len(top1))
    ]
    columns = {
        "Sub-network": subnets,
        "Date": subnets,
        "Model Parameters": params.astype(int),
        "Latency (ms)": top1 * 0,
    }
    columns |= {"MACs": macs.astype(int), "Top-1 Acc (%)": top1}
    first, second = "mbnv3w10_linasnsga2_acc_macs.csv", "mbnv3w10_evonsga2_acc_macs.csv"
    again = {name: [*column[:30], column[0]] for name, column in columns.items()}  # evaluated twice by that run
    write_csv(theirs / first, again)
    write_csv(theirs / second, {name: column[30:] for name, column in columns.items()})
    more = {"run": ["linasnsga2"] * 30 + ["evonsga2"] * 30, "order": [*range(1, 31)] * 2}
    write_parquet(ours / "ofa_mbv3_imagenet.parquet", values | more | {"params": params, "macs": macs, "top1": top1})
    table = theirs_and_ours("ofa_mobilenet_v3", tmp_path)
    assert table.facts["measured"] == len(table.rows) == 60
    assert table.facts["cross_validated"]["kendall_tau"] > 0.5, "it learns what the accuracies follow"
    assert abs(table.values(table.rows, ["top1"])[:, 0] - table.columns["top1"]).max() < 0.5
    write_csv(theirs / first, again | {"MACs": [int(m) + 1 for m in again["MACs"]]})
    with pytest.raises(InvalidData, match="macs is said to have"):
        import_benchmark("ofa_mobilenet_v3", theirs, tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "spec"),
    [
        ("nas-bench-macro_cifar10.json", b"{}", "nasbench_macro"),
        ("nas-bench-macro_cifar10.json", b"nothing", "nasbench_macro"),
        ("cora.bench", b"nothing", "nasbench_graph:dataset=cora"),
        ("cora.bench", pickle.dumps({0: {}}), "nasbench_graph:dataset=cora"),
        ("nasbench_macro.parquet", b"nothing", "nasbench_macro"),
    ],
)
def test_files_of_another_form_are_named(tmp_path, file, content, spec):
    pytest.importorskip("pandas")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InvalidData, match=file):
        import_benchmark(spec, tmp_path, tmp_path)


def test_a_cell_that_is_none_is_named(tmp_path):
    for name in ("hw_cifar10.csv", "robustness_targets.csv", "nb201_zc_proxies.csv"):
        write_csv(tmp_path / name, {"net": ["(0, 1, 2, 3, 4, 5)"], "val_accs": [1.0]})
    with pytest.raises(InvalidData, match="is no cell such as"):
        import_benchmark("nasbench201", tmp_path, tmp_path)
    with pytest.raises(InvalidData, match="does not exist"):
        import_benchmark("nasbench201", tmp_path / "none", tmp_path)
