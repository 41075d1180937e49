"""The endpoints: each a function of the server's state and the request's body."""

from clearml_server.api import (  # noqa: F401
    auth,
    events,
    models,
    projects,
    queues,
    statuses,
    tasks,
)
from clearml_server.api.endpoints import ENDPOINTS, Call, answer

__all__ = ["ENDPOINTS", "Call", "answer"]
