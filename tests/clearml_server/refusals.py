"""Answers that say no, with the codes of the real server."""

from __future__ import annotations


class Refused(Exception):
    """A request that is answered with an error code, a subcode and a sentence."""

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code, self.subcode, self.message = code, subcode, message


_INVALID_ID = {"task": 101, "model": 201, "project": 401, "queue": 701, "worker": 1001}


def invalid_id(kind: str, given: object) -> Refused:
    """Nothing has that id."""
    return Refused(400, _INVALID_ID[kind], f"Invalid {kind} id: id={given}, company=local")


def invalid_value(sentence: str) -> Refused:
    """A value that the database's models don't take."""
    return Refused(400, 800, f"Data validation error: {sentence}")


def missing(field: str) -> Refused:
    """A required field that is not there."""
    return Refused(400, 11, f"Missing required fields: {field}")


def invalid_status(sentence: str, **fields: object) -> Refused:
    """What the task's status does not allow."""
    said = ", ".join(f"{name}={value}" for name, value in fields.items())
    return Refused(400, 110, f"Invalid task status: {sentence}{', ' if sentence else ''}{said}")
