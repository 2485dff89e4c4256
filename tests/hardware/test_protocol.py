"""The protocol finds latencies that are known, on machines that lie in known ways."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed, UnknownName
from archsmith.hardware import Measurement, Meter
from archsmith.hardware.clock import cpu_tick
from archsmith.hardware.statistics import confidence_interval, ratio_of_minima, ratio_of_trimmed_means, trimmed_mean
from archsmith.progress import Reporter
from archsmith.testing.clock import FakeClock, FakeDevice


def measure(latency_ms, effort="search", *, clock=None, anchor_ms=None, **how):
    device = FakeDevice(clock or FakeClock(), **how)
    with Meter(device, clock=device.clock, anchor_ms=anchor_ms) as meter:
        return meter.measure(device.call(latency_ms), effort)


@settings(max_examples=15)
@given(st.floats(1e-3, 500.0), st.sampled_from([1, 2]), st.sampled_from(["search", "final"]))
def test_a_quiet_machine_gives_the_truth(latency_ms, threads, effort):
    m = measure(latency_ms, effort, threads=threads)
    assert m.latency_ms == pytest.approx(latency_ms, rel=2e-3)  # reading the clock costs a little too
    assert m.low <= latency_ms <= m.high
    assert m.agreed
    assert m.clock == ("cpu" if threads == 1 else "wall")


@pytest.mark.parametrize(
    ("how", "within"),
    [
        pytest.param({"noise": 0.10}, 0.03, id="noise"),
        pytest.param({"interruption": (0.2, 0.004)}, 0.03, id="interruptions"),
        pytest.param({"pace": lambda now, ms: 1 + 0.3 * now}, 0.01, id="drift"),
        pytest.param({"pace": lambda now, ms: 2.0 if now > 1.0 else 1.0}, 0.01, id="slowdown half way"),
        pytest.param({"pace": lambda now, ms: 1.0 + 0.5 * (int(now * 1000) % 37 < 9)}, 0.05, id="bursts"),
    ],
)
@pytest.mark.parametrize("latency_ms", [0.2, 1.3, 9.0])
def test_what_disturbs_both_networks_cancels(how, within, latency_ms):
    m = measure(latency_ms, anchor_ms=0.9, **how)
    quiet = measure(latency_ms, anchor_ms=0.9)
    assert m.ratio == pytest.approx(quiet.ratio, rel=within)


def test_several_threads_count_minima_and_survive_heavy_interruptions():
    m = measure(2.0, threads=4, interruption=(0.6, 0.01), noise=0.02, anchor_ms=1.0)
    quiet = measure(2.0, threads=4, anchor_ms=1.0)
    assert m.ratio == pytest.approx(quiet.ratio, rel=0.03)
    assert m.wall_p50_ms > 2 * quiet.wall_p50_ms  # while the raw wall times say how busy it was


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"noise": 0.05}, id="white"),
        pytest.param({"noise": 0.15}, id="strong"),
        pytest.param({"noise": 0.03, "interruption": (0.1, 0.003)}, id="interrupted"),
        pytest.param({"noise": 0.03, "pace": lambda now, ms: 1 + 0.1 * math.sin(90 * now)}, id="waves"),
    ],
)
def test_intervals_cover_the_truth(how, home):
    """Nominally 95 %; of 100 measurements at least 90 must."""
    device = FakeDevice(FakeClock(), **how)
    truth = 1.7
    with Meter(device, clock=device.clock, anchor_ms=1.0) as meter:
        quiet = FakeDevice(FakeClock())
        with Meter(quiet, clock=quiet.clock, anchor_ms=1.0) as still:
            true_ratio = still.measure(quiet.call(truth)).ratio
        found = [meter.measure(device.call(truth)) for _ in range(100)]
    assert sum(m.low <= true_ratio <= m.high for m in found) >= 90
    widths = [(m.high - m.low) / m.ratio for m in found]
    assert np.median(widths) < 0.12  # and does not do so by saying nothing


def test_a_ratio_that_wanders_gives_a_wide_interval_not_a_wrong_figure():
    """A neighbour that slows only one of the networks, more and less by turns: the interval says so."""
    steady = measure(2.0, anchor_ms=1.0)
    m = measure(2.0, anchor_ms=1.0, pace=lambda now, ms: 1 + 0.25 * (math.sin(9 * now) ** 2) * (ms == 2.0))
    assert len(m.groups) > 2
    assert m.low <= 1.125 * steady.ratio <= m.high  # the mean slow-down
    assert m.high - m.low > 0.05 * m.ratio


def test_groups_that_never_agree_fail_with_what_was_seen():
    rng = np.random.default_rng(0)
    factors = {}

    def pace(now, ms):
        return factors.setdefault(int(now / 0.15), float(np.exp(1.2 * rng.standard_normal()))) if ms == 2.0 else 1.0

    with pytest.raises(MeasurementFailed, match=r"no trustworthy latency on fake.*groups gave .* end other programs"):
        measure(2.0, pace=pace, anchor_ms=1.0)


def test_a_disturbance_that_ends_costs_another_attempt_and_no_figure():
    def pace(now, ms):
        return 1 + 9 * (int(now / 0.3) % 2) if ms == 2.0 and now < 2 else 1.0

    steady, disturbed = measure(2.0, anchor_ms=1.0), measure(2.0, anchor_ms=1.0, pace=pace)
    assert disturbed.low <= steady.ratio <= disturbed.high
    assert disturbed.high - disturbed.low < 0.1 * disturbed.ratio
    assert disturbed.seconds > 2 * steady.seconds


def test_short_calls_are_timed_several_at_a_time():
    m = measure(0.02)
    assert m.calls_per_sample >= 40
    assert m.repeats == m.calls_per_sample * m.samples * len(m.groups)


def test_slow_calls_have_fewer_samples():
    assert measure(1.0).samples == 50
    assert measure(1.0, threads=2).samples == 200
    assert measure(200.0).samples == 10
    assert measure(200.0, "final").samples == 20


def test_search_is_short_and_final_is_longer():
    """Of the two networks' own time: a call of 1 ms costs well under a second."""
    search, final = measure(1.0), measure(1.0, "final")
    assert search.seconds < 0.5
    assert len(search.groups) == 2
    assert len(final.groups) == 5
    assert final.seconds > 2 * search.seconds


def test_a_cpu_clock_with_coarse_ticks_is_not_trusted():
    m = measure(1.3, clock=FakeClock(tick_s=0.01))
    assert m.clock == "wall"
    assert m.latency_ms == pytest.approx(1.3, rel=0.01)


def test_a_cpu_clock_with_fine_ticks_gets_longer_samples():
    m = measure(1.3, clock=FakeClock(tick_s=5e-4))
    assert m.clock == "cpu"
    assert m.calls_per_sample >= 8
    assert m.latency_ms == pytest.approx(1.3, rel=0.02)


def test_tick_of_a_clock_is_what_is_seen():
    assert cpu_tick(FakeClock(tick_s=0.004)) == pytest.approx(0.004)
    assert cpu_tick(FakeClock()) < 1e-6


@pytest.mark.parametrize("threads", [1, 2])
def test_a_wall_clock_that_jumps_ahead_does_no_harm(threads):
    m = measure(1.3, threads=threads, anchor_ms=1.0, clock=FakeClock(jump=(0.1, 3600.0)))
    assert m.ratio == pytest.approx(measure(1.3, threads=threads, anchor_ms=1.0).ratio, rel=0.01)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_clock_that_runs_backwards_is_refused(threads):
    with pytest.raises(MeasurementFailed, match=r"backwards|took no time"):
        measure(1.3, threads=threads, anchor_ms=1.0, clock=FakeClock(jump=(0.1, -5.0)))


def test_a_call_that_takes_no_time_is_refused():
    with pytest.raises(MeasurementFailed, match="took no time"):
        measure(0.0, clock=FakeClock(read_s=0.0), anchor_ms=1.0, ms_per_parameter=0.0)


def test_a_failing_call_gives_the_hardware_back():
    device = FakeDevice(FakeClock())

    def broken():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), Meter(device, clock=device.clock) as meter:
        meter.measure(broken)
    with Meter(device, clock=device.clock) as meter:
        assert meter.measure(device.call(1.0)).agreed


def test_anchor_is_taken_once_and_kept(home):
    device = FakeDevice(FakeClock(), interruption=(0.5, 0.01))
    with Meter(device, clock=device.clock) as meter:
        first = meter.anchor_ms
    slower = FakeDevice(FakeClock(), pace=lambda now, ms: 2.0)
    with Meter(slower, clock=slower.clock) as meter:
        assert meter.anchor_ms == first
        assert meter.measure(slower.call(1.0)).latency_ms == pytest.approx(1.0, rel=0.01)
    [file] = (home / "anchors").iterdir()
    assert json.loads(file.read_text())["reference_ms"] == first


def test_an_anchor_from_a_busier_day_is_kept_and_named(home):
    busy, messages = FakeDevice(FakeClock(), pace=lambda now, ms: 1.5), []
    with Meter(busy, clock=busy.clock, reporter=Reporter(lambda event: messages.append(event.text))) as meter:
        stored = meter.anchor_ms
    quiet = FakeDevice(FakeClock())
    with Meter(quiet, clock=quiet.clock, reporter=Reporter(lambda event: messages.append(event.text))) as meter:
        assert meter.anchor_ms == stored
    assert len(messages) == 2
    assert "once for this machine" in messages[0]
    assert "busier machine" in messages[1]
    assert str(home) in messages[1]


def test_a_run_brings_its_own_anchor(home):
    device = FakeDevice(FakeClock())
    with Meter(device, clock=device.clock, anchor_ms=2.5) as meter:
        assert meter.anchor_ms == 2.5
        given_anchor = meter.fingerprint
    assert not (home / "anchors").exists()
    with Meter(device, clock=device.clock) as meter:
        assert meter.fingerprint != given_anchor
    with pytest.raises(InvalidOption, match="anchor_ms=0"):
        Meter(device, anchor_ms=0.0)


@pytest.mark.parametrize("text", ["", "{}", '{"reference_ms": "fast"}', '{"reference_ms": -1.0}', "[1]"])
def test_a_damaged_anchor_says_what_to_do(home, text):
    device = FakeDevice(FakeClock())
    with Meter(device, clock=device.clock):
        pass
    [file] = (home / "anchors").iterdir()
    file.write_text(text)
    with pytest.raises(DamagedFile, match="delete it"), Meter(device, clock=device.clock):
        pass


def test_a_closed_meter_and_unknown_efforts_say_so():
    device = FakeDevice(FakeClock())
    meter = Meter(device, clock=device.clock)
    with pytest.raises(InvalidOption, match="with Meter"):
        _ = meter.fingerprint
    with pytest.raises(InvalidOption, match="closed"):
        meter.measure(device.call(1.0))
    with meter, pytest.raises(UnknownName, match="did you mean 'final'"):
        meter.measure(device.call(1.0), "finale")


def test_measurement_survives_json():
    m = measure(1.3)
    assert Measurement.from_json(json.loads(json.dumps(m.to_json()))) == m
    assert m.value().low == m.low
    with pytest.raises(DamagedFile, match="not a measurement"):
        Measurement.from_json({"groups": []})


def test_garbage_is_collected_between_measurements_only():
    import gc

    seen = []
    device = FakeDevice(FakeClock())
    run = device.call(1.0)
    with Meter(device, clock=device.clock) as meter:
        meter.measure(lambda: (seen.append(gc.isenabled()), run()))
    assert not seen[-1]
    assert gc.isenabled()


def test_trimming_ignores_extremes_and_minima_take_the_least():
    samples = np.array([1.0, 1.0, 1.0, 1.0, 100.0])
    assert trimmed_mean(samples) == 1.0
    assert ratio_of_trimmed_means(3 * samples, samples) == 3.0
    assert ratio_of_minima(np.array([4.0, 2.0]), np.array([9.0, 1.0])) == 2.0


@given(st.lists(st.floats(0.5, 2.0), min_size=40, max_size=40), st.floats(0.3, 3.0))
def test_an_interval_holds_its_value_and_every_group(noise, value):
    reference = np.ones(10)
    groups = [(np.array(noise[i : i + 10]), reference) for i in range(0, 40, 10)]
    low, high = confidence_interval(value, groups, ratio_of_trimmed_means)
    assert 0 <= low <= value <= high
    assert all(low <= ratio_of_trimmed_means(c, r) <= high for c, r in groups)


def test_a_heavy_load_widens_the_interval_and_a_slow_clock_only_so_far():
    quiet = measure(2.0, anchor_ms=0.9)
    busy = measure(2.0, anchor_ms=0.9, pace=lambda now, ms: 1.7)
    slow = measure(2.0, anchor_ms=0.9, pace=lambda now, ms: 8.0)
    assert busy.ratio == pytest.approx(quiet.ratio, rel=1e-3)
    assert quiet.high / quiet.latency_ms < 1.02
    assert 1.2 < busy.high / busy.latency_ms < 1.3
    assert 1.2 < slow.high / slow.latency_ms < 1.3  # still a figure


def test_an_unequal_slowdown_is_held_by_the_interval():
    """As it was seen on a crowded machine: the reference suffers more than the candidate, all the time."""
    quiet = measure(2.0, anchor_ms=0.9)
    crowded = measure(2.0, anchor_ms=0.9, pace=lambda now, ms: 1.5 if ms == 2.0 else 1.6)
    assert abs(crowded.ratio / quiet.ratio - 1) > 0.05
    assert crowded.low <= quiet.latency_ms <= crowded.high


def test_short_calls_are_measured_again_when_the_machine_is_less_busy():
    """A neighbour on the same core slows the runtime's own work, most of a short call, far more than a network."""

    def crowded_until(end):
        return lambda now, ms: (2.5 if ms < 0.1 else 1.4) if now < end else 1.0

    quiet = measure(0.02, anchor_ms=0.9)
    for_a_while = measure(0.02, anchor_ms=0.9, pace=crowded_until(1.0))
    always = measure(0.02, anchor_ms=0.9, pace=crowded_until(math.inf))
    assert for_a_while.latency_ms == pytest.approx(quiet.latency_ms, rel=0.02)
    assert always.latency_ms > 1.5 * quiet.latency_ms
    assert always.low < 0.6 * always.latency_ms  # still a figure, and one that says how little it is worth
    assert measure(2.0, anchor_ms=0.9, pace=crowded_until(1.0)).seconds < 1.0  # which longer calls need not wait for
