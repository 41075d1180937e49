"""What the get_all endpoints take: filters, order, pages and the fields that are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from clearml_server.database import Document
from clearml_server.refusals import Refused

# The most that one page holds, whatever was asked for.
LARGEST_PAGE = 500

_PATTERNS = ("name", "basename", "comment")
_VALUES = ("id", "user", "type", "status", "project", "parent", "task", "uri", "framework")
_OPERATORS = {"__$all": "and", "__$and": "and", "__$any": "or", "__$or": "or"}


def select(found: Iterable[Document], body: Document) -> list[Document]:
    """The documents that a query asks for, as it asks for them."""
    kept = [each for each in found if _matches(each, body)]
    order = body.get("order_by") or []
    for key in reversed([order] if isinstance(order, str) else order):
        kept.sort(key=lambda each: _sortable(dig(each, key.lstrip("-"))), reverse=key[0] == "-")
    fields = body.get("only_fields") or body.get("projection")
    return [project(each, fields) if fields else each for each in _page(kept, body)]


def dig(document: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for part in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document


def project(document: Document, fields: Sequence[str]) -> Document:
    """Only some of a document's fields, by their dotted paths, and its id."""
    kept: Document = {"id": document["id"]}
    for field in fields:
        *parents, last = field.split(".")
        inner, source = kept, document
        for parent in parents:
            source = source.get(parent) or {}
            inner = inner.setdefault(parent, {})
        if source.get(last) is not None:
            inner[last] = source[last]
    return kept


def _sortable(value: Any) -> tuple[bool, float, str]:
    number = float(value) if isinstance(value, (int, float)) else 0.0
    return value is not None, number, str(value)


def _page(found: list[Document], body: Document) -> list[Document]:
    page, size = body.get("page"), body.get("page_size")
    if size is None:
        if page is not None:
            raise Refused(400, 12, "Validation error: page_size is required with page")
        return found
    size = min(int(size), LARGEST_PAGE)
    start = int(page or 0) * size
    return found[start : start + size]


def _matches(document: Document, body: Document) -> bool:
    return (
        _visible(document, body)
        and all(_like(document.get(key), body.get(key)) for key in _PATTERNS)
        and all(_one_of(document.get(key), body.get(key)) for key in _VALUES)
        and all(tagged(document.get(key), body.get(key)) for key in ("tags", "system_tags"))
        and _in_any(document, body.get("_any_") or body.get("_or_"))
        and _dotted(document, body)
    )


def _visible(document: Document, body: Document) -> bool:
    hidden = "hidden" in (document.get("system_tags") or ())
    return not hidden or bool(body.get("search_hidden") or body.get("id"))


def _like(value: Any, pattern: Any) -> bool:
    return not pattern or re.search(pattern, value or "", re.IGNORECASE) is not None


def _one_of(value: Any, wanted: Any) -> bool:
    if wanted is None or wanted == []:
        return True
    return value in ([wanted] if isinstance(wanted, str) else wanted)


def _in_any(document: Document, asked: Any) -> bool:
    return not asked or any(_like(dig(document, key), asked["pattern"]) for key in asked["fields"])


def _dotted(document: Document, body: Document) -> bool:
    dotted = [key for key in body if key.startswith(("hyperparams.", "runtime.", "execution."))]
    return all(_one_of(dig(document, key), body[key]) for key in dotted)


def tagged(have: Any, wanted: Any) -> bool:
    """Whether tags satisfy a list of wanted ones, with "-" and the "__$" operators in it."""
    if not wanted:
        return True
    tags = set(have or ())
    groups: dict[str, set[str]] = {"and": set(), "or": set(), "not": set()}
    mode, negated = "or", False
    for word in [wanted] if isinstance(wanted, str) else wanted:
        if word in _OPERATORS:
            mode = _OPERATORS[word]
        elif word == "__$not":
            negated = True
        else:
            out = negated or word.startswith("-")
            groups["not" if out else mode].add(word if negated else word.lstrip("-"))
            negated = False
    some = not groups["or"] or bool(tags & groups["or"])
    return some and groups["and"] <= tags and not tags & groups["not"]
