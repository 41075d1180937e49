"""What must not be written down: recognized by its name, its form or its place in a URL.

Hyperparameters are full of innocent tokens and keys (`num_tokens`, `pad_token`, `key_size`), so a
name counts by its words, and numbers and flags stay unless the name says password.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A name holding one of these is a secret's, whatever else it says (but see _MEASURES).
_SECRET_WORDS = _words(
    """
    password passwords passwd passphrase passcode pwd secret secrets credential credentials apikey
    jwt authorization privatekey accesskey secretkey authtoken accesstoken
    """
)
_GIVEN = _words("key keys token tokens")
# … and so is one of these before `key` or `token`.
_OWNERS = _words(
    """
    api access secret private auth encryption signing ssh account storage session master refresh
    bearer bot user app oauth personal deploy github gitlab hf huggingface wandb clearml openai
    anthropic slack aws azure gcp google neptune comet mlflow docker npm pypi
    """
)
_SECRET_ALONE = _words("token auth bearer cookie cookies pass sas pat")
# A name ending so tells about a secret and doesn't hold it: secret_size, password_file.
_MEASURES = _words(
    """
    size sizes dim dims len length count num number file files path paths dir dirs folder folders
    name names type types index idx
    ids level loss weight weights rate prob ratio limit min max head heads embedding embeddings
    mask accuracy per dropout scheme method mode enabled required policy env
    """
)
# Tokens of language and vision models, counted and padded but never secret.
_MODEL_WORDS = _words(
    """
    pad padding mask masked cls class eos bos unk unknown sep start end special image text audio
    video word sub subword byte char next prev per num n max min total use stop first last input
    output prompt target source query register distill latent visual patch extra new mean
    """
)

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")

_KNOWN_FORMS = re.compile(
    r"""
    \b(?:
        gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{16,} | hf_[A-Za-z0-9]{20,}
      | sk-(?=[\w-]*\d)[\w-]{20,} | xox[abprs]-[A-Za-z0-9-]{10,} | (?:AKIA|ASIA)[0-9A-Z]{16}
      | AIza[\w-]{35} | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{40,}
      | hooks\.slack\.com/services/[\w/-]+
      | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{5,}
    )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_URL_USER = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,20}://)(?P<user>[^\s/?#'\"<>]{1,500})@"
)
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_ASSIGNMENT = re.compile(
    r"""
    (?P<name>(?<![\w.-])-{0,2}[A-Za-z_][\w.-]{0,99})(?P<closing>["']?[\])]?)
    (?P<sep>[ \t]{0,4}(?:=(?!=)|:(?!:|//))[ \t]{0,4})
    (?P<value>[rbuf]{0,2}"[^"\n]*"|[rbuf]{0,2}'[^'\n]*'|[^\s,;&'"()\[\]{}]+)
    """,
    re.VERBOSE,
)
_QUERY = re.compile(r"(?P<given>[?&](?P<name>[\w.-]{1,100})=)(?P<value>[^\s&'\"#<>{}()\[\]$%\\]+)")
# What stands for a value and is none: ${HF_TOKEN}, {token}, %(token)s, <your token>.
_REFERENCE = re.compile(
    r"""
    \$\{[\w.:]+\} | \$\([^()]*\) | `[^`]*` | \$[A-Z_][A-Z0-9_]* | \{\{[^{}]*\}\} | \{\w*\}
      | %\(\w+\)s | %s | %[A-Z_]+% | <[\w\ .-]+> | \b(?:bearer|basic|token)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KEY_HEADER = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\[rn]|[A-Za-z0-9+/=\s])*")
_LINE_BREAK = re.compile(r"\\?(?:\r\n|\r|\n)")
_TYPE_NAMES = _words("str int float bool bytes None True False object Any dict list")
_MIXED = re.compile(r"\d[A-Za-z]+\d|[A-Za-z]\d+[A-Za-z]|[A-Za-z]\d{3,}$")
_CONTAINERS = (Mapping, list, tuple, set, frozenset)


def mask(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy with what secret names hold, and what looks like a secret anywhere, masked."""
    return {key: _mask_item(key, value) for key, value in values.items()}


def mask_text(text: str) -> str:
    """A text with the credentials in URLs and the values given to secret names masked."""
    text = _URL_USER.sub(_mask_user, text)
    text = _BEARER.sub(lambda match: f"{match['kind']} {MASK}", text)
    text = _ASSIGNMENT.sub(_mask_assignment, text)
    return _KNOWN_FORMS.sub(MASK, text)


def mask_forms(text: str) -> str:
    """Code or prose with what looks like a secret masked, whatever its name; lines stay lines."""
    text = _URL_USER.sub(_mask_literal_user, text)
    text = _QUERY.sub(_mask_query, text)
    text = _BEARER.sub(_mask_bearer, text)
    return _KNOWN_FORMS.sub(_mask_form, text)


def hidden(text: str) -> str:
    """The mask for a text, as many lines long as it."""
    return MASK + "".join(_LINE_BREAK.findall(text))


def is_reference(text: str) -> bool:
    """Whether a text only says where a value comes from: `${HF_TOKEN}`, `{token}`, nothing."""
    return not re.search(r"\w", _REFERENCE.sub("", text))


def is_password(name: str) -> bool:
    """Whether a name promises a secret so clearly that all below it is one."""
    return _kind(name) == "password"


def mask_command(words: Sequence[str]) -> list[str]:
    """A command line, `--password hunter2` in two words included."""
    masked: list[str] = []
    previous = ""
    for word in words:
        hidden = previous.startswith("--") and "=" not in previous and is_secret(previous, word)
        masked.append(MASK if hidden and not word.startswith("-") else mask_text(word))
        previous = word
    return masked


def is_secret(name: object, value: object) -> bool:
    """Whether a value given to this name is to be hidden."""
    if not isinstance(name, str) or value is None or isinstance(value, bool) or value == "":
        return False
    kind = _kind(name)
    if kind == "password":
        return True
    if not isinstance(value, (str, bytes)):
        return False
    return kind == "secret" or (kind == "doubtful" and _looks_random(value))


def _mask_item(key: object, value: Any, parents: tuple[int, ...] = ()) -> Any:
    if isinstance(value, _CONTAINERS):
        if id(value) in parents:
            return f"<{type(value).__name__} that contains itself>"
        return _mask_inside(key, value, (*parents, id(value)))
    if is_secret(key, value):
        return MASK
    return mask_text(value) if type(value) is str else value


def _mask_inside(key: object, value: Any, parents: tuple[int, ...]) -> Any:
    if not isinstance(value, Mapping):
        return _rebuilt(value, [_mask_item(key, item, parents) for item in value])
    # Below a name such as `credentials` every name is one.
    below = key if isinstance(key, str) and _kind(key) in ("password", "secret") else None
    return {name: _mask_item(below or name, item, parents) for name, item in value.items()}


def _rebuilt(value: Any, items: list[Any]) -> Any:
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return kind(items)
    return frozenset(items)


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    """What a name promises: "password" (even as a number), "secret", "doubtful" or ""."""
    words = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    words = [word for word in words if not word.isdigit()]
    if not words or words[-1] in _MEASURES:
        return ""
    if _SECRET_WORDS.intersection(words):
        return "password"
    if any(first in _OWNERS and second in _GIVEN for first, second in itertools.pairwise(words)):
        return "secret"
    return _kind_of_last(name, words)


def _kind_of_last(name: str, words: list[str]) -> str:
    last = words[-1]
    if last in _SECRET_ALONE:
        innocent = last == "token" and _MODEL_WORDS.intersection(words)
        known = len(words) == 1 or name.isupper() or last not in ("pass", "sas", "pat")
        return "" if innocent else "secret" if known else "doubtful"
    if last in ("key", "keys", "tokens"):
        innocent = last == "tokens" and _MODEL_WORDS.intersection(words)
        environment = name.isupper() and len(words) > 1
        return "" if innocent else "secret" if environment else "doubtful"
    return ""


def _looks_random(value: str | bytes) -> bool:
    """Letters and digits mixed as in no common word: AKIAIOSFODNN7EXAMPLE, not layer_12."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if len(text) < 8 or re.search(r"\s", text):
        return False
    pieces = re.split(r"[^A-Za-z0-9]+", text)
    return any(len(piece) >= 8 and _MIXED.search(piece) for piece in pieces)


def _mask_user(match: re.Match[str]) -> str:
    # `ssh://git@host` names a user; over http a lone name is a token as often as not.
    lone = ":" not in match["user"]
    innocent = lone and not match["scheme"].lower().startswith("http")
    return match[0] if innocent else f"{match['scheme']}{MASK}@"


def _mask_literal_user(match: re.Match[str]) -> str:
    user, _, password = match["user"].partition(":")
    balanced = match["user"].count("{") == match["user"].count("}")
    template = user.startswith("[") or not balanced or is_reference(password or user)
    return match[0] if template else _mask_user(match)


def _mask_query(match: re.Match[str]) -> str:
    secret = is_secret(match["name"], match["value"]) and not is_reference(match["value"])
    return match["given"] + MASK if secret else match[0]


def _mask_bearer(match: re.Match[str]) -> str:
    # "basic functionality" is prose.
    value = match[0][len(match["kind"]) :].strip()
    return f"{match['kind']} {hidden(match[0])}" if _looks_random(value) else match[0]


def _mask_form(match: re.Match[str]) -> str:
    header = _KEY_HEADER.match(match[0])
    if header is None:
        return hidden(match[0])
    if not re.search(r"[A-Za-z0-9+/=]{16,}", match[0]):
        return match[0]  # the header alone: code that looks for keys
    cut = len(match[0]) if "-----END" in match[0] else header.end()
    return hidden(match[0][:cut]) + match[0][cut:]


def _mask_assignment(match: re.Match[str]) -> str:
    name, value = match["name"].lstrip("-"), match["value"]
    quoted = value[-1] in "\"'" and len(value) > 1
    bare = value.strip("rbuf\"'") if quoted else value
    if bare == MASK or not is_secret(name, _number_or_text(bare)) or _is_code(match, bare, quoted):
        return match[0]
    hidden = f"{value[: value.index(value[-1])]}{value[-1]}{MASK}{value[-1]}" if quoted else MASK
    return f"{match['name']}{match['closing']}{match['sep']}{hidden}"


def _number_or_text(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _is_code(match: re.Match[str], value: str, quoted: bool) -> bool:
    """An unquoted value that is a type, a call or another variable: `token: str`, `key = ask()`."""
    if quoted:
        return False
    name = match["name"].lstrip("-").rpartition(".")[2]
    if value in _TYPE_NAMES or value.startswith(MASK) or value == name:
        return True
    if match.string[match.end() : match.end() + 1] in ("(", "["):
        return True
    spaced = ":" in match["sep"] or match["sep"] != match["sep"].strip()
    attribute = re.fullmatch(r"[A-Za-z_]+(\.[A-Za-z_]+)+|[A-Z][a-z]+[A-Za-z]*", value)
    variable = re.fullmatch(r"[A-Za-z_]+", value) and _kind(name) != "password"
    return spaced and bool(attribute or variable)
