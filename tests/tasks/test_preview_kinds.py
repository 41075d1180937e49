"""What a preview makes of data of many kinds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.tasks.preview import Asked, Preview, preview, report
from torch_lab.tasks.preview.batches import leaves, samples_in, statistics
from torch_lab.tasks.preview.cells import Cell, Group, Table, group
from torch_lab.tasks.preview.drawing import _thinned, png
from torch_lab.tasks.preview.labels import classes
from torch_lab.tasks.preview.looks import Look, look_of
from torch_lab.tasks.preview.scaling import scaled

PROJECT = Path(__file__).parents[1] / "projects" / "previewed"
SCRIPT = "previewed/experiments/00_kinds/hparams.py"


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("previews") / "project"
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def look(copied):
    def look_at(kind: str, split: str = "train", **asked) -> Preview:
        overrides = (f"kind={kind}",)
        return preview(Asked(copied / SCRIPT, split, overrides=overrides, **asked))

    return look_at


def cells(found: Preview, part: int = 0) -> list[Cell]:
    content = found.parts[part].group.content
    assert isinstance(content, list)
    return content


def rows(found: Preview) -> list[list[str]]:
    content = found.parts[0].group.content
    assert isinstance(content, Table)
    return content.rows


def said(found: Preview) -> str:
    return "; ".join(found.parts[0].group.said)


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def mean(cell: Cell) -> np.ndarray:
    return cell.pictures[0].mean(axis=(0, 1))


def test_images_have_their_labels_names_and_numbers(look):
    found = look("images")
    shown = cells(found)
    assert len(shown) == 16
    assert {each.title for each in shown} == {"0 cat", "1 dog", "2 $cow", "3 猫"}
    assert all(each.caption.startswith("#") for each in shown)
    tops = {each.title: int(mean(each)[:3].argmax()) for each in shown}
    assert (tops["0 cat"], tops["1 dog"], tops["2 $cow"]) == (0, 1, 2)  # red, green, blue
    assert said(found) == ""


@pytest.mark.parametrize(
    ("kind", "remark"),
    [
        ("normalized", "normalized: ImageNet's mean and deviation are undone here"),
        ("halves", "rescaled from -1 to 1"),
        ("channels_last", "values 0 to 255 (float32)"),
        ("gray", ""),
        ("video", "of 5 frames or slices the middle one is shown"),
        ("parts", ""),
        ("split", ""),
    ],
)
def test_images_look_the_same_however_they_come(look, kind, remark):
    """Sample for sample: the drawn pictures are those of the plain images of the same classes."""
    plain = {each.title[0]: mean(each) for each in cells(look("images"))}
    found = look(kind)
    for cell in cells(found):
        expected = plain[cell.title[0]]
        if kind == "gray":
            expected = np.full(3, mean(cell)[0])
        assert mean(cell) == pytest.approx(expected, abs=0.01)
    assert said(found) == remark


def test_nan_and_infinite_pixels_stand_out_and_are_counted(look):
    found = look("spoiled")
    for cell in cells(found):
        magenta = (cell.pictures[0] == (1, 0, 1)).all(axis=-1)
        assert magenta.sum() == 17
    assert said(found) == "NaN and infinite pixels are magenta"
    assert "960 NaN, 60 inf" in report.describe(found)


def test_masks_lie_over_the_image_beside_it(look):
    found = look("masks")
    for cell in cells(found):
        plain, tinted = cell.pictures
        changed = (plain != tinted).any(axis=-1)
        assert 0 < changed.sum() < changed.size / 2
        assert cell.title.startswith("classes 0")
    assert found.parts[0].classes is None


def test_images_that_are_targets_stand_beside(look):
    for cell in cells(look("pairs")):
        assert [each.shape for each in cell.pictures] == [(24, 24, 3), (12, 12, 3)]
        assert cell.title == ""


def test_of_many_channels_one_is_shown(look):
    assert said(look("many_channels")).startswith("of 7 channels the first is shown; ")


def test_boxes_are_drawn_around_what_is_labeled(look):
    found = look("boxes")
    counts = {len(each.boxes) for each in cells(found)}
    assert counts == {1, 2}
    assert {each.title for each in cells(found)} == {"1", "1, 1"}
    assert "20 of 1x4 to 2x4" in report.describe(found)
    assert found.parts[0].classes is None


def test_signals_are_curves(look):
    shown = cells(look("signals"))
    assert {each.curves.shape for each in shown} == {(1, 200)}
    assert {each.title for each in shown} == {"0", "1", "2"}
    assert {each.curves.shape for each in cells(look("stream"))} == {(1, 100)}
    found = look("complex")
    assert min(each.curves.min() for each in cells(found)) >= 0
    assert said(found) == "of complex numbers the magnitude is shown"


def test_signals_of_several_channels_and_their_targets(look):
    found = look("channels")
    for cell in cells(found):
        assert (cell.curves.shape, cell.target.shape) == ((3, 200), (1, 200))
    assert said(found) == "dashed: the target"
    assert said(look("electrodes")) == "24 channels, each a row of colors"


def test_all_else_is_a_table(look):
    head, *body = rows(look("table"))
    assert head == ["label", "x[0]", "x[1]", "x[2]", "x[3]", "x[4]"]
    assert len(body) == 16
    for row in body:  # as the dataset has it: the label is the sum
        assert float(row[0]) == pytest.approx(sum(map(float, row[1:])), abs=0.01)
    assert rows(look("wide_table"))[0][-1] == "…"
    assert rows(look("others"))[1] == ["2x3x4x5x6 float32"]
    assert rows(look("unnamed"))[0] == [f"[0][{i}]" for i in range(5)]


def test_texts_and_tokens_are_read(look):
    rows_ = rows(look("texts"))
    assert rows_[0] == ["label", "[0]"]
    assert rows_[1][1].startswith("This is sentence")
    tokens = rows(look("tokens"))[1][1].split()
    assert int(tokens[1]) == int(tokens[0]) + 1


def test_tokens_stand_beside_the_text_that_they_are_of():
    ids, text = torch.tensor([[9, 7, 0], [4, 18, 29915]]), ["sad awful", "not very very"]
    given = leaves([{"input_ids": ids, "text": text, "labels": torch.tensor([0, 1])}])
    x = next(leaf for leaf in given if leaf.path == "input_ids")
    label = next(leaf for leaf in given if leaf.path == "labels")
    made = group("train", given, (x, label), look_of(x), {}, 2)
    assert made.content == Table(
        [
            ["label", "input_ids", "text"],
            ["0", "9 7 0", "sad awful"],
            ["1", "4 18 29915", "not very very"],
        ]
    )
    assert report._leaf_row(x)[3:5] == ("0", "29915")


def test_several_classes_of_a_sample_are_listed_and_counted(look):
    found = look("several")
    assert any("," in row[0] for row in rows(found)[1:])
    counted = found.parts[0].classes
    assert list(counted.counts) == [0, 1, 2, 3, 4, 5]
    assert sum(counted.counts.values()) > counted.total == 40


def test_classes_are_those_of_the_whole_dataset_where_that_is_cheap(look):
    found = look("parts").parts[0].classes
    assert (found.counts, found.seen, found.source) == (
        {0: 12, 1: 12, 2: 13, 3: 13},
        50,
        "get_raw_label",
    )
    found = look("texts").parts[0].classes
    assert (found.seen, found.source) == (20, "batch")
    text = report.describe(look("texts"))
    assert "classes in the batch (of the dataset they can't be had cheaply): 20 samples" in text


def test_when_labels_take_long_so_many_are_counted_as_there_is_time_for():
    dataset = TensorDataset(torch.zeros(100), torch.arange(100) // 50)
    found = classes(dataset, None, patience=-1)
    assert (found.seen, found.total) == (1, 100)


def test_targets_that_are_no_classes_are_not_counted(look):
    assert look("table").parts[0].classes is None


def test_of_many_classes_the_ends_are_listed(look):
    lines = report.describe(look("complex")).splitlines()
    (between,) = [line for line in lines if "in 30 classes" in line]
    assert between.split()[:4] == ["…", "1", "to", "1"]


def test_hooks_of_the_module_have_changed_the_batch(look):
    found = look("hooked")
    by_name = {leaf.path: statistics(leaf) for leaf in found.parts[0].leaves}
    assert by_name["x"].low >= 1  # on_after_batch_transfer, while training
    assert by_name["md.before"].low >= 100


def test_a_datamodules_loaders_are_shown_each(look):
    found = look("datamodule")
    assert [each.name for each in found.parts] == ["train/labeled", "train/unlabeled"]
    assert cells(found)[0].pictures
    assert cells(found, 1)[0].curves is not None
    names = [each.name for each in found.streams]
    assert names == ["train/labeled", "train/unlabeled", "val/0", "val/1"]
    assert [each.name for each in look("datamodule", "val").parts] == ["val/0", "val/1"]


def test_a_module_that_loads_its_data_itself(look):
    assert [each.name for each in look("own").streams] == ["train"]
    assert look("own", "test").parts[0].samples == 8


def test_sizes_of_all_splits_are_listed(look):
    head, train, val = report.describe(look("images")).splitlines()[:3]
    assert head.split() == ["split", "samples", "batches", "batch", "size", "order"]
    assert train.split() == ["train", "40", "2", "20", "shuffled"]
    assert val.split() == ["val", "40", "8", "5", "in", "order"]
    assert report.describe(look("stream")).splitlines()[1].split() == ["train", "-", "-", "20", "-"]


def test_what_is_predicted_on_comes_from_infer_config(look):
    found = look("images", "predict", args=("3",))
    assert sorted(each.caption for each in cells(found)) == ["#0", "#1", "#2"]
    assert {each.title for each in cells(found)} == {""}
    with pytest.raises(UsageError, match="n: expected"):
        look("images", "predict", args=("many",))


def test_more_samples_come_from_more_batches(look):
    found = look("images", count=35)
    assert (len(cells(found)), found.parts[0].batches) == (35, 2)
    assert found.title == "00_kinds/hparams · train · first 2 batches"
    assert len(cells(look("images", count=100))) == 40
    assert len(cells(look("images", count=3))) == 3


def test_a_split_without_data_is_said(look):
    with pytest.raises(UsageError) as caught:
        look("images", "test")
    assert caught.value.message == "there is no data to test on in what train_config returns"
    assert caught.value.hint == "There is some for --split train or val."
    with pytest.raises(ConfigurationError) as empty:
        look("empty")
    assert empty.value.message == "train: there is no batch in its data"
    assert "smaller than a batch where drop_last=True" in str(empty.value)


@pytest.mark.parametrize("kind", ["images", "pairs", "boxes", "signals", "electrodes"])
def test_the_picture_is_drawn(look, tmp_path, kind):
    found = look(kind, out=tmp_path / "new folder" / "seen.png", count=4)
    found.write()
    found.write()  # over the first
    picture = pixels(found.file)
    assert 400 < picture.shape[1] < 1400
    drawn = picture[60:-30, 40:-40]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20
    assert not list(found.file.parent.glob(".*"))


def test_tables_with_formulas_and_strange_letters_are_drawn(look, tmp_path):
    found = look("texts", out=tmp_path / "seen.png")
    found.write()
    assert (pixels(found.file) < 128).all(axis=-1).sum() > 2000


def test_without_matplotlib_the_installation_is_named(look, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = look("images")
    with pytest.raises(UsageError) as caught:
        found.write()
    assert caught.value.message == "the picture is drawn by matplotlib, which is not installed"
    assert caught.value.hint == "pip install 'torch-lab[plot]' installs it."


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((3, 64, 64), torch.float32, "image"),
        ((64, 48, 3), torch.uint8, "image"),
        ((28, 28), torch.float32, "image"),
        ((1, 80, 300), torch.float32, "image"),
        ((16, 16, 16), torch.float32, "image"),
        ((3, 8, 40, 40), torch.float32, "image"),
        ((16000,), torch.float32, "signal"),
        ((1, 5000), torch.float32, "signal"),
        ((12, 5000), torch.float32, "signal"),
        ((500, 6), torch.float32, "signal"),
        ((1, 22, 1000), torch.float32, "signal"),
        ((13,), torch.float32, "values"),
        ((), torch.float32, "values"),
        ((13,), torch.int64, "values"),
        ((512,), torch.int64, "text"),
        ((2, 3, 4, 5, 6), torch.float32, "other"),
    ],
)
def test_what_a_shape_looks_like(shape, dtype, kind):
    (leaf,) = leaves([torch.zeros(2, *shape, dtype=dtype)])
    assert look_of(leaf).kind == kind


def test_what_batches_are_made_of():
    x = torch.zeros(4, 2)
    batch = {"image": x, "meta": {"ids": ["a", "b", "c", "d"], "scale": 2.0}, "views": [x, x]}
    found = {leaf.path: (leaf.shape, leaf.shared) for leaf in leaves([batch])}
    assert found == {
        "image": ((4, 2), False),
        "meta.ids": (None, False),
        "meta.scale": ((), True),
        "views[0]": ((4, 2), False),
        "views[1]": ((4, 2), False),
    }
    assert samples_in([x, x]) == 4
    assert samples_in(["a", "b", "c"]) == 3
    assert samples_in(torch.tensor(3.0)) == 1


def test_odd_tensors_are_looked_into():
    odd = [
        torch.zeros(3, 2, dtype=torch.bfloat16),
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.bool),
        torch.zeros(3, 2, requires_grad=True),
        torch.zeros(3, 0),
        np.zeros((3, 2), np.float16),
    ]
    for value in odd:
        (leaf,) = leaves([value])
        assert len(leaf.values) == 3
        statistics(leaf)
    (leaf,) = leaves([torch.full((2, 2), torch.nan)])
    assert statistics(leaf).nans == 4
    assert statistics(leaf).low is None


def test_large_pictures_are_made_smaller_with_all_that_belongs_to_them():
    """Four quarters; the mask is of one of them, a box around it."""
    x = torch.zeros(2, 3, 1300, 2000)
    x[:, 0, 650:, 1000:] = 1
    mask = (x[:, 0] > 0).long()
    look, names = Look("image"), {}
    found = leaves([[x, mask]])
    (cell, _) = group("train", found, (found[0], found[1]), look, names, 2).content
    plain, tinted = cell.pictures
    assert plain.shape == (325, 500, 3)
    assert ((plain != tinted).any(axis=-1) == (plain[..., 0] > 0)).all()
    boxed = leaves([{"x": x, "boxes": torch.tensor([[[1000.0, 650, 2000, 1300]]] * 2)}])
    (cell, _) = group("train", boxed, (boxed[0], None), look, names, 2).content
    assert cell.boxes.tolist() == [[250, 162.5, 500, 325]]


def test_long_signals_are_drawn_between_their_extremes(tmp_path):
    wave = np.sin(np.linspace(0, 40, 1_000_000))[None]
    wave[0, 777_777] = 9
    long = Cell("a", curves=wave)
    (tmp_path / "x.png").write_bytes(png("x", [Group("train", [long])]))
    ink = (pixels(tmp_path / "x.png") < 180).all(axis=-1)
    places, values = _thinned(wave[0])
    assert len(values) < 4000
    assert (values.max(), values.min()) == (9, wave.min())
    assert places[values.argmax()] == pytest.approx(777_777, abs=1000)
    assert ink.sum() > 100


def test_only_what_reaches_black_is_taken_for_imagenets():
    drawn = np.random.default_rng(0)
    _, remark = scaled([drawn.uniform(-1.2, 1.2, (8, 8, 3))])
    assert remark.startswith("normalized: rescaled from -1.")
    _, remark = scaled([drawn.uniform(-3, 3, (8, 8, 3))])
    assert remark.startswith("normalized: rescaled from -")


def test_images_of_nothing_but_nan_are_drawn():
    nothing, black = np.full((4, 4, 3), np.nan), np.full((4, 4, 3), -2.0)
    pictures, remark = scaled([nothing, black])
    assert (pictures[0] == (1, 0, 1)).all()
    assert remark.endswith("NaN and infinite pixels are magenta")
    assert scaled([nothing])[1] == "NaN and infinite pixels are magenta"


def test_one_value_everywhere_is_no_range():
    pictures, remark = scaled([np.full((4, 4), 7.5)])
    assert np.isfinite(pictures[0]).all()
    assert remark == "rescaled from 7.5 to 7.5"
