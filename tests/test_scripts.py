from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

import torch_lab.utils
from script_helpers import clean_imports, make_package, output, python, write
from torch_lab.errors import ConfigurationError, HparamsError, ScriptError
from torch_lab.utils import (
    compile_config,
    get_hparams_and_config_path,
    import_script_as_module,
)


@pytest.fixture(autouse=True)
def _clean(tmp_path):
    with clean_imports(tmp_path):
        yield


EXPERIMENT = """
    from __future__ import annotations

    from dataclasses import dataclass

    from my_project.models import Net

    from ...models import Net as Same
    from . import helpers
    from .helpers import Help

    assert Net is Same


    @dataclass
    class Mine:
        x: int = 1
"""


def make_experiment(folder: Path, text: str = EXPERIMENT) -> Path:
    write(folder / "helpers.py", f"class Help:\n    where = {str(folder)!r}\n")
    return write(folder / "__main__.py", text)


def make_project(root: Path, where: str = "experiments/00_a") -> Path:
    """A project; the path of the configuration script in a folder of its package."""
    package = make_package(root)
    write(package / "models.py", "class Net: pass")
    return make_experiment(package / where)


# Names


def test_the_real_dotted_name(tmp_path):
    script = make_project(tmp_path)
    module = import_script_as_module(script)
    assert module.__name__ == "my_project.experiments.00_a.__main__"
    assert module.__package__ == "my_project.experiments.00_a"
    assert sys.modules[module.__name__] is module
    assert module.Help.__module__ == "my_project.experiments.00_a.helpers"
    assert sys.path[-1] == str(tmp_path)
    assert import_script_as_module(script) is module
    assert sys.path.count(str(tmp_path)) == 1


def test_the_import_root_is_above_the_topmost_package(tmp_path):
    write(tmp_path / "pyproject.toml")
    write(tmp_path / "__init__.py")  # the project's root itself is no package
    write(tmp_path / "src" / "top" / "__init__.py")
    script = write(tmp_path / "src" / "top" / "a" / "sub" / "hparams.py", "x = 1")
    write(script.parent / "__init__.py")
    assert import_script_as_module(script).__name__ == "top.a.sub.hparams"
    assert sys.path[-1] == str(tmp_path / "src")


def test_a_package_without_a_project(tmp_path):
    script = make_experiment(tmp_path / "00_a", "from .helpers import Help")
    write(script.parent / "__init__.py")
    assert import_script_as_module(script).__name__ == "00_a.__main__"


def test_a_hyperparameter_script_is_executed_anew(tmp_path):
    script = write(make_project(tmp_path).parent / "hparams.py", "hparams = {'config': {}}")
    first, second = import_script_as_module(script), import_script_as_module(script)
    first.hparams["config"]["x"] = 1
    assert second.hparams == {"config": {}}
    assert sys.modules["my_project.experiments.00_a.hparams"] is second


def test_functions_of_a_hyperparameter_script_pickle(tmp_path):
    script = write(make_project(tmp_path).parent / "hparams.py", "def schedule(x): return 2 * x")
    module = import_script_as_module(script)
    assert pickle.loads(pickle.dumps(module.schedule))(3) == 6


def test_any_working_directory_and_relative_paths(tmp_path, monkeypatch):
    script = make_project(tmp_path)
    for folder, path in [
        (tmp_path, "my_project/experiments/00_a/__main__.py"),
        (script.parent, "__main__.py"),
        (script.parent, "../00_a/./__main__.py"),
        (tmp_path.parent, script),
    ]:
        monkeypatch.chdir(folder)
        assert import_script_as_module(path).__file__ == str(script)


def test_equal_file_names_do_not_collide(tmp_path):
    package = make_package(tmp_path)
    write(package / "models.py", "class Net: pass")
    modules = [
        import_script_as_module(make_experiment(package / "experiments" / name))
        for name in ("00_a", "01_b")
    ]
    assert len({module.Mine for module in modules}) == 2
    assert [Path(module.Help.where).name for module in modules] == ["00_a", "01_b"]


def test_linked_experiments_belong_to_where_they_are_linked(tmp_path):
    make_package(tmp_path / "project")
    real = make_experiment(tmp_path / "elsewhere" / "00_a", "from .helpers import Help").parent
    link = tmp_path / "project" / "my_project" / "00_b"
    link.symlink_to(real)
    module = import_script_as_module(link / "__main__.py")
    assert module.__name__ == "my_project.00_b.__main__"


# Names for what has none


LOOSE = "from .helpers import Help\n\nclass Mine: pass\n"


@pytest.mark.parametrize(
    "where", ["00_a", "my project/v1.5/00 a", "100%/a%2Eb/00_a", "d.o.t/é/00.a", "a-b/00_a"]
)
def test_a_folder_in_no_package(tmp_path, where):
    script = make_experiment(tmp_path / where, LOOSE)
    module = import_script_as_module(script)
    assert module.__name__.startswith("torch_lab.utils.loose.")
    assert Path(module.__file__) == script
    assert module.Help.where == str(script.parent)
    assert import_script_as_module(script) is module
    assert pickle.loads(pickle.dumps(module.Mine)) is module.Mine
    assert str(script.parent) not in sys.path


def test_scripts_with_dots_in_their_names(tmp_path):
    for name in ("lr.1e-3.py", "lr.1e-4.py"):
        script = write(tmp_path / "00_a" / name, f"hparams = {{'config': {{'name': {name!r}}}}}")
        assert import_script_as_module(script).hparams["config"]["name"] == name


def test_loose_experiments_do_not_collide(tmp_path):
    modules = [
        import_script_as_module(make_experiment(tmp_path / place / "00_a", LOOSE))
        for place in ("one", "two")
    ]
    assert len({module.Mine for module in modules}) == 2
    assert len({module.Help for module in modules}) == 2


def test_a_loose_experiment_uses_the_packages_of_its_project(tmp_path):
    make_project(tmp_path)
    script = make_experiment(tmp_path / "experiments" / "00_a")
    write(script, EXPERIMENT.replace("...models", "...my_project.models"))
    module = import_script_as_module(script)
    assert module.Net.__module__ == "my_project.models"
    assert sys.modules["my_project.models"].__spec__.name == "my_project.models"


def test_loose_siblings_and_their_parents_are_importable(tmp_path):
    write(tmp_path / "pyproject.toml")
    write(tmp_path / "experiments" / "common.py", "x = 3")
    text = "from ..common import x\nfrom .deep.er import y\n"
    script = write(tmp_path / "experiments" / "00_a" / "hparams.py", text)
    write(script.parent / "deep" / "er.py", "y = 4")
    module = import_script_as_module(script)
    assert (module.x, module.y) == (3, 4)


@pytest.mark.parametrize("where", ["experiments/v1.5", "ex.periments/00_a"])
def test_dots_inside_a_package(tmp_path, where):
    script = make_project(tmp_path, where)
    module = import_script_as_module(script)
    assert module.Net.__module__ == "my_project.models"
    assert pickle.loads(pickle.dumps(module.Mine(2))) == module.Mine(2)


def test_a_package_with_a_dot_in_its_own_name(tmp_path):
    write(tmp_path / "pyproject.toml")
    write(tmp_path / "my.project" / "__init__.py", "here = 5")
    script = write(tmp_path / "my.project" / "00_a" / "hparams.py", "from .. import here")
    assert import_script_as_module(script).here == 5


def test_a_name_that_is_not_there_says_so(tmp_path):
    script = make_project(tmp_path, "v1.5")
    write(script, "from ..models import Missing")
    with pytest.raises(ScriptError, match="ImportError: cannot import name 'Missing'"):
        import_script_as_module(script)
    write(script, "from .. import missing")
    with pytest.raises(ScriptError, match="ImportError: cannot import name 'missing'"):
        import_script_as_module(script)
    write(script, "import torch_lab.utils.loose.xyz")
    with pytest.raises(ScriptError, match="ModuleNotFoundError"):
        import_script_as_module(script)


# Other processes


@pytest.mark.parametrize(
    "where", ["loose/00_a", "loose.v2/00 a", "project/my_project/experiments/v1.5"]
)
def test_a_bare_process_unpickles_what_has_no_name_of_its_own(tmp_path, where):
    make_project(tmp_path / "project")
    inside = where.startswith("project")
    script = make_experiment(tmp_path / where, EXPERIMENT if inside else LOOSE)
    module = import_script_as_module(script)
    pickled = tmp_path / "pickled"
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        pickled.write_bytes(pickle.dumps([module.Mine(), module.Help], protocol))
        code = """
            import pickle, sys
            mine, help = pickle.load(open(sys.argv[1], "rb"))
            print(type(mine).__name__, help.where)
        """
        assert output(python(code, str(pickled), cwd=tmp_path)) == f"Mine {script.parent}"


TRAINING = """
    import random

    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader, Dataset

    from .helpers import Help


    class Numbers(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            assert Help.where
            return torch.full((1,), float(i))


    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch):
            return self.layer(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)


    def train_config(config):
        loader = DataLoader(
            Numbers(), num_workers=1, multiprocessing_context="spawn", batch_size=2
        )
        return dict(module=Module(), train_dataloaders=loader)
"""

COMMAND = """
    import logging, sys, warnings
    from pathlib import Path


    def main():
        from torch_lab import experiment

        found = experiment.find(sys.argv[1])
        configuration = experiment.train_configuration(found, {})
        import pytorch_lightning as pl

        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", strategy="ddp", devices=2,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = configuration.module
        before = module.layer.weight.item()
        trainer.fit(module, configuration.train_dataloaders)
        if trainer.is_global_zero:
            print("trained" if module.layer.weight.item() != before else "untouched")


    if __name__ == "__main__":
        main()
"""


def test_training_processes_import_the_experiment(tmp_path):
    """That of the other rank, a new one, and the loaders' workers, which unpickle the data set."""
    make_package(tmp_path)
    script = make_experiment(tmp_path / "loose" / "v1.5 b", TRAINING)  # has no name of its own
    write(script.parent / "hparams.py", "hparams = {}")
    for name in ("copy", "pickle", "queue", "random", "socket"):  # stand here, and harm nobody
        write(script.parent / f"{name}.py", "raise RuntimeError('the experiment\\'s own file')")
    command = write(tmp_path / "bin" / "command.py", COMMAND)
    code = """
        import subprocess, sys
        raise SystemExit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
    """
    result = python(code, str(command), "hparams.py", cwd=script.parent)
    assert output(result).splitlines()[-1] == "trained"


def test_files_named_like_pythons_own_do_no_harm(tmp_path):
    script = make_project(tmp_path)
    for name in ("random", "types", "json", "torch"):
        write(script.parent / f"{name}.py", "raise RuntimeError")
        write(tmp_path / f"{name}.py", "raise RuntimeError")
    write(script, "import random, json, types, fractions")
    import_script_as_module(script)


# Shadows


def test_an_installed_copy_that_shadows_the_project(tmp_path):
    script = make_project(tmp_path / "project")
    make_package(tmp_path / "site")
    hparams = write(script.parent / "hparams.py", "hparams = {}")
    code = """
        import sys
        from torch_lab.errors import ScriptError
        from torch_lab.utils import import_script_as_module
        try:
            import_script_as_module(sys.argv[1])
        except ScriptError as error:
            print(error)
    """
    for path in (script, hparams):
        said = output(python(code, str(path), path=(tmp_path / "site",)))
        assert said.splitlines() == [
            f"the name my_project leads to {tmp_path}/site/my_project/__init__.py, "
            f"not to {tmp_path}/project/my_project",
            "another copy hides the project: uninstall that copy, install this one with "
            f"`pip install -e {tmp_path}/project`, or rename the folder",
        ]


def test_a_copy_that_is_imported_already(tmp_path):
    first, second = make_project(tmp_path / "one"), make_project(tmp_path / "two")
    import_script_as_module(first)
    with pytest.raises(ScriptError, match=r"my_project leads to .*one.*, not to .*two"):
        import_script_as_module(second)


def test_the_project_itself_installed_for_editing_is_no_shadow(tmp_path, monkeypatch):
    script = make_project(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.syspath_prepend(tmp_path / "link")
    assert import_script_as_module(script).__name__ == "my_project.experiments.00_a.__main__"


def test_a_folder_that_hides_the_script(tmp_path):
    script = write(make_project(tmp_path).parent / "small.py", "hparams = {}")
    write(script.parent / "small" / "__init__.py")
    with pytest.raises(ScriptError, match=r"small.py: its name, my_project.*small, leads to"):
        import_script_as_module(script)


def test_a_package_of_pythons_own_name(tmp_path):
    make_package(tmp_path, "json")
    script = write(tmp_path / "json" / "00_a" / "hparams.py", "hparams = {}")
    with pytest.raises(ScriptError, match="the name json leads to"):
        import_script_as_module(script)


# Mistakes


def test_a_missing_script_suggests_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "00_a" / "hparams.py")
    for name, hint in [
        ("00_a/hparam.py", "did you mean 00_a/hparams.py?"),
        ("00_a/xyz.py", "the scripts there: 00_a/hparams.py"),
        ("00_b/hparams.py", "there is no folder 00_b; did you mean 00_a?"),
        ("00_a/hparams.py/x.py", "there is no folder 00_a/hparams.py"),
    ]:
        with pytest.raises(ScriptError) as caught:
            import_script_as_module(name)
        assert (caught.value.message, caught.value.hint) == (f"{name} does not exist", hint)


def test_a_folder_lists_its_scripts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("__main__", "small", "hparams"):
        write(tmp_path / "00_a" / f"{name}.py")
    with pytest.raises(ScriptError) as caught:
        import_script_as_module("00_a")
    assert str(caught.value).splitlines() == [
        "00_a is a folder, not a script",
        "its scripts: 00_a/hparams.py, 00_a/small.py",
    ]


def test_not_python(tmp_path):
    with pytest.raises(ScriptError, match=r"is not a Python script \(.py\)"):
        import_script_as_module(write(tmp_path / "hparams.yaml"))


@pytest.mark.parametrize("name", ["hparams.py", "__main__.py"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = {\n    'a': 1,,\n}", "00_a/{0}:2: SyntaxError: invalid syntax\n    'a': 1,,"),
        ("if 1:\nx = 2", "00_a/{0}:2: IndentationError: expected an indented block"),
        ("x = 1\ny = x / 0", "00_a/{0}:2: ZeroDivisionError: division by zero\n    y = x / 0"),
        ("import nonsense_module", "00_a/{0}:1: ModuleNotFoundError: No module named 'nonsense"),
        ("import sys\nsys.exit('bye')", "00_a/{0}:2: SystemExit: bye"),
        ("eval('1 +')", "00_a/{0}:1: "),
    ],
)
def test_exceptions_at_import(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    script = write(tmp_path / "00_a" / name, text)
    with pytest.raises(ScriptError) as caught:
        import_script_as_module(script)
    assert caught.value.message.startswith(message.format(name))
    assert not [key for key in sys.modules if key.endswith(f"00_a.{script.stem}")]


def test_the_innermost_frame_of_the_users_code_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = make_project(tmp_path)
    write(
        script.parent / "helpers.py", "import json\n\n\ndef read():\n    return json.loads('{')\n"
    )
    write(script, "from .helpers import read\n\nx = read()\n")
    with pytest.raises(ScriptError) as caught:
        import_script_as_module(script)
    assert str(caught.value).splitlines() == [
        "my_project/experiments/00_a/helpers.py:5: json.decoder.JSONDecodeError: Expecting "
        "property name enclosed in double quotes: line 1 column 2 (char 1)",
        "    return json.loads('{')",
        "  from my_project/experiments/00_a/__main__.py:3",
    ]
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_script_that_failed_is_tried_again(tmp_path):
    script = make_project(tmp_path)
    write(script, "x = 1 / 0")
    with pytest.raises(ScriptError):
        import_script_as_module(script)
    write(script, "x = 1 / 1  # mended")
    assert import_script_as_module(script).x == 1


def test_bytes_that_are_no_text(tmp_path):
    script = tmp_path / "hparams.py"
    script.write_bytes(b"\xff\xfe = 1\n")
    with pytest.raises(ScriptError, match=r"hparams.py:1: SyntaxError"):
        import_script_as_module(script)


def test_ctrl_c_is_no_mistake(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        import_script_as_module(write(tmp_path / "a" / "hparams.py", "raise KeyboardInterrupt"))


# 1.x


def test_hparams_and_config_path(tmp_path):
    raw = "hparams = {'task': {}, 'trainer': {'init': {}}, 'config': {'num_workers': 3}}"
    script = write(tmp_path / "00_a" / "hparams.py", raw)
    hparams, path = get_hparams_and_config_path(str(script))
    assert (hparams["config"], path) == ({"num_workers": 3}, script.parent / "__main__.py")
    hparams, _ = get_hparams_and_config_path(script, "0.5")
    assert hparams["trainer"]["init"]["overfit_batches"] == 0.5
    with pytest.raises(HparamsError, match="expected a dict of that name, got None"):
        get_hparams_and_config_path(write(tmp_path / "00_a" / "empty.py"))


def test_compile_config(tmp_path):
    text = """
        def train_config(config):
            config["bar"] *= 2
            return config

        def infer_config(config, baz):
            return config["bar"] + baz
    """
    script = write(tmp_path / "00_a" / "__main__.py", text)
    hparams = {"config": {"bar": 2}}
    assert compile_config(script, hparams) == {"bar": 4}
    assert compile_config(script, hparams, 3, field="infer_config") == 5
    assert hparams == {"config": {"bar": 2}}
    with pytest.raises(ConfigurationError, match="defines no function test_config"):
        compile_config(script, hparams, field="test_config")


def test_public_names_are_lazy():
    code = """
        import sys
        import torch_lab
        import torch_lab.utils
        print(*dir(torch_lab.utils))
        torch_lab.utils.import_script_as_module
        print("torch" in sys.modules, "torch_lab.hparams" in sys.modules)
    """
    names, loaded = output(python(code)).splitlines()
    assert set(names.split()) >= {
        "compile_config",
        "default_separate",
        "dict_as_str",
        "get_hparams_and_config_path",
        "import_script_as_module",
        "separate",
        "set_hparams_debug_overrides",
    }
    assert loaded == "False False"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = torch_lab.utils.nonsense
