"""Every message has a test that pins its words.

Texts are compared, not executions: each fixed part of a message in the source has to stand in some
test's text. A part that no test could see has a reason here.
"""

from __future__ import annotations

from messages import pieces, pinned

UNSEEN = {
    "Lightning's Trainer can't be read from": "a broken installation of Lightning",
    "pytorch-lightning is not installed": "tests can't run without it",
    "pip install pytorch-lightning": "tests can't run without it",
}


def test_every_message_is_pinned() -> None:
    texts = pinned()
    missing = [
        f"{piece.file}:{piece.line}: {piece.text!r}"
        for piece in pieces()
        if piece.text not in texts and piece.text not in UNSEEN
    ]
    assert not missing, "\n".join(["no test pins the words of these messages:", *missing])


def test_those_that_no_test_can_see_are_said_somewhere() -> None:
    assert set(UNSEEN) <= {piece.text for piece in pieces()}


def test_a_message_is_found_with_its_parts() -> None:
    found = {piece.text for piece in pieces()}
    assert "is completed: there is nothing to resume" in found
    assert len(found) > 150
