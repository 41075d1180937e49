"""Predictions that can't be written: what is wrong with them, and in which samples."""

from __future__ import annotations

import pytest
from said import HPARAMS, LINES, MAIN, Lab

from torch_lab.callbacks.predictions.writer import _agreed
from torch_lab.errors import ConfigurationError

CONFIGURATION = """\
from torch_lab.callbacks import PredictionWriter
from torch_lab.modules import LabModule
class Net(LabModule):
    def predict_step(self, batch, batch_idx):
        y = self(batch[0]) if isinstance(batch, (list, tuple)) else None
        return STEP
def infer_config(config):
    writer = PredictionWriter(WRITER)
    data = LOADER
    return {"module": Net(nn.Linear(2, 1)), "predict_dataloaders": data, "callbacks": [writer]}
"""
END = "in callback PredictionWriter.on_predict_batch_end\nin prediction, batch {}, samples {}"
FIRST = END.format(1, "0, 1, 2, 3")


def said(lab: Lab, step: str, writer: str = '"out.csv"', loader: str = "loader()") -> str:
    text = CONFIGURATION.replace("STEP", step).replace("WRITER", writer)
    lab.append(text.replace("LOADER", loader))
    return lab.mistake("infer", HPARAMS, "--checkpoint", "none")


@pytest.mark.parametrize(
    ("step", "writer", "message"),
    [
        (
            '{"y_pred": y[:3]}',
            '"out.csv"',
            "predictions: y_pred holds 3 for a batch of 4 samples\n"
            "predict_step has to return one of everything for each sample; what it returns"
            " besides can be left out: say what a row holds:"
            f" PredictionWriter(path, columns=[…]), or row=function\n{FIRST}",
        ),
        (
            '{"y_pred": y}',
            '"out.csv", columns=["y_perd"]',
            f'predictions have no "y_perd", which columns= names\ndid you mean "y_pred"?\n{FIRST}',
        ),
        (
            '{"y_pred": y}',
            '"out.csv", row=lambda *args, **kwargs: 3',
            f"row= has to return a dict of columns for each sample; got 3 (int)\n{FIRST}",
        ),
        (
            '{"y_pred" if batch_idx == 0 else "z": y}',
            '"out.csv"',
            "predictions: sample 4 has the columns index, z; the first row has index, y_pred\n"
            "Every row needs the same columns: give None where there is no value.\n"
            f"{END.format(2, '4, 5, 6, 7')}",
        ),
        (
            '{"y_pred": y}',
            '"out.csv", columns=["y_pred"], row=print',
            "PredictionWriter takes columns= or row=, not both\n"
            f"  at {MAIN}:{LINES + 9}: writer ="
            ' PredictionWriter("out.csv", columns=["y_pred"], row=print)\n'
            "The function given as row= says which columns there are, and in which order.",
        ),
        (
            "y",
            '"out.txt"',
            "PredictionWriter('out.txt'): the ending says the format, and '.txt' is none\n"
            f'  at {MAIN}:{LINES + 9}: writer = PredictionWriter("out.txt")\n'
            "There are .csv, .csv.gz, .jsonl, .jsonl.gz, .ndjson, .ndjson.gz, .parquet.",
        ),
        (
            "y",
            '"lab_project"".csv"',
            "can't write predictions to lab_project.csv: there is a folder of that name\n"
            "Choose another place, or mend this one.\n"
            "in callback PredictionWriter.setup",
        ),
    ],
    ids=["length", "name", "row", "columns", "both", "ending", "folder"],
)
def test_what_does_not_fit(lab: Lab, step: str, writer: str, message: str) -> None:
    (lab.root / "lab_project.csv").mkdir()
    assert said(lab, step, writer) == message
    assert not (lab.root / "out.csv").exists()


def test_a_parquet_column_of_two_kinds(lab: Lab) -> None:
    pytest.importorskip("pyarrow")
    message = said(lab, '{"a": ["x"] * 4 if batch_idx else [1] * 4}', '"out.parquet"')
    assert message.startswith(
        'predictions: column "a" of a Parquet file has to hold one type,'
        " and can't in rows 0 to 11: "
    )
    assert message.endswith(
        "\nGive the column one type in row=, or write CSV or JSON lines.\n"
        "in callback PredictionWriter.on_predict_end"
    )


def test_nothing_to_write(lab: Lab) -> None:
    lab.append(CONFIGURATION.replace("STEP", "None").replace("WRITER", '"a.csv"'))
    (lab.root / MAIN).write_text((lab.root / MAIN).read_text().replace("LOADER", "loader()"))
    done = lab.says("infer", HPARAMS, "--checkpoint", "none")
    assert done.status == 2
    found = done.err.partition("error: ")[2]
    assert found == f"predict_step returned None: there is nothing to write\n{FIRST}\n"


def test_processes_that_disagree() -> None:
    """Each has its own rows until the end; only then can they be compared."""
    with pytest.raises(ConfigurationError) as caught:
        _agreed([{"index": "int64", "y": "float32"}, {"index": "int64", "z": "float32"}])
    assert str(caught.value) == (
        "predictions: one process has the columns index, y, another one index, z\n"
        "Every row needs the same columns: give None where there is no value."
    )
