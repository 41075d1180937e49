"""The page of `lab plot` in a real browser."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import Browser, installed
from plotted_runs import falling, searched, write_items, write_run
from torch_lab.cli import plot
from torch_lab.tasks.plot.thinning import smoothed

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
ODD = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp; $\\frac{1}{2}$ =1+1'
RUNS = ("00_digits-hparams_v0", "00_digits-hparams_v1", "00_digits-small_v0")
# What Plotly keeps of the charts: their names, and of each the curves that are drawn.
CHARTS = """[...document.querySelectorAll('.chart')].filter(c => !c.hidden).map(c => ({
  title: c.getAttribute('aria-label'), drawn: c.querySelectorAll('.scatterlayer .trace').length,
  curves: (c.querySelector('.plot').data || []).map(t => ({run: t.meta, name: t.name || "",
    x: [...t.x], y: [...t.y], dash: t.line.dash}))}))"""
DRAWN = f"{CHARTS}.every(chart => chart.drawn)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if installed() is None:
        assert os.environ.get("CI") != "true", "CI has to have a Chromium: .ci/run installs it"
        pytest.skip("there is no Chromium here: apt-get install chromium")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs with images, a figure and texts that are not nice, drawn by the command."""
    pytest.importorskip("plotly")
    root = tmp_path_factory.mktemp("a project's <folder>")
    (root / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "0"\n')
    for number, name in enumerate(RUNS):
        config = {"lr": 10.0 ** -(number + 1), "width": 16 * (number + 1), "note": f"{ODD}{number}"}
        folder = write_run(
            root / "data" / "artifacts",
            name,
            [*falling(0.1 + number / 10, epochs=6, batches=20), (120, 5, {f"{ODD}/train": 1.0})],
            number=number,
            hparams={"config": config},
            status="failed" if number == 2 else "completed",
            reason=ODD,
        )
        write_items(folder, recorded(number))
    return drawn(root, "experiment=00_digits", "--out", "curves.html")


def drawn(root: Path, *words: str) -> Path:
    before = Path.cwd()
    os.chdir(root)
    try:
        assert plot.command(words) == 0
    finally:
        os.chdir(before)
    return root / words[-1]


def recorded(number: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    for batch in (60, 120):
        for index in range(3):
            item = {"kind": "image", "name": "val/digits", "index": index, "size": [8, 8]}
            file = {"file": f"media/val/digits/{batch}-{index}.png", "caption": f"{index} {ODD}"}
            yield item | file | {"batch": batch, "step": batch - 1}, png(number + index)
        figure = {"data": [{"type": "heatmap", "z": [[9, number], [1, 8]]}], "layout": {}}
        where = {"file": "media/c.html", "data": f"media/confusion/{batch}.json", "batch": batch}
        item = {"kind": "figure", "name": "confusion/validate", "step": batch - 1}
        yield item | where, json.dumps(figure).encode()


def png(seed: int) -> bytes:
    image = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    image.fromarray(values).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page; nobody complained about it, and nothing but it was asked for, in the end."""
    browser.size(1200, 900)
    browser.open(page)
    browser.until(DRAWN)
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == [page.absolute().as_uri()]


def runs_in(chart: dict[str, Any]) -> set[str]:
    return {curve["run"] for curve in chart["curves"]}


def test_the_curves_are_there(opened: Browser) -> None:
    found = {chart["title"]: chart for chart in opened.does(CHARTS)}
    assert set(found) == {"loss", "accuracy", ODD}
    assert next(iter(found)) == "loss"
    assert [len(found[title]["curves"]) for title in ("loss", "accuracy", ODD)] == [6, 3, 3]
    assert found["loss"]["drawn"] == 6
    train = next(
        curve
        for curve in found["loss"]["curves"]
        if curve["run"] == RUNS[1] and curve["name"].endswith("train")
    )
    assert (train["x"], train["dash"]) == (list(range(120)), "dot")
    logged = [v["loss/train"] for _, _, v in falling(0.2, 6, 20) if "loss/train" in v]
    assert train["y"] == pytest.approx(logged, rel=1e-5)


def test_choosing_a_run_hides_the_others(opened: Browser) -> None:
    images = "[...document.querySelectorAll('.pictures [data-run]')].map(e => e.dataset.run)"
    opened.does("document.getElementById('media').scrollIntoView()")
    opened.until(f"{images}.length === 6")
    opened.press(f'#runs button[title="only {RUNS[1]}"]')
    assert all(runs_in(chart) == {RUNS[1]} for chart in opened.does(CHARTS))
    assert opened.does(CHARTS)[0]["drawn"] == 2
    assert set(opened.does(images)) == {"1"}
    assert opened.does("document.querySelectorAll('#coordinates path').length") == 1
    off = (
        "[...document.querySelectorAll('#table tbody tr.off td:first-child')].map(e => e.innerText)"
    )
    assert opened.does(off) == [RUNS[2], RUNS[0]]
    opened.press(f'#runs input[aria-label="show {RUNS[0]}"]')
    assert runs_in(opened.does(CHARTS)[0]) == {RUNS[0], RUNS[1]}
    opened.press("#runs .top button")
    assert runs_in(opened.does(CHARTS)[0]) == set(RUNS)


def test_pointing_at_a_run_lifts_it_out_of_the_others(opened: Browser) -> None:
    faint = "document.querySelector('.plot').data.filter(t => t.opacity < 1).map(t => t.meta)"
    place = "(r => [r.x + 50, r.y + 15])(document.querySelector('.run').getBoundingClientRect())"
    opened.mouse("mouseMoved", *opened.does(place))
    opened.until(f"{faint}.length === 4")
    assert set(opened.does(faint)) == {RUNS[0], RUNS[1]}
    opened.mouse("mouseMoved", 1, 1)
    opened.until(f"{faint}.length === 0")


def test_axes_smoothing_parts_and_logarithms(opened: Browser) -> None:
    before = opened.does(CHARTS)[0]["curves"]
    opened.press(".choice button:nth-child(2)")
    epochs = opened.does(CHARTS)[0]["curves"][0]["x"]
    assert epochs == pytest.approx([batch / 20 for batch in range(1, 121)])
    opened.press(".choice button:nth-child(3)")
    assert opened.does(CHARTS)[0]["curves"][0]["x"] == list(range(1, 121))
    opened.press(".choice button:nth-child(1)")
    slider = "document.getElementById('smooth')"
    opened.does(f"({slider}.value = 5, {slider}.dispatchEvent(new Event('input')), 0)")
    opened.settle()
    assert opened.does("document.querySelector('#tools output').innerText") == "5 %"
    # What lies behind is as it was; the lines before it are what pictures show.
    curves = opened.does(CHARTS)[0]["curves"]
    assert (len(curves), curves[0]["y"]) == (12, before[0]["y"])
    x, y = np.array(before[0]["x"], dtype=float), np.array(before[0]["y"])
    assert curves[1]["y"] == pytest.approx(smoothed(y, x, np.ones(len(y)), 0.05 * 119).tolist())
    opened.press(".switch:nth-of-type(2)")
    assert {c["name"].split(" · ")[1] for c in opened.does(CHARTS)[0]["curves"] if c["name"]} == {
        "validate"
    }
    saved = opened.does("Plotly.toImage(document.querySelector('.plot'), {format: 'png'})")
    assert saved.startswith("data:image/png;base64,")
    opened.press(".switch")
    kind = "document.querySelector('.plot')._fullLayout.yaxis.type"
    assert opened.does(kind) == "log"


def test_what_was_set_and_what_came_out(opened: Browser) -> None:
    head = "[...document.querySelectorAll('#table thead tr:last-child th')].map(e => e.innerText)"
    assert opened.does(head)[:6] == ["run", "status", "lr", "width", "note", "loss/train"]
    column = (
        "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{}].innerText)".format
    )
    assert opened.does(column(0)) == [RUNS[2], RUNS[1], RUNS[0]]
    assert opened.does(column(2)) == ["0.001", "0.01", "0.1"]
    assert opened.does(column(4)) == [f"{ODD}{number}" for number in (2, 1, 0)]
    opened.press("#table thead tr:last-child th:nth-child(4) button")
    assert opened.does(column(3)) == ["16", "32", "48"]
    best = "[...document.querySelectorAll('td.best')].map(e => e.parentNode.cells[0].innerText)"
    assert set(opened.does(best)) == {RUNS[0]}


def test_recorded_images_and_figures(opened: Browser) -> None:
    opened.does("document.getElementById('media').lastChild.scrollIntoView()")
    opened.until("document.querySelectorAll('.plotly-figure .heatmaplayer image').length === 3")
    captions = "[...document.querySelectorAll('#media figcaption')].map(e => e.innerText)"
    assert opened.does(captions)[:3] == [f"{index} {ODD}" for index in range(3)]
    sizes = "[...document.querySelectorAll('#media img')].map(e => [e.naturalWidth, e.width])"
    assert opened.does(sizes) == [[8, 128]] * 9
    first = "document.querySelector('#media img').src"
    said = "document.querySelector('#media output').innerText"
    last, step = opened.does(first), opened.does(said)
    slider = "document.querySelector('#media input')"
    opened.does(f"({slider}.value = 0, {slider}.dispatchEvent(new Event('input')), 0)")
    assert (step, opened.does(said)) == ("step 119", "step 59")
    assert opened.does(first) == last  # each run recorded the same image twice
    opened.press("#media img")
    assert opened.does("document.querySelector('dialog').open")
    opened.press("dialog img")
    opened.until("!document.querySelector('dialog')")


def test_parallel_coordinates_choose_runs(opened: Browser) -> None:
    grip = "[...document.querySelectorAll('#coordinates .grip')]"
    opened.does("document.getElementById('coordinates').scrollIntoView()")
    labels = (
        "[...document.querySelectorAll('#coordinates text:not(.tick)')].map(e => e.textContent)"
    )
    assert opened.does(labels)[:2] == ["lr", "width"]
    box = opened.does(
        f"(r => [r.x + r.width / 2, r.y, r.height])({grip}[1].getBoundingClientRect())"
    )
    x, top, height = box
    opened.mouse("mousePressed", x, top + height)
    opened.mouse("mouseMoved", x, top + height * 0.6)
    opened.mouse("mouseReleased", x, top + height * 0.4)
    opened.settle()
    assert runs_in(opened.does(CHARTS)[0]) == {RUNS[0], RUNS[1]}
    opened.mouse("mousePressed", x, top + height / 2)
    opened.mouse("mouseReleased", x, top + height / 2)
    opened.settle()
    assert runs_in(opened.does(CHARTS)[0]) == set(RUNS)


def test_it_fits_the_window_in_light_and_dark(opened: Browser) -> None:
    inside = "[...document.querySelectorAll('.plot')].every(e => e.scrollWidth <= e.clientWidth)"
    color = "getComputedStyle(document.body).backgroundColor"
    for width in (1200, 800, 400):
        opened.size(width, 900)
        opened.until(f"document.documentElement.scrollWidth <= {width} && {inside}")
    for scheme, background in (("dark", "rgb(17, 20, 26)"), ("light", "rgb(246, 247, 249)")):
        opened.prefer(scheme)
        opened.until(f"{color} === '{background}'")
    opened.press("#tools > .switch:last-child")
    assert opened.does(color) == "rgb(17, 20, 26)"


def test_a_single_run_has_all_its_values(browser: Browser, page: Path) -> None:
    alone = drawn(page.parent, RUNS[0], "--metric", "loss/*", "--smooth", "0.02", "--out", "1.html")
    browser.size(1200, 900)
    browser.open(alone)
    browser.until(DRAWN)
    (chart,) = browser.does(CHARTS)
    assert {curve["name"] for curve in chart["curves"] if curve["name"]} == {"train", "validate"}
    shown = "document.getElementById('{}').hidden".format
    assert browser.does(f"[{shown('runs')}, {shown('coordinates')}]") == [True, True]
    settings = "[...document.querySelectorAll('.settings dt')].map(e => e.innerText)"
    assert browser.does(settings) == ["config.lr", "config.width", "config.note"]
    last = browser.does("document.querySelector('#table tbody td:nth-child(2)').innerText")
    assert float(last) == pytest.approx(0.1 + 2 * math.exp(-4), rel=1e-3)
    assert browser.complaints() == []
    assert browser.requests() == [alone.absolute().as_uri()]


def test_of_many_runs_the_better_ones_are_drawn_over_the_others(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "0"\n')
    losses = [1.0 + number * 7 % 18 for number in range(18)]
    for number, loss in enumerate(losses):
        rows = [(1, 0, {"loss/validate": loss})]
        hparams = {"config": {"lr": number, "kind": "ab"[number % 2]}}
        name = f"00_a-hparams_v{number}"
        write_run(tmp_path / "data" / "artifacts", name, rows, number=number, hparams=hparams)
    browser.open(drawn(tmp_path, "00_*", "--out", "curves.html"))
    browser.until(DRAWN)
    lines = "[...document.querySelectorAll('#coordinates path')]"
    browser.until(f"{lines}.length === 18")
    order = browser.does(f"{lines}.map(e => 17 - Number(e.dataset.run))")  # the newest comes first
    assert [losses[number] for number in order] == sorted(losses, reverse=True)
    assert len(set(browser.does(f"{lines}.map(e => getComputedStyle(e).stroke)"))) == 18
    find = "document.querySelector('#runs input[type=search]')"
    browser.does(f"({find}.value = 'v17', {find}.dispatchEvent(new Event('input')), 0)")
    shown = "[...document.querySelectorAll('.run')].filter(e => !e.hidden).map(e => e.innerText)"
    assert [text.split()[0] for text in browser.does(shown)] == ["00_a-hparams_v17"]
    assert browser.complaints() == []


def digits(count: int) -> list[np.ndarray]:
    """Some of those that ship with the example."""
    with gzip.open(ROOT / "data" / "raw" / "digits.csv.gz", "rt") as file:
        lines = [next(file).split(",") for _ in range(count)]
    return [np.array(line[:64], dtype=float).reshape(8, 8) * 15.9 for line in lines]


def sweep(artifacts: Path) -> None:
    """Runs as a researcher has them, with images."""
    for number in range(7):
        rows, config = searched(number)
        name = f"00_digits-hparams_v{number}"
        folder = write_run(artifacts, name, rows, number=number, hparams={"config": config})
        write_items(folder, seen(number))


def seen(number: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    image = pytest.importorskip("PIL.Image")
    for index, digit in enumerate(digits(5)):
        out = io.BytesIO()
        image.fromarray(digit.astype(np.uint8)).save(out, format="PNG")
        item = {"kind": "image", "name": "validate/digits", "file": f"media/d/{index}.png"}
        said = index if index != number % 5 else 8
        more = {"caption": f"{said}, is {index}", "size": [8, 8], "batch": 800, "step": 799}
        yield item | more | {"index": index}, out.getvalue()


def test_the_picture_in_the_docs(browser: Browser, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "0"\n')
    sweep(tmp_path / "data" / "artifacts")
    made = drawn(tmp_path, "00_*", "--smooth", "0.05", "--out", "curves.html")
    browser.size(1200, 1000)
    browser.prefer("light")
    browser.open(made)
    browser.until(DRAWN)
    browser.settle()
    browser.screenshot(tmp_path / "page.png")
    with image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1200, 1000)
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0x42, 0x69, 0xD0), (0xFF, 0x72, 0x5C), (0x3C, 0xA9, 0x51)} <= colors
    if os.environ.get("TORCH_LAB_PICTURES") == "1":
        shutil.copy(tmp_path / "page.png", PICTURES / "plot-page.png")
