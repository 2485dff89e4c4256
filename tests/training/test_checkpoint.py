"""What is kept of a training, and how it goes on from there."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from archsmith.errors import DamagedFile, RunMismatch, StorageFull, TrainingDiverged, UserError
from archsmith.testing.trainers import blobs, tiny_supernet
from archsmith.training.kit.loop import train

SETTINGS = {"epochs": 4, "lr": 0.01, "seed": 7}


class Killed(BaseException):
    """In place of the process's end."""


class Ordered(list):
    """Batches whose order depends on the epoch, as a distributed sampler's does."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter([self[(i * (2 * self.epoch + 1)) % len(self)] for i in range(len(self))])


def loader():
    found = Ordered(blobs(7, 16))
    found.epoch = 0
    return found


def kill_at(epoch, step):
    def watch(event):
        if (event.epoch, event.step) == (epoch, step):
            raise Killed

    return watch


@pytest.mark.parametrize(
    ("method", "optimizer"), [("sandwich", "adamw"), ("sandwich", "sgd"), ("single_path", "adamw"), ("plain", "sgd")]
)
def test_killed_and_resumed_equals_uninterrupted_to_the_bit(tmp_path, method, optimizer):
    settings = SETTINGS | {"method": method, "optimizer": optimizer}
    whole = tiny_supernet()
    report = train(whole, loader(), **settings)
    for epoch, step in ((1, 5), (3, 4), (4, 7)):
        with pytest.raises(Killed):
            train(tiny_supernet(), loader(), checkpoint=tmp_path, on_progress=kill_at(epoch, step), **settings)
    resumed = tiny_supernet(seed=1)  # its weights come from the checkpoint
    again = train(resumed, loader(), checkpoint=tmp_path, **settings)
    assert again.resumed_from == 3
    assert resumed.weights_fingerprint == whole.weights_fingerprint
    assert [_losses(row) for row in again.history] == [_losses(row) for row in report.history]


def _losses(row):
    return {k: v for k, v in row.items() if k != "seconds"}


def test_a_finished_training_is_only_loaded(tmp_path):
    first = tiny_supernet()
    train(first, loader(), checkpoint=tmp_path, **SETTINGS)
    second, events = tiny_supernet(seed=1), []
    report = train(second, loader(), checkpoint=tmp_path, on_progress=events.append, **SETTINGS)
    assert (report.completed, report.epochs, report.resumed_from, events) == (True, 4, 4, [])
    assert second.weights_fingerprint == first.weights_fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.02}, "lr was 0.01, now 0.02"),
        ({"epochs": 5}, "epochs was 4, now 5"),
        ({"seed": 8}, "seed was 7, now 8"),
        ({"optimizer": "sgd"}, "optimizer was 'adamw', now 'sgd'"),
        ({"method": "plain"}, "method was 'Sandwich', now 'Plain'"),
        ({"options": {"random": 1}}, "method.random was 2, now 1"),
        ({"warmup_epochs": 0.0}, "warmup_epochs was 1.0, now 0.0"),
        ({"clip_norm": 1.0}, "clip_norm was None, now 1.0"),
        ({"weight_decay": 0.5}, "weight_decay was 0.01, now 0.5"),
        ({"loss": lambda o, t: o.sum()}, "loss was 'cross_entropy', now '<lambda>'"),
    ],
)
def test_other_options_on_resume_are_named(tmp_path, change, message):
    with pytest.raises(Killed):
        train(tiny_supernet(), loader(), checkpoint=tmp_path, on_progress=kill_at(2, 1), **SETTINGS)
    with pytest.raises(RunMismatch, match=message):
        train(tiny_supernet(), loader(), checkpoint=tmp_path, **(SETTINGS | change))


def test_another_network_or_loader_is_named(tmp_path):
    train(tiny_supernet(), loader(), checkpoint=tmp_path, **SETTINGS)
    with pytest.raises(RunMismatch, match="model was"):
        train(tiny_supernet(outputs=4), loader(), checkpoint=tmp_path, **SETTINGS)
    with pytest.raises(RunMismatch, match="steps was 7, now 3"):
        train(tiny_supernet(), blobs(3), checkpoint=tmp_path, **SETTINGS)


class TestFile:
    @pytest.fixture
    def file(self, tmp_path):
        train(tiny_supernet(), loader(), checkpoint=tmp_path, **SETTINGS)
        return tmp_path / "checkpoint.safetensors"

    def test_holds_tensors_and_json_only(self, file):
        with safe_open(file, framework="pt") as opened:
            header = json.loads(opened.metadata()["training"])
            kinds = {name.partition("/")[0] for name in opened.keys()}  # noqa: SIM118
        assert kinds == {"weights", "optimizer"}
        assert header["recipe"]["lr"] == 0.01
        assert [row["epoch"] for row in header["state"]["history"]] == [1, 2, 3, 4]
        assert list(file.parent.iterdir()) == [file]  # no half-written ones beside it

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
    def test_damage_is_found(self, file, damage):
        content = bytearray(file.read_bytes())
        flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
        file.write_bytes({"cut": content[:-100], "flipped": flipped, "empty": b"", "text": b"not this"}[damage])
        with pytest.raises(DamagedFile, match=r"delete .*checkpoint\.safetensors to train from the start"):
            train(tiny_supernet(), loader(), checkpoint=file.parent, **SETTINGS)

    def test_of_a_newer_version(self, file):
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"archsmith":"1"', b'"archsmith":"9"'))
        with pytest.raises(DamagedFile, match="format 9, this version reads 1"):
            train(tiny_supernet(), loader(), checkpoint=file.parent, **SETTINGS)

    def test_folder_that_is_a_file(self, file):
        with pytest.raises(UserError, match="is a file; give a folder"):
            train(tiny_supernet(), loader(), checkpoint=file, **SETTINGS)


def test_a_full_disk_keeps_the_last_good_one(tmp_path, monkeypatch):
    write, written = Path.write_bytes, []

    def full(path, content):
        written.append(path)
        if len(written) == 3:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFull, match="no space left to write"):
        train(tiny_supernet(), loader(), checkpoint=tmp_path, **SETTINGS)
    monkeypatch.undo()
    report = train(tiny_supernet(), loader(), checkpoint=tmp_path, **SETTINGS)
    assert (report.resumed_from, report.completed) == (2, True)


def test_nothing_is_kept_of_a_first_epoch_that_diverges(tmp_path):
    poisoned = [*blobs(3), (float("nan") * blobs(1)[0][0], blobs(1)[0][1])]
    with pytest.raises(TrainingDiverged, match=r"weights after epoch 0\. A lower"):
        train(tiny_supernet(), poisoned, checkpoint=tmp_path, **SETTINGS)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import sys, time
import torch
torch.set_num_threads(1)
from archsmith.testing.trainers import blobs, tiny_supernet
from archsmith.training.kit.loop import train
def tell(event):
    print(event.epoch, flush=True)
    time.sleep(0.02)
train(tiny_supernet(), blobs(4, 16), epochs=12, lr=0.01, checkpoint=sys.argv[1], on_progress=tell)
"""


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_no_finished_epoch(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    seen = next(int(line) for line in process.stdout if int(line) >= 3)
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    whole, resumed = tiny_supernet(), tiny_supernet(seed=1)
    report = train(resumed, blobs(4, 16), epochs=12, lr=0.01, checkpoint=tmp_path)
    assert report.resumed_from >= seen - 1
    train(whole, blobs(4, 16), epochs=12, lr=0.01)
    assert resumed.weights_fingerprint == whole.weights_fingerprint
