from __future__ import annotations

from store_helpers import SOURCES, python

HEAVY = ["torch", "pytorch_lightning", "clearml", "numpy", "rich", "click"]
CODE = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(*sorted(set(sys.argv[1].split()) & set(sys.modules)))
"""


def test_store_loads_nothing_heavy() -> None:
    folder = SOURCES / "torch_lab" / "store"
    names = [f"torch_lab.store.{path.stem}" for path in sorted(folder.glob("*.py"))]
    names = [name.removesuffix(".__init__") for name in names] + ["torch_lab.utils.files"]
    output, _ = python(CODE, " ".join(HEAVY), *names).communicate()
    assert output == "\n"
