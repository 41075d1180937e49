"""Mistakes in calls of `torch_lab.record()` and `torch_lab.runs()`: said with the user's line."""

from __future__ import annotations

import json
import textwrap

from said import HPARAMS, RUN, Lab

RECORD = {
    "scalar('', 1)": ["expected a name, got '' (str)"],
    "scalar('x', 'y')": ["x: expected one number, got 'y' (str)"],
    "scalar('x', torch.ones(2))": ["x: expected one number, got a Tensor of shape (2,)"],
    "scalar('x', 1, every=0)": [
        "every: expected a positive number, got 0 (int)",
        "An int counts batches, a float seconds; a timedelta will do.",
    ],
    "image('x', object())": [
        "can't make an image of an object",
        "Give a tensor, an array, a PIL image or a path; figures go to .figure().",
    ],
    "image('x', 'nowhere.png')": ["can't read the image nowhere.png: No such file or directory"],
    "image('x', 'pyproject.toml')": ["pyproject.toml is no image that Pillow can read"],
    "image('x', torch.ones(2, 2).to(torch.complex64))": [
        "an image of complex64 values: expected numbers"
    ],
    "figure('x', 3)": [
        "can't draw 3 (int)",
        "Give a matplotlib figure or axes, or a plotly figure; arrays go to .image().",
    ],
    "table('x', 3)": [
        "can't make a table of 3 (int)",
        "Give a list of dicts or of sequences, a dict of columns, or a data frame.",
    ],
    "table('x', {'a': [1]}, columns=['b'])": ["the table has no column 'b'; it has ['a']"],
    "table('x', {'a': [1], 'b': []})": ["the table's columns differ in length (a: 1, b: 0)"],
    "table('x', [{'a': 1}, 3])": [
        "a row of the table is {'a': 1} (dict): expected all to be dicts, or all sequences"
    ],
    "table('x', [[1, 2], [3]])": ["row 1 of the table has 1 value for 2 columns"],
    "artifact('nowhere.txt')": ["there is no file or folder nowhere.txt to keep"],
    "artifact('.')": [". holds this run itself: it can't be a part of it"],
}
RUNS = {
    "runs('nowhere')": ["runs: there is no ROOT/nowhere"],
    "runs().where(statu='completed')": ["no run has a 'statu'", 'did you mean "status"?'],
    "runs().best('acuracy')": ['none of 1 run has a value of "acuracy"', "there are none"],
    "runs().best('acuracy', mode='least')": ["best: mode 'least'", "there are min, max"],
    "runs('lab_project')[0:0].best('x')": ["there are no runs to choose from"],
    "build('nowhere.py')": ["nowhere.py does not exist"],
    f"build('{HPARAMS}', function='trainconfig')": [
        "build: function 'trainconfig' (str)",
        'did you mean "train_config"?',
    ],
    f"build('{HPARAMS}', args=['a'])": ["build: args ['a']", "train_config takes none but config"],
}
CODE = """
import json
import sys
import torch_lab
from torch_lab.errors import TorchLabError
def train_config(config):
    found = {}
    for call in CALLS:
        try:
            repr(eval(call, globals() | {"record": torch_lab.record()}))
        except TorchLabError as error:
            found[call] = str(error)
    print(json.dumps(found), file=sys.stderr)
    raise SystemExit(0)
"""


def messages(lab: Lab, calls: list[str]) -> dict[str, str]:
    lab.append(textwrap.dedent(CODE).replace("CALLS", repr(calls)))
    said = lab.says("train", HPARAMS)
    found: dict[str, str] = json.loads(said.err.splitlines()[0])
    return found


def test_record(lab: Lab) -> None:
    found = messages(lab, [f"record.{call}" for call in RECORD])
    for call, (expected, *hint) in RECORD.items():
        message, *told = found[f"record.{call}"].splitlines()
        assert message.startswith(f"record().{call.partition('(')[0]}(")
        assert message.endswith(f"): {expected}")
        assert told == hint
    assert lab.run(RUN).record["status"] == "failed"


def test_runs(lab: Lab) -> None:
    found = messages(lab, [f"torch_lab.{call}" for call in RUNS])
    for call, lines in RUNS.items():
        assert found[f"torch_lab.{call}"].splitlines()[: len(lines)] == lines
