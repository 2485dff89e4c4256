"""One format each: what it reads, and what it says of files it cannot read."""

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from archsmith.data import _images, open_data
from archsmith.errors import InvalidData, UnknownName, UserError


def png(value, size=(6, 6), mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def noise(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("cat", "dog"):
        for i in range(8):
            save(tmp_path / "train" / name / f"{i}.png", noise(rng, 6, 9, 3))
    return tmp_path


class TestImageFolder:
    def test_train_only(self, folder):
        data = open_data(str(folder))
        assert data.classes == ("cat", "dog")
        assert data.shape == (3, 6, 9)
        assert (len(data.train), len(data.val), len(data.test)) == (8, 4, 4)

    def test_pixels_are_those_of_the_file(self, folder):
        data = open_data(str(folder))
        pixels = {part.tobytes() for split in (data.train, data.val, data.test) for part in split.images}
        with Image.open(folder / "train" / "cat" / "3.png") as image:
            assert np.asarray(image).transpose(2, 0, 1).tobytes() in pixels

    @pytest.mark.parametrize("name", ["val", "valid", "validation"])
    def test_val_is_used(self, folder, rng, name):
        for label in ("cat", "dog"):
            for i in range(3):
                save(folder / name / label / f"{i}.png", noise(rng, 6, 9, 3))
        data = open_data(str(folder))
        assert len(data.val) == 6
        assert [note for note in data.notes if "taken" in note] == [
            "test: 4 images taken from train (stratified, seed 0)"
        ]

    def test_class_folders_directly(self, folder):
        assert open_data(str(folder / "train")).fingerprint == open_data(str(folder)).fingerprint

    def test_a_class_may_be_called_train(self, tmp_path, rng):
        for name in ("train", "ship"):
            for i in range(4):
                save(tmp_path / name / f"{i}.png", noise(rng, 5, 5))
        assert open_data(tmp_path).classes == ("ship", "train")

    def test_mixed_sizes_need_resize(self, folder, rng):
        save(folder / "train" / "cat" / "9.png", noise(rng, 12, 7, 3))
        with pytest.raises(InvalidData, match=r"0\.png has 6x9 .*9\.png has 12x7; ask for one size with resize=N"):
            open_data(str(folder))
        assert open_data(str(folder), resize=8).shape == (3, 8, 8)

    def test_one_mode_for_all(self, folder, rng):
        grey = noise(rng, 6, 9)
        save(folder / "train" / "cat" / "grey.png", grey)
        save(folder / "train" / "cat" / "alpha.png", noise(rng, 6, 9, 4))
        Image.fromarray(noise(rng, 6, 9, 3)).quantize(16).save(
            folder / "train" / "dog" / "palette.png", transparency=bytes(range(16))
        )
        data = open_data(str(folder))
        assert data.shape == (3, 6, 9)
        pixels = {part.tobytes() for split in (data.train, data.val, data.test) for part in split.images}
        assert np.stack([grey] * 3).tobytes() in pixels

    def test_all_grey_stay_grey_and_16_bits_are_scaled(self, tmp_path, rng):
        for name in ("a", "b"):
            for i in range(4):
                save(tmp_path / name / f"{i}.png", noise(rng, 5, 5))
        deep = rng.integers(0, 2**16, (5, 5), dtype=np.uint16)
        save(tmp_path / "a" / "deep.png", deep)
        data = open_data(str(tmp_path))
        assert data.shape == (1, 5, 5)
        pixels = {part.tobytes() for split in (data.train, data.val, data.test) for part in split.images}
        assert (deep >> 8).astype(np.uint8).tobytes() in pixels

    def test_photographs_are_turned_upright(self, tmp_path, rng):
        exif = Image.Exif()
        exif[274] = 6  # the camera was held upright
        for name in ("a", "b"):
            for i in range(4):
                (tmp_path / name).mkdir(exist_ok=True)
                Image.fromarray(noise(rng, 4, 8, 3)).save(tmp_path / name / f"{i}.jpg", exif=exif)
        assert open_data(str(tmp_path)).shape == (3, 8, 4)

    def test_corrupt_images_are_named(self, folder):
        (folder / "train" / "dog" / "bad.png").write_bytes(b"no image at all")
        cut = folder / "train" / "dog" / "cut.png"
        cut.write_bytes((folder / "train" / "dog" / "1.png").read_bytes()[:80])
        with pytest.raises(InvalidData, match=r"1 of 18 images cannot be read: .*bad\.png"):
            open_data(str(folder))
        (folder / "train" / "dog" / "bad.png").unlink()
        with pytest.raises(InvalidData, match=r"1 of 17 images cannot be read: .*cut\.png \(.+\)"):
            open_data(str(folder))

    def test_32_bits_are_refused(self, folder):
        Image.fromarray(np.zeros((6, 9), np.float32)).save(folder / "train" / "dog" / "deep.tif")
        with pytest.raises(InvalidData, match=r"deep\.tif \(has 32-bit pixels"):
            open_data(str(folder))

    def test_empty_folder(self, tmp_path):
        with pytest.raises(InvalidData, match=r"no images found .*train/CLASS/IMAGE"):
            open_data(str(tmp_path))

    def test_test_without_train(self, folder):
        (folder / "train").rename(folder / "test")
        with pytest.raises(InvalidData, match="has test but no folder 'train'"):
            open_data(str(folder))

    def test_one_class(self, tmp_path, rng):
        for i in range(5):
            save(tmp_path / "train" / "cat" / f"{i}.png", noise(rng, 6, 6))
        with pytest.raises(InvalidData, match="one class only, 'cat'"):
            open_data(str(tmp_path))

    def test_more_than_memory_holds(self, folder, monkeypatch):
        monkeypatch.setattr(_images, "memory", lambda: 4000)
        with pytest.raises(InvalidData, match="limit=N"):
            open_data(str(folder))


class TestNpz:
    def write(self, path, **arrays):
        np.savez(path / "a.npz", **arrays)
        return str(path / "a.npz")

    @pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("x_train", "y_train")])
    def test_names(self, tmp_path, rng, names):
        spec = self.write(tmp_path, **{names[0]: noise(rng, 20, 6, 6), names[1]: np.arange(20) % 2})
        assert open_data(spec).shape == (1, 6, 6)

    def test_all_splits(self, tmp_path, rng):
        arrays = {f"x_{s}": noise(rng, n, 3, 6, 6) for s, n in (("train", 10), ("val", 6), ("test", 4))}
        arrays |= {f"y_{s}": np.arange(n)[:, None] % 2 for s, n in (("train", 10), ("val", 6), ("test", 4))}
        data = open_data(self.write(tmp_path, **arrays))
        assert (len(data.train), len(data.val), len(data.test)) == (10, 6, 4)
        np.testing.assert_array_equal(data.val.images, arrays["x_val"])

    @pytest.mark.parametrize("shape", [(20, 3, 6, 8), (20, 6, 8, 3), (20, 3, 8, 8), (20, 8, 8, 13), (20, 13, 8, 8)])
    def test_layouts(self, tmp_path, rng, shape):
        data = open_data(self.write(tmp_path, x=noise(rng, *shape), y=np.arange(20) % 2))
        assert data.shape[0] in (3, 13)

    def test_channels_move_with_their_pixels(self, tmp_path, rng):
        x = noise(rng, 20, 6, 8, 3)
        first = open_data(self.write(tmp_path, x=x, y=np.arange(20) % 2))
        second = open_data(self.write(tmp_path, x=x.transpose(0, 3, 1, 2), y=np.arange(20) % 2))
        assert first.fingerprint == second.fingerprint

    def test_number_types(self, tmp_path, rng):
        y = np.arange(20) % 2
        whole = noise(rng, 20, 6, 6)
        assert open_data(self.write(tmp_path, x=whole.astype(np.int64), y=y)).train.images.dtype == np.uint8
        assert open_data(self.write(tmp_path, x=whole > 100, y=y)).train.images.max() == 255
        assert open_data(self.write(tmp_path, x=whole / 7, y=y)).train.images.dtype == np.float32
        assert open_data(self.write(tmp_path, x=whole.astype(np.int32) * 300, y=y)).train.images.dtype == np.float32

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": np.zeros((20, 6, 6)), "y": np.arange(19) % 2}, "20 images in x but 19 labels in y"),
            ({"x": np.full((20, 6, 6), np.nan), "y": np.arange(20) % 2}, "NaN or infinite pixels in 20 images"),
            ({"x": np.zeros((20, 36)), "y": np.arange(20) % 2}, r"shape \(20, 36\)"),
            ({"x": np.zeros((20, 5, 6, 7)), "y": np.arange(20) % 2}, "cannot tell where the channels"),
            ({"x": np.zeros((20, 6, 6)), "y": np.eye(20)}, "argmax"),
            ({"data": np.zeros((20, 6, 6))}, "has the arrays data; needed are x_train"),
            ({"x_train": np.zeros((20, 6, 6))}, "x_train without y_train"),
            ({"x": np.zeros((20, 6, 6), "U3"), "y": np.arange(20) % 2}, "<U3"),
            (
                {
                    "x_train": np.zeros((4, 6, 6)),
                    "y_train": [0, 1, 0, 1],
                    "x_val": np.ones((4, 5, 5)),
                    "y_val": [0, 1, 0, 1],
                },
                "differ in",
            ),
            ({"x": np.array([None, {}]), "y": np.arange(2)}, "pickle"),
        ],
    )
    def test_refused(self, tmp_path, arrays, message):
        with pytest.raises(InvalidData, match=message):
            open_data(self.write(tmp_path, **arrays))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no zip"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InvalidData, match=r"cannot read .*a\.npz"):
            open_data(str(tmp_path / "a.npz"))

    def test_missing_and_single(self, tmp_path):
        with pytest.raises(InvalidData, match="no file"):
            open_data(str(tmp_path / "a.npz"))
        np.save(tmp_path / "a.npy", np.zeros(3))
        (tmp_path / "a.npy").rename(tmp_path / "a.npz")
        with pytest.raises(InvalidData, match="single array"):
            open_data(str(tmp_path / "a.npz"))


class TestParquet:
    def write(self, path, columns, metadata=None):
        table = pa.table(columns)
        pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path)
        return str(path)

    def columns(self, start=0, n=20):
        return {"picture": [png((start + i) % 256) for i in range(n)], "label": [i % 2 for i in range(n)]}

    def test_one_file(self, tmp_path):
        data = open_data(self.write(tmp_path / "a.parquet", self.columns()))
        assert data.shape == (1, 6, 6)
        assert sorted(int(i[0, 0, 0]) for s in (data.train, data.val, data.test) for i in s.images) == list(range(20))

    def test_folder_of_splits(self, tmp_path):
        for i, name in enumerate(("train", "validation", "test")):
            self.write(tmp_path / f"{name}.parquet", self.columns(start=30 * i, n=8))
        data = open_data(str(tmp_path))
        assert (len(data.train), len(data.val), len(data.test)) == (8, 8, 8)
        assert data.val.images[0, 0, 0, 0] == 30
        assert data.notes == ()

    def test_hugging_face_form(self, tmp_path):
        columns = self.columns()
        columns["picture"] = [{"bytes": b, "path": None} for b in columns["picture"]]
        info = {"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
        for shard in ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"):
            self.write(tmp_path / shard, columns, {"huggingface": json.dumps(info)})
        data = open_data(str(tmp_path))
        assert data.classes == ("ant", "bee")
        assert len(data.train) + len(data.val) + len(data.test) == 40

    def test_only_integer_column_is_the_label(self, tmp_path):
        columns = self.columns()
        columns["digit"] = columns.pop("label")
        assert len(open_data(self.write(tmp_path / "a.parquet", columns)).classes) == 2
        columns["other"] = list(range(20))
        with pytest.raises(InvalidData, match="digit, other are integers; call it 'label'"):
            open_data(self.write(tmp_path / "a.parquet", columns))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"picture": [b"text"] * 20}, "no column of encoded images .*picture \\(binary\\)"),
            ({"second": [png(1)] * 20}, "2 columns of encoded images"),
            ({"label": [None, *[1] * 19]}, "1 rows without a label"),
            ({"picture": [png(1)] * 19 + [b"\x89PNG cut"]}, r"row 19 of a\.parquet"),
            ({"picture": [png(1)] * 19 + [None]}, r"row 19 of a\.parquet \(is empty\)"),
        ],
    )
    def test_refused(self, tmp_path, change, message):
        with pytest.raises(InvalidData, match=message):
            open_data(self.write(tmp_path / "a.parquet", self.columns() | change))

    def test_damaged_missing_or_without_train(self, tmp_path):
        with pytest.raises(InvalidData, match="no file"):
            open_data(str(tmp_path / "a.parquet"))
        (tmp_path / "b.parquet").write_bytes(b"PAR1 and then nothing")
        with pytest.raises(InvalidData, match=re.escape("b.parquet as Parquet")):
            open_data(str(tmp_path / "b.parquet"))
        with pytest.raises(InvalidData, match=r"b\.parquet but no train\.parquet"):
            open_data(str(tmp_path))


MODULE = """
import numpy as np
from archsmith.data import open_data
from archsmith.errors import InvalidOption
x, y = np.random.default_rng(0).integers(0, 256, (20, 6, 6)), np.arange(20) % 2
def pair(): return x, y
def mapping(): return {"x_train": x, "y_train": y}
def whole():
    import dataclasses
    return dataclasses.replace(open_data("digits"), mean=(0.25,), std=(0.5,), notes=("mine",))
def flat():
    import dataclasses
    return dataclasses.replace(open_data("digits"), std=(0.0,))
def wrong(): return 5
def fails(): return 1 / 0
def refuses(): raise InvalidOption("own words")
number = 3
"""


class TestFactory:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        (tmp_path / "my_factories.py").write_text(MODULE)
        (tmp_path / "my_broken.py").write_text("import does_not_exist_either")
        monkeypatch.chdir(tmp_path)
        yield
        import sys

        sys.modules.pop("my_factories", None)

    def test_arrays(self):
        assert open_data("my_factories:pair").fingerprint == open_data("my_factories:mapping").fingerprint

    def test_data_keeps_its_normalisation_and_takes_a_limit(self):
        data = open_data("my_factories:whole", limit=300)
        assert (data.mean, data.std) == ((0.25,), (0.5,))
        assert data.notes == ("mine",)
        assert len(data.train) + len(data.val) + len(data.test) == 300

    @pytest.mark.parametrize(
        ("name", "kind", "message"),
        [
            ("flat", InvalidData, r"std=\(0\.0,\) for 1 channels; one finite number each, std above 0"),
            ("wrong", InvalidData, "returned a int; expected: module:factory"),
            ("fails", InvalidData, "ZeroDivisionError: division by zero"),
            ("refuses", UserError, "own words"),
            ("number", InvalidData, "is a int, not a function"),
            ("pairs", UnknownName, "did you mean 'pair'"),
        ],
    )
    def test_refused(self, name, kind, message):
        with pytest.raises(kind, match=message):
            open_data(f"my_factories:{name}")

    def test_module_missing_or_broken(self):
        with pytest.raises(UnknownName, match="cannot find the module of the data 'no_such_module:make'"):
            open_data("no_such_module:make")
        with pytest.raises(UserError, match="importing the data 'my_broken:make' fails with ModuleNotFoundError"):
            open_data("my_broken:make")

    def test_the_path_is_as_before(self):
        import sys

        before = list(sys.path)
        open_data("my_factories:pair")
        assert sys.path == before


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of strange headers
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_any_damage_is_an_answer_and_no_traceback(kind):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(noise(rng, 12, 12, 3)).save(buffer, kind)
    for _ in range(25):
        content = bytearray(buffer.getvalue())
        for place in rng.integers(0, min(len(content), 200), 3):
            content[place] = rng.integers(256)
        content = bytes(content[: rng.integers(1, len(content)) if rng.random() < 0.3 else None])
        load = _images.encoded_loader(lambda _, content=content: content, lambda i: f"image {i}")
        answer = ""
        try:
            assert load(np.array([0]), resize=8, on_progress=None).shape[2:] == (8, 8)
        except InvalidData as error:
            answer = str(error)
        assert not answer or "image 0 (" in answer
