"""`lab env`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from torch_lab.cli.options import HELP, Option, Reader, answered, option_lines
from torch_lab.errors import UsageError

OPTIONS = (Option("--json", help="everything, for other programs"), HELP)

HELP_TEXT = f"""\
lab env [options]      the machine as training sees it

  lab env
  lab env --json | jq .packages.torch

{option_lines(OPTIONS)}
"""


def command(argv: Sequence[str]) -> int | None:
    """Show the machine."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if parsed.words:
        words = " ".join(parsed.words)
        raise UsageError(f"lab env takes no words, got {words}", hint="type `lab env`")
    from torch_lab.tasks import env as task

    data = task.collect()
    text = json.dumps(data, indent=2) + "\n" if parsed.has("--json") else task.describe(data)
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0
