from __future__ import annotations

import ast
import json
import tarfile
import time
import tomllib
from pathlib import Path

import pytest

from torch_lab.store.source import MANIFEST, bundle, script_hashes
from torch_lab.store.source_masks import masked_source

GITHUB = "ghp_" + "a1B2" * 9
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabcdefghijklmnop0123\n-----END RSA PRIVATE KEY-----"


def masked(path: str, text: str) -> str:
    return masked_source(path, text.encode())[0].decode()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f'TOKEN = "{GITHUB}"', 'TOKEN = "***"'),
        ('password = "hunter2"', 'password = "***"'),
        ("password: str = 'hunter2'  # no", "password: str = '***'  # no"),
        ('x = {"api_key": "hunter2", "lr": 0.1}', 'x = {"api_key": "***", "lr": 0.1}'),
        ('dict(hf_token="hunter2")', 'dict(hf_token="***")'),
        ("password = '''hunter2'''", "password = '''***'''"),
        ('password = """hunter2\nagain"""\nx', 'password = """***\n"""\nx'),
        ('password = "hunter2\\\nagain"\nx', 'password = "***\\\n"\nx'),
        ('password = rb"hunter2"', 'password = rb"***"'),
        ('password = f"hunter2{x}"', 'password = f"***{x}"'),
        ("password = f'{x!r:>{n}}hunter2'", "password = f'{x!r:>{n}}***'"),
        ('password = ("hunter2" f"{x}hunter2")', 'password = ("***" f"{x}***")'),
        ('password = "ab\\"hunter2"', 'password = "***"'),
        ('password = """ab"hunter2"""', 'password = """***"""'),
        ('os.environ["HF_TOKEN"] = "hunter2"', 'os.environ["HF_TOKEN"] = "***"'),
        ('OPENAI_API_KEY = "hunter2"', 'OPENAI_API_KEY = "***"'),
        (f'MY_KEY = "{AWS[4:]}"', 'MY_KEY = "***"'),
        ('self.token = "hunter2"', 'self.token = "***"'),
        ('user, password = "me", "hunter2"', 'user, password = "me", "***"'),
        ('def f(a, password="hunter2"): pass', 'def f(a, password="***"): pass'),
        ('def f(*, token="hunter2"): pass', 'def f(*, token="***"): pass'),
        ('if (token := "hunter2"): pass', 'if (token := "***"): pass'),
        ('ok = password == "hunter2"', 'ok = password == "***"'),
        ('token = os.getenv("HF_TOKEN", "hunter2")', 'token = os.getenv("HF_TOKEN", "***")'),
        ('token = os.environ["T"] or "hunter2"', 'token = os.environ["T"] or "***"'),
        ('password = "hunter2".encode()', 'password = "***".encode()'),
        ('password = SecretStr("hunter2")', 'password = SecretStr("***")'),
        (
            'p.add_argument("--token", default="hunter2")',
            'p.add_argument("--token", default="***")',
        ),
        ('credentials = {"user": "hunter2"}', 'credentials = {"user": "***"}'),
        ('auth = ("me", "hunter2")', 'auth = ("***", "***")'),
        ("password = 1234", 'password = "***"'),
        ('größe = "ä"; password = "hunter2"', 'größe = "ä"; password = "***"'),
        ('x = "https://me:hunter2@box/x"', 'x = "https://***@box/x"'),
        ('x = f"https://me:hunter2@{box}/x"', 'x = f"https://***@{box}/x"'),
        ('x = f"https://{me}:hunter2@box/x"', 'x = f"https://***@box/x"'),
        ('x = "https://box/x?token=hunter2&n=1"', 'x = "https://box/x?token=***&n=1"'),
        ('x = "host=db password=hunter2 n=1"', 'x = "host=db password=*** n=1"'),
        (f"x = ['{AWS}', 1]", "x = ['***', 1]"),
        (f'x = f"{{y}} {GITHUB}"', 'x = f"{y} ***"'),
        (f'x = "{GITHUB[:9]}" "{GITHUB[9:]}"', 'x = "***" "***"'),
        (f'x = """{KEY}"""\ny', 'x = """***\n\n"""\ny'),
        ('x = "https://hooks.slack.com/services/T0/B0/xx"', 'x = "https://***"'),
        (f'def f():\n  """Use {GITHUB}."""', 'def f():\n  """Use ***."""'),
        (f"x = 1  # {GITHUB}", "x = 1  # ***"),
        ('# password = "hunter2"', '# password = "***"'),
        ('password = "hunter2"\r\nx = "a"\r\n', 'password = "***"\r\nx = "a"\r\n'),
        ("\ufeffpassword = 'hunter2'", "\ufeffpassword = '***'"),
        ("password = '\\d hunter2'", "password = '***'"),
    ],
)
def test_secrets_in_python(code: str, expected: str) -> None:
    assert masked("a.py", code) == expected
    assert masked("a.py", expected) == expected
    if not code.startswith("\ufeff"):
        compile(expected, "a.py", "exec")


UNTOUCHED = [
    'STATE_KEY = "loops"; EXPECTED_KEYS = {"descr", "shape"}; HEX_PAT = "[0-9A-F]{1,4}"',
    'password = os.environ["PASSWORD"]',
    "token = get_token()",
    'token = get_token("github", kind="bot")',
    'tokens = ["the", "cat"]',
    "tokens = [1, 2]",
    "api_key: str | None = None",
    'f(key="value", sort_key="name")',
    "token_dim = 5",
    "secret = None",
    'password = ""',
    'password = "***"',
    'password = "${DB_PASSWORD}"',
    'password = f"{secret}"',
    'password = "{}".format(x)',
    'x = {"Authorization": f"Bearer {token}"}',
    'x = f"https://{user}:{token}@box/x"',
    'x = "https://{}:{}@box/x".format(user, token)',
    'x = "https://github.com/a/b@v1"',
    'def f():\n  """The password = "hunter2", basic functionality of Bearer tokens."""',
    'pad_token = "<pad>"',
    'if token == "word": pass',
    'text.replace("token", "word")',
    'print(f"token={token}, password: {n}")',
    'password = getpass.getpass("Password: ")',
    'if "-----BEGIN PRIVATE KEY-----" in text: pass',
    "use_auth_token = True",
    "password: str = ...",
    "password = True",
    'tokenizer_name = "bert-base-uncased"',
    'password_file = "a.txt"',
    "pass",
    "d = {**a, 'key': 'image'}",
    "x = 'a\\\nb'\nkey = '''a\n  b'''\n\x0cy = 1",
]


@pytest.mark.parametrize("code", UNTOUCHED)
def test_harmless_python_stays(code: str) -> None:
    compile(code, "a.py", "exec")
    assert masked("a.py", code) == code
    assert masked("a.py", f'{code}\npassword = "hunter2"') == f'{code}\npassword = "***"'


def test_masked_code_still_runs() -> None:
    code = (
        'import json\npassword = f"hunter{1 + 1}"\nhparams = {"a": {"api_key": "x1"}, "lr": 0.1}\n'
    )
    names: dict[str, object] = {}
    exec(masked("hparams.py", code), names)
    assert names["hparams"] == {"a": {"api_key": "***"}, "lr": 0.1}
    assert names["password"] == "***2"


def test_the_sources_of_this_project_still_compile() -> None:
    root = Path(__file__).parents[2]
    files = [
        path
        for room in ("src", "tests", "example_project")
        for path in root.glob(f"{room}/**/*.py")
    ]
    assert len(files) > 100
    for path in files:
        data, lines = masked_source(path.name, path.read_bytes())
        assert bool(lines) == (data != path.read_bytes())
        if lines:
            ast.parse(data)
        # The module that knows the forms shows one.
        if "src" in path.parts and path.name != "secrets.py":
            assert lines == [], path


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.py", 'print "x"\npassword = "hunter2"', 'print "x"\npassword = "***"'),
        ("a.py", "print 'x'\ntoken = get('a')", "print 'x'\ntoken = get('a')"),
        ("a.json", '{"token": "hunter2", "n": null}', '{"token": "***", "n": null}'),
        ("a.json", '{"password": 1234, "n": true}', '{"password": "***", "n": true}'),
        ("a.json", '{"credentials": {"id": "hunter2"}}', '{"credentials": {"id": "***"}}'),
        ("a.ipynb", '["token = \\"hunter2\\"\\n"]', '["token = \\"***\\"\\n"]'),
        ("a.toml", 'password = "hunter2"\nn = 1', 'password = "***"\nn = 1'),
        ("a.toml", 'db = { password = "hunter2" }', 'db = { password = "***" }'),
        ("a.toml", "password = '''hunter2\nx'''", "password = '''***\n'''"),
        ("a.toml", "password = 1234 # x", 'password = "***" # x'),
        ("a.toml", "token = 'C:\\hunter2\\'", "token = '***'"),
        ("a.yaml", "token: hunter2  # x\nn: 1", 'token: "***"  # x\nn: 1'),
        ("a.yml", "- api_key: 'it''s hunter2'", "- api_key: '***'"),
        ("a.yml", "x: {token: hunter2, n: 1}", 'x: {token: "***", n: 1}'),
        ("a.yml", "password: |\n  hunter2\nn: 1", 'password: |\n  "***"\nn: 1'),
        ("a.yml", "passwords:\n- hunter2\nn: 1", 'passwords:\n- "***"\nn: 1'),
        ("a.yml", "credentials:\n  id: hunter2\nn: 1", 'credentials:\n  id: "***"\nn: 1'),
        ("a.yml", f"x: {GITHUB}\r\ny: 1\r\n", "x: ***\r\ny: 1\r\n"),
        ("a.ini", "[a]\npassword = hunter2 ; x\nn = 1", "[a]\npassword = *** ; x\nn = 1"),
        ("a.cfg", "password: hun ter2\r\nn = 1", "password: ***\r\nn = 1"),
        ("a.sh", "export HF_TOKEN=hunter2\n", "export HF_TOKEN=***\n"),
        ("a.sh", 'TOKEN="hunter2" train x.py', 'TOKEN="***" train x.py'),
        ("a.sh", "curl --token hunter2 --token=hunter2", "curl --token *** --token=***"),
        ("Dockerfile", "ENV HF_TOKEN hunter2", "ENV HF_TOKEN ***"),
        ("Makefile", "HF_TOKEN ?= hunter2\n", "HF_TOKEN ?= ***\n"),
        ("README.md", f"see https://me:pw@box, {GITHUB}", "see https://***@box, ***"),
        ("a.md", "[x](https://box?token=hunter2)](y)", "[x](https://box?token=***)](y)"),
        ("notes", KEY + "\nx", "***\n\n\nx"),
    ],
)
def test_secrets_in_other_files(path: str, text: str, expected: str) -> None:
    assert masked(path, text) == expected
    assert masked(path, expected) == expected
    if path.endswith(".json"):
        json.loads(expected)
    if path.endswith(".toml"):
        tomllib.loads(expected)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.yaml", "token_dim: 5\npad_token: <pad>\nkey: image\ntoken: null\nuse_auth: true"),
        ("a.yaml", "token: ${HF_TOKEN}\npassword: !env X\ntoken: &a\n  dim: 5\n  type: word"),
        ("a.yaml", "password: ''\napi_key:\nother: x\npassword: {{ secret }}"),
        ("a.toml", 'token_dim = 5\nkey = "image"\npassword = ""\n[tool.token]\nkind = "word"'),
        ("a.ini", "password = ${DB_PASSWORD}\npassword = %(other)s\ntoken =\nkey = value"),
        ("a.sh", 'TOKEN="$HF_TOKEN"\nTOKEN=$(cat x)\nTOKEN=${X}\ncurl -H "Auth: Bearer $token"'),
        ("a.sh", 'if [ "$token" == "x" ]; then train --token "$token" --key-size 5; fi'),
        ("a.json", '{"token": null, "token_dim": 5, "pad_token": "<pad>", "a": "b\\/c"}'),
        ("README.md", 'Set `password = "hunter2"` and token: abc; basic functionality.'),
    ],
)
def test_harmless_files_stay(path: str, text: str) -> None:
    assert masked(path, text) == text


def test_undecodable_and_binary_files_keep_their_bytes() -> None:
    binary = b"\0password = 'hunter2'\xff"
    assert masked_source("a.py", binary) == (binary, [])
    latin = b"# -*- coding: latin-1 -*-\nx = '\xe4'; password = 'hunter2'"
    assert masked_source("a.py", latin) == (latin.replace(b"hunter2", b"***"), [2])
    wrong = b"x = '\xe4\xff'\npassword = 'hunter2'"
    assert masked_source("a.py", wrong) == (wrong.replace(b"hunter2", b"***"), [2])
    assert masked_source("a.ini", b"a = \xe4\ntoken = hunter2") == (b"a = \xe4\ntoken = ***", [2])


def test_long_files_take_no_longer_than_their_length_asks_for() -> None:
    nasty = [
        "password=" * 20_000,
        "'\"" * 20_000,
        "token: " * 20_000,
        '"""' * 20_000,
        "(" * 40_000,
    ]
    nasty += [
        "token = '" * 20_000,
        "a1" * 60_000 + "key=",
        "key=\\" * 20_000,
        " " * 120_000 + "key=",
    ]
    nasty += [
        "token:\n" * 20_000,
        "token: a " * 20_000,
        "key = 'a'\n" * 12_000,
        "{token: " * 16_000,
    ]
    for path in ("a.py", "a.yaml", "a.ini", "a.toml", "a.sh", "a.ipynb", "a.txt"):
        for text in nasty:
            begin = time.process_time()
            masked(path, text)
            assert time.process_time() - begin < 2, (path, text[:20])


def test_bundle_masks_and_says_where(tmp_path: Path) -> None:
    experiment = tmp_path / "p/experiments/00_x"
    experiment.mkdir(parents=True)
    (experiment / "__main__.py").write_text("x = 1\n")
    (experiment / "hparams.py").write_text(f'a = 1\nT = "{GITHUB}"\npassword = "hunter2"\n')
    hashes = script_hashes(experiment)
    bundle(experiment, tmp_path / "p", tmp_path / "source.tar.gz")
    with tarfile.open(tmp_path / "source.tar.gz") as archive:
        archive.extractall(tmp_path / "again", filter="data")
    again = tmp_path / "again/experiments/00_x"
    assert (again / "hparams.py").read_text() == 'a = 1\nT = "***"\npassword = "***"\n'
    assert (again / "__main__.py").read_text() == "x = 1\n"
    manifest = json.loads((tmp_path / "again" / MANIFEST).read_text())
    assert manifest["masked"] == [{"path": "experiments/00_x/hparams.py", "lines": [2, 3]}]
    assert hashes == script_hashes(experiment) != script_hashes(again)
