"""python -m clearml_server --root FOLDER [--port PORT]: serves until its standard input ends."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from clearml_server.control import Serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="clearml_server", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where its data lies")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    options = parser.parse_args()
    serving = Serving(options.root, options.port)
    print(json.dumps({"port": serving.port, "control": serving.control_port}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
