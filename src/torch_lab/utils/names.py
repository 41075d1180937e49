"""Names made of what people type: titles of experiments, packages of projects."""

from __future__ import annotations

import re
import unicodedata

# What Unicode takes apart no further.
_LETTERS = str.maketrans({"æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "đ": "d", "\u0131": "i"})


def as_name(text: str) -> str:
    """The text as small ASCII letters, digits and underscores: `Wider Net!` is `wider_net`.

    Empty where nothing of it can be kept.
    """
    small = text.casefold().translate(_LETTERS)
    plain = unicodedata.normalize("NFKD", small).encode("ascii", "ignore").decode()
    return "_".join(re.findall(r"[a-z0-9]+", plain.replace("'", "")))
