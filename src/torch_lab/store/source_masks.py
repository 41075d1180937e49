"""Source files with the secrets masked that stand in them in clear; all else stays as it is."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import PurePosixPath

from torch_lab.store.python_masks import mask_python
from torch_lab.store.secrets import (
    MASK,
    hidden,
    is_password,
    is_reference,
    is_secret,
    mask_forms,
)

_LONGEST_PARSED = 2_000_000

_PARSED = {".py", ".pyi", ".pyw", ".json"}
_YAML = {".yaml", ".yml"}
_LINES = {".ini", ".cfg", ".conf", ".properties", ".toml"}
_SHELL = {".sh", ".bash", ".zsh", ".fish", ".sbatch", ".slurm", ".mk"}
_SHELL_NAMES = ("makefile", "dockerfile", "justfile", "containerfile")
_QUOTING = {".ipynb", ".jsonl", ".js", ".ts", ".lua", ".r", ".jl", ".c", ".cpp", ".rs", ".cu"}

# What a file must hold to be worth a closer look.
_NAMES = re.compile(
    rb"(?i)(?:passw|passp|passc|pwd|secret|credential|token|key|jwt|auth|cookie|bearer"
    rb"|(?<![a-z])(?:pass|sas|pat))[\w.-]*[\\\"')\]]{0,3}[ \t]{0,4}(?:[-+?!|:=,]|\])"
)
_FORMS = re.compile(
    rb"://[^\s/]{1,500}@|gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox|AKIA|ASIA|AIza|npm_|pypi-"
    rb"|hooks\.slack|eyJ|-----BEGIN|(?i:bearer|basic)\s"
)

_QUOTED = re.compile(
    r"""
    (?P<given>(?<![\w.-])-{0,2}(?P<name>[A-Za-z_][\w.-]{0,99})(?:\\?["'])?[\])]?
      [ \t]{0,4}(?:=(?!=)|:(?!:|//)[\w\[\]|. ]{0,60}(?:=(?!=))?)[ \t\n]{0,20})
    (?P<open>[rbuf]{0,2}(?:\"""|'''|\\"|\\'|"|'))
    (?P<value>
        (?<=\""")(?:\\.|[^\\])*?(?=\""") | (?<=''')(?:\\.|[^\\])*?(?=''')
      | (?<=\\["'])[^"'\\\n]*(?=\\["'])
      | (?<!\\)(?<=")(?:\\.|[^"\\\n])*(?=") | (?<!\\)(?<=')(?:''|\\.|[^'\\\n])*(?=')
      | (?<!\\)(?<=')[^'\n]*(?=')
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY = r"[\"']?(?P<name>[A-Za-z_][\w.-]{0,99})[\"']?"
_PLAIN = r"(?P<value>[^\s\"'#{\[&*!|>,][^\r\n]*?)"
_REST = r"(?P<rest>[ \t]*(?:[ \t][#;][^\r\n]*)?)(?=\r?$)"
_YAML_LINE = re.compile(rf"^(?P<given>[ \t]*(?:- +)*{_KEY}[ \t]*:[ \t]+){_PLAIN}{_REST}", re.M)
_YAML_FLOW = re.compile(
    rf"(?P<given>[{{,]\s*{_KEY}\s*:\s+)(?P<value>[^\s\"'#{{\[,}}][^,}}\r\n]*)(?P<rest>)"
)
_YAML_HEAD = re.compile(rf"^(?P<indent>[ ]*)(?:- +)*{_KEY}[ ]*:[ ]*(?:[|>][-+\d]*)?[ ]*(?:#.*)?$")
_YAML_ITEM = re.compile(
    r"^(?P<given>[ ]*(?:- +)*(?:[\w.-]+:(?:[ ]+|$))?)(?P<value>[^\s#].*?)?(?P<rest>\s*)$"
)
_INI_LINE = re.compile(rf"^(?P<given>[ \t]*{_KEY}[ \t]*[=:][ \t]*){_PLAIN}{_REST}", re.M)
_TOML_LINE = re.compile(
    rf"^(?P<given>[ \t]*{_KEY}[ \t]*=[ \t]*)(?P<value>[-+\d][\w.+-]*){_REST}", re.M
)
_SHELL_VALUE = r"(?P<value>[^\s\"'`$;&|<>()=-][^\s\"'`;&|<>()]*)(?P<rest>)"
_SHELL_SET = re.compile(
    rf"(?P<given>(?<![\w.$-])-{{0,2}}(?P<name>[A-Za-z_][\w.-]{{0,99}})[:?+]?=){_SHELL_VALUE}"
)
_SHELL_WORD = re.compile(
    rf"(?P<given>(?:(?<=\s)--|(?:^|(?<=\n))(?:ENV|ARG)[ ]+)(?P<name>[A-Za-z][\w-]{{0,99}})[ ]+)"
    rf"(?P<quote>[\"']?){_SHELL_VALUE}"
)
_SPACED = re.compile(rf"^(?P<given>{_KEY}[ ]*[:?+]?=[ ]*){_PLAIN}{_REST}", re.M)
_SHELL_REFERENCE = re.compile(r"\$\{?\w+\}?|\$\([^)]*\)")


def masked_source(path: str, data: bytes) -> tuple[bytes, list[int]]:
    """A file's content with its secrets masked, and the numbers of the lines that changed."""
    kind = _kind(path)
    forms = bool(_FORMS.search(data))
    if b"\0" in data or not (forms or kind in _SHELL or _NAMES.search(data)):
        return data, []
    text, encoding = _decoded(data, kind)
    masked = _masked(text, kind, forms=forms)
    if masked == text:
        return data, []
    pairs = zip(re.split(r"\r\n|\r|\n", text), re.split(r"\r\n|\r|\n", masked), strict=False)
    return masked.encode(encoding), [n for n, (old, new) in enumerate(pairs, 1) if old != new]


def _kind(path: str) -> str:
    name = PurePosixPath(path).name.lower()
    return ".sh" if name.startswith(_SHELL_NAMES) else PurePosixPath(name).suffix


def _decoded(data: bytes, kind: str) -> tuple[str, str]:
    """A text and the encoding that gives the same bytes again."""
    encoding = "utf-8"
    try:
        if kind in _PARSED:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        if text.encode(encoding) == data:
            return text, encoding
    except (SyntaxError, ValueError, LookupError):
        pass
    return data.decode("latin-1"), "latin-1"


def _masked(text: str, kind: str, *, forms: bool) -> str:
    if kind in _PARSED and len(text) <= _LONGEST_PARSED:
        try:
            return mask_python(text, _mask_quoted, forms=forms)
        except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
            pass  # Python of another age, or none
    if kind in _YAML:
        return _mask_yaml(_mask_quoted(text))
    if kind in _LINES:
        return _mask_lines(_mask_quoted(text), kind)
    if kind in _SHELL:
        return _mask_shell(_QUOTED.sub(_hide_quoted_in_shell, mask_forms(text)))
    return _mask_quoted(text) if kind in _PARSED | _QUOTING else mask_forms(text)


def _mask_quoted(text: str) -> str:
    return _QUOTED.sub(_hide_quoted, mask_forms(text))


def _mask_yaml(text: str) -> str:
    text = _YAML_FLOW.sub(_hide_as_text, _YAML_LINE.sub(_hide_as_text, text))
    lines = text.split("\n")
    above = -1  # the indent of a name below which all is secret
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip(" "))
        item = line.lstrip(" ").startswith("- ")
        if above >= 0 and (indent > above or (indent == above and item)):
            lines[number] = _YAML_ITEM.sub(_hide_item, line)
            continue
        head = _YAML_HEAD.match(line.rstrip("\r"))
        above = indent if head and is_password(head["name"]) else -1
    return "\n".join(lines)


def _hide_item(match: re.Match[str]) -> str:
    value = match["value"]
    if not value or MASK in value or value in ("|", ">", "|-", ">-") or is_reference(value):
        return match[0]
    return f'{match["given"]}"{MASK}"{match["rest"]}'


def _mask_lines(text: str, kind: str) -> str:
    if kind == ".toml":
        return _TOML_LINE.sub(_hide_as_text, text)
    return _INI_LINE.sub(_hide_plain, text)


def _mask_shell(text: str) -> str:
    text = _SHELL_SET.sub(_hide_plain, text)
    text = _SPACED.sub(_hide_plain, text)
    return _SHELL_WORD.sub(_hide_plain, text)


def _hide_quoted(match: re.Match[str]) -> str:
    value = match["value"]
    if value == MASK or not is_secret(match["name"].lstrip("-"), value) or is_reference(value):
        return match[0]
    return f"{match['given']}{match['open']}{hidden(value)}"


def _hide_quoted_in_shell(match: re.Match[str]) -> str:
    known = is_reference(_SHELL_REFERENCE.sub("", match["value"]))
    return match[0] if known else _hide_quoted(match)


def _hide_plain(match: re.Match[str], mask: str = MASK) -> str:
    value = match["value"]
    known = MASK in value or is_reference(value) or value.startswith("$")
    if known or not is_secret(match["name"].lstrip("-"), _scalar(value)):
        return match[0]
    quote = match.groupdict().get("quote") or ""
    return f"{match['given']}{quote}{mask}{match['rest']}"


def _hide_as_text(match: re.Match[str]) -> str:
    # A bare *** would be no value there.
    return _hide_plain(match, f'"{MASK}"')


def _scalar(text: str) -> object:
    if text.lower() in ("null", "none", "~", "true", "false", "yes", "no", "on", "off"):
        return None
    try:
        return float(text)
    except ValueError:
        return text
