"""Meters of several devices: anchors are taken once, devices when something has to be measured."""

from contextlib import ExitStack

from archsmith.hardware.meters import open_meters
from archsmith.progress import Reporter
from archsmith.testing.clock import FakeClock, FakeDevice


def test_a_device_is_taken_for_its_anchor_or_when_it_first_measures():
    devices = {"known": FakeDevice(FakeClock()), "new": FakeDevice(FakeClock())}
    kept, heard = {}, []
    with ExitStack() as stack:
        meters = open_meters(devices, {"known": 2.0}, stack, keep=kept.setdefault, reporter=Reporter(heard.append))
        assert kept.keys() == {"new"}
        assert (meters["known"].entered, meters["new"].entered) == (False, True)
        assert [event.stage for event in heard] == ["device"] * 3
        assert meters["known"].fingerprint != meters["new"].fingerprint
        found = meters["known"].measure(devices["known"].call(3.0))
        assert found.low <= found.latency_ms <= found.high
        assert meters["known"].entered
