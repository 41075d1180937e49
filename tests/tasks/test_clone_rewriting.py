"""What of an experiment's files changes in its clone, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from torch_lab.tasks.clone.references import Move
from torch_lab.tasks.clone.rewriting import rewrite

ROOT = Path("/home/me/my lab")
SOURCE = ROOT / "my_project" / "experiments" / "00_digits"
COPIED = frozenset({"__main__.py", "hparams.py", "weights.json", "parts/net.py"})


def moved(text: str, name: str = "hparams.py", source: Path = SOURCE) -> str:
    dotted = ".".join(source.relative_to(ROOT).parts)
    move = Move(source, ROOT, dotted, "01_wider", COPIED)
    return rewrite(name, text.encode(), move).data.decode()


CHANGED = [
    'import_module("my_project.experiments.00_digits.model")',
    'import_module("my_project.experiments.00_digits")',
    'import_module("..00_digits.model", __package__)',
    'TARGET = "my_project.experiments.00_digits.parts.net.Net"',
    'extend("../00_digits/hparams.py", {})',
    'open("my_project/experiments/00_digits/weights.json")',
    'open("experiments/00_digits/weights.json")',
    'open("/home/me/my lab/my_project/experiments/00_digits/weights.json")',
    'WRITTEN = "my_project/experiments/00_digits/predictions.csv"',
    'FOLDER = "my_project/experiments/00_digits"',
    'FOLDER = "my_project/experiments/00_digits/"',
    'ROOT / "my_project" / "experiments" / "00_digits" / "weights.json"',
    'ROOT / "my_project/experiments" / "00_digits"',
    'EXPERIMENTS / "00_digits" / "weights.json"',
    'EXPERIMENTS / "00_digits" / "parts" / "net.py"',
    'EXPERIMENTS / "00_digits/weights.json"',
    'Path("my_project", "experiments", "00_digits")',
    'os.path.join(ROOT, "experiments", "00_digits", name)',
    'ROOT.joinpath("experiments", "00_digits", "weights.json")',
    'f"{ROOT}/my_project/experiments/00_digits/weights.json"',
    'f"{ROOT}/experiments/00_digits/{name}"',
    'ROOT + "/my_project/experiments/00_digits/weights.json"',
    'r"my_project/experiments/00_digits/weights.json"',
    '"""Type `train my_project/experiments/00_digits/hparams.py`."""',
    '("my_project/experiments/" "00_digits/weights.json")',
]


@pytest.mark.parametrize("line", CHANGED)
def test_what_leads_into_the_source_leads_into_the_clone(line):
    assert moved(f"{line}\n") == f"{line.replace('00_digits', '01_wider')}\n"


KEPT = [
    '"checkpoint_task_id": "00_digits/hparams"',
    '"00_digits/hparams:best"',
    '"00_digits-hparams_v3"',
    '"my_project.experiments.00_digits_old.model"',
    '"my_project/experiments/00_digits_old/weights.json"',
    '"my_project/experiments/100_digits/weights.json"',
    '"my_project/experiments/01_other/00_digits/weights.json"',
    '"other_project.experiments.00_digits"',
    '"other/experiments/00_digits/weights.json"',
    '"/elsewhere/my_project/experiments/00_digits/weights.json"',
    '"my_project/experiments/00_digits/../02_other/hparams.py"',
    '"data/predictions/00_digits.csv"',
    '"data/predictions/00_digits/all.csv"',
    'DATA / "predictions" / "00_digits" / "all.csv"',
    'OUTPUTS / "00_digits"',
    'EXPERIMENTS / "00_digits" / "absent.json"',
    '"tags": ["00_digits"]',
    "names.00_digits",
    "# my_project/experiments/00_digits/hparams.py",
    "x = 1  # as my_project.experiments.00_digits.model has it",
]


@pytest.mark.parametrize("line", KEPT)
def test_all_else_stays_as_it_is(line):
    assert moved(f"{line}\n") == f"{line}\n"


def test_what_exists_but_is_not_copied_is_shared_with_the_source(tmp_path):
    source = tmp_path / "lab" / "00_a"
    source.mkdir(parents=True)
    (source / "big.ckpt").touch()
    move = Move(source, tmp_path, "lab.00_a", "01_b", frozenset({"a.json"}))
    text = b'A = "lab/00_a/a.json"\nB = "lab/00_a/big.ckpt"\nC = "lab/00_a/new.csv"\n'
    done = rewrite("hparams.py", text, move)
    assert done.data == b'A = "lab/01_b/a.json"\nB = "lab/00_a/big.ckpt"\nC = "lab/01_b/new.csv"\n'
    assert [(line.number, line.text) for line in done.left] == [(2, 'B = "lab/00_a/big.ckpt"')]
    assert [line.number for line in done.changed] == [1, 3]


PLAIN = ROOT / "my_project" / "experiments" / "digits"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from my_project.experiments.digits.model import Net", "from .model import Net"),
        ("from my_project.experiments.digits import model", "from . import model"),
        ("from ..digits.parts.net import Net", "from .parts.net import Net"),
        ("import my_project.experiments.digits.model as m", "from . import model as m"),
        ("import my_project.experiments.digits.parts.net as n", "from .parts import net as n"),
    ],
)
def test_import_statements_become_relative(line, expected):
    assert moved(f"{line}  # why\n", source=PLAIN) == f"{expected}  # why\n"


@pytest.mark.parametrize(
    "line",
    [
        "from my_project.experiments.digits_old.model import Net",
        "from my_project.experiments.other import digits",
        "from .model import Net",
        "from ..other.model import Net",
        "import digits",
        "digits = load_digits()",
    ],
)
def test_other_imports_stay(line):
    assert moved(f"{line}\n", source=PLAIN) == f"{line}\n"


def test_deeper_files_are_seen_from_where_they_lie():
    text = 'A = "../../00_digits/weights.json"\nimport_module("...00_digits.model", __package__)\n'
    assert moved(text, "parts/net.py") == text.replace("00_digits", "01_wider")
    assert moved(text, "hparams.py") == text
    line = "from my_project.experiments.digits.model import Net\n"
    assert moved(line, "parts/net.py", PLAIN) == "from ..model import Net\n"


def test_all_other_bytes_are_kept():
    text = (
        "\ufeff# -*- coding: utf-8 -*-\r\n"
        "\r\n"
        'NAME = "Größe",  "my_project/experiments/00_digits/ä.json"   # ünd\t\r\n'
        "\x0cpath = ('my_project.experiments.00_digits.net' ,)\r\n"
        "last = 1"
    )
    assert moved(text) == text.replace("00_digits", "01_wider")


def test_an_old_encoding_is_kept():
    text = '# coding: latin-1\nA = "é my_project/experiments/00_digits/a.json"\n'
    move = Move(SOURCE, ROOT, None, "01_wider", COPIED)
    done = rewrite("hparams.py", text.encode("latin-1"), move)
    assert done.data == text.replace("00_digits", "01_wider").encode("latin-1")


@pytest.mark.parametrize("data", [b"\xff\xfe00_digits", b'# coding: what\n"00_digits"\n'])
def test_what_can_not_be_read_is_copied(data):
    assert rewrite("a.py", data, Move(SOURCE, ROOT, None, "01_wider", COPIED)).data == data
    assert rewrite("a.bin", data, Move(SOURCE, ROOT, None, "01_wider", COPIED)).data == data


def test_code_that_is_no_python_is_copied_and_told():
    done = rewrite(
        "old.py",
        b'print "my_project/experiments/00_digits/weights.json"\n',
        Move(SOURCE, ROOT, None, "01_wider", COPIED),
    )
    assert b"00_digits" in done.data
    assert [line.number for line in done.left] == [1]


def test_texts_beside_the_code_are_rewritten_too():
    text = "#!/bin/sh\n# the best\ntrain my_project/experiments/00_digits/hparams.py -o\n"
    assert moved(text, "run.sh") == text.replace("00_digits", "01_wider")
    assert moved("00_digits/hparams\n", "notes.md") == "00_digits/hparams\n"


def test_a_long_text_takes_no_time():
    blob = "iVBORw0KGgo/" + "A" * 2_000_000
    text = f'{{"image": "{blob}", "from": "my_project/experiments/00_digits/a.json"}}'
    assert moved(text, "look.ipynb") == text.replace("00_digits", "01_wider")
