"""What a page of curves holds, before any browser has seen it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from plotted_runs import falling, stored, write_items, write_run
from torch_lab.tasks.plot import media
from torch_lab.tasks.plot.charts import charts
from torch_lab.tasks.plot.comparison import PlottedRun, plotted
from torch_lab.tasks.plot.page import embedded, page, plain

PLOTLY = pytest.importorskip("plotly.offline")
_DATA = re.compile(rb'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def made(runs: list[PlottedRun], **options) -> bytes:
    found = charts([run.curves for run in runs], main="loss/validate")
    return page(runs, found, title="<title> & more", made="now", **options)


def data(content: bytes) -> dict[str, Any]:
    found = _DATA.search(content)
    assert found is not None
    return json.loads(found[1])


def one(artifacts: Path, rows, **record) -> list[PlottedRun]:
    write_run(artifacts, "00_a-hparams_v0", rows, **record)
    return plotted([stored(artifacts, "00_a-hparams_v0")])


def test_texts_end_no_tag() -> None:
    odd = {"</script><script>alert(1)//": "<!-- \u2028 & \ud800"}
    text = embedded(odd)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == odd


def test_only_its_own_scripts_may_run(tmp_path: Path) -> None:
    content = made(one(tmp_path, falling(0.1)), axis="epoch", smooth=0.05).decode()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', content)
    assert policy is not None
    allowed = set(re.findall(r"'sha256-(.*?)'", html.unescape(policy[1])))
    scripts = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    digests = [hashlib.sha256(each.encode()).digest() for each in scripts]
    assert {base64.b64encode(each).decode() for each in digests} == allowed
    assert len(scripts) == 2
    assert html.unescape(policy[1]).startswith("default-src 'none';")
    assert "<title>&lt;title&gt; &amp; more</title>" in content
    assert (data(content.encode())["axis"], data(content.encode())["smooth"]) == ("epoch", 0.05)


def test_a_long_run_is_a_small_page(tmp_path: Path) -> None:
    values = ({"loss/train": 1 / (i + 1), "norm": math.sin(i)} for i in range(50_000))
    runs = one(tmp_path, [(i, i // 1000, each) for i, each in enumerate(values)])
    content = made(runs)
    assert len(content) - len(PLOTLY.get_plotlyjs()) < 300_000
    found = data(content)
    assert len(found["places"]) == 1  # what was logged together is so at the same steps
    (curve,) = next(chart for chart in found["charts"] if chart["title"] == "loss")["curves"]
    assert len(curve["y"]) == len(curve["low"]) == 1000
    assert sum(curve["count"]) == 50_000
    assert found["runs"][0]["final"]["loss/train"] == [1 / 50_000, 1 / 50_000, 1.0]


def test_very_many_curves_share_the_room(tmp_path: Path) -> None:
    names = [f"m{i}" for i in range(400)]
    runs = one(tmp_path, [(i, 0, dict.fromkeys(names, float(i))) for i in range(600)])
    found = data(made(runs))
    assert {len(chart["curves"][0]["y"]) for chart in found["charts"]} == {500}


def test_numbers_that_are_none(tmp_path: Path) -> None:
    rows = [(1, 0, {"loss": "nan", "acc": 0.5}), (2, 0, {"loss": "inf", "acc": 1.0})]
    found = data(made(one(tmp_path, rows)))
    curves = {chart["title"]: chart["curves"][0]["y"] for chart in found["charts"]}
    assert curves == {"loss": [None, None], "acc": [0.5, 1]}
    assert found["runs"][0]["final"]["loss"] == ["inf", "inf", "inf"]
    assert found["directions"] == {"loss": -1, "acc": 1}


def test_hyperparameters_are_numbers_or_texts() -> None:
    given = [1, 0.5, True, None, "x" * 300, [1, 2], math.inf, 2**80]
    shown = [1, 0.5, "True", "None", "x" * 200, "[1, 2]", "inf", str(2**80)]
    assert [plain(value) for value in given] == shown


def item(name: str, batch: int, **more: Any) -> dict[str, Any]:
    file = f"media/{name}/{batch:06d}.png"
    return {"kind": "image", "name": name, "file": file, "batch": batch, "step": batch, **more}


def test_recorded_items(tmp_path: Path) -> None:
    runs = one(tmp_path, falling(0.1))
    figure = {"kind": "figure", "name": "bars", "batch": 2, "step": 2}
    figure |= {"file": "media/bars/2.html", "data": "media/bars/2.json"}
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    write_items(
        runs[0].stored.directory.path,
        [
            (item("val/digits", 1, caption="a <b>", size=[8, 8]), b"first"),
            (item("val/digits", 2), b"second"),
            (figure, b'{"data": [{"type": "bar", "y": [1]}], "layout": {"title": "x"}}'),
            (item("odd", 3) | {"file": "media/../../secret.png"}, b"secret"),
            (item("odd", 3) | {"kind": "artifact", "file": "media/odd/a.png"}, b"x"),
            (figure | {"name": "broken", "data": "media/b.json"}, b"{"),
            (figure | {"name": "list", "data": "media/l.json"}, b"[]"),
        ],
    )
    (runs[0].stored.directory.path / "media" / "val" / "digits" / "000002.png").unlink()
    found = data(made(runs))["media"]
    assert [group["name"] for group in found] == ["val/digits", "bars"]
    (picture,) = found[0]["items"]
    assert picture["image"] == "data:image/png;base64," + base64.b64encode(b"first").decode()
    assert (picture["caption"], picture["size"], picture["step"]) == ("a <b>", [8, 8], 1)
    (bars,) = found[1]["items"]
    assert bars["figure"] == {"data": [{"type": "bar", "y": [1]}], "layout": {"title": "x"}}


def test_where_there_is_too_much_fewer_moments_are_shown_the_last_one_always(
    tmp_path: Path,
) -> None:
    runs = one(tmp_path, falling(0.1))
    made = [(item("a", batch, index=index), bytes(100)) for batch in range(40) for index in (0, 1)]
    for number, (content, _) in enumerate(made):
        content["file"] = f"media/a/{number}.png"
    write_items(runs[0].stored.directory.path, made)
    found = media.gallery(runs, room=2500)
    batches = [each.item.batch for each in found.shown]
    assert batches == [3, 3, 7, 7, 11, 11, 15, 15, 19, 19, 23, 23, 27, 27, 31, 31, 35, 35, 39, 39]
    assert found.recorded == 80
    assert [each.item.batch for each in media.gallery(runs, room=150).shown] == [39]
    assert len(media.gallery(runs).shown) == 80


def test_large_pictures_are_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    runs = one(tmp_path, falling(0.1))
    folder = runs[0].stored.directory.path
    write_items(folder, [(item("big", 1), b"x"), (item("none", 1), bytes(500))])
    image.effect_noise((1400, 700), 100).save(folder / "media" / "big" / "000001.png")
    monkeypatch.setattr(media, "LARGEST", 400)
    (group,) = data(made(runs))["media"]
    content = base64.b64decode(group["items"][0]["image"].removeprefix("data:image/jpeg;base64,"))
    (tmp_path / "small.jpg").write_bytes(content)
    with image.open(tmp_path / "small.jpg") as small:
        assert small.size == (1024, 512)
