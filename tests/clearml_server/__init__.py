"""A small ClearML-compatible server over real HTTP, for tests only: API and files on one port.

    python -m clearml_server --root FOLDER [--port PORT]       (with tests/ on the import path)

It speaks enough of the protocol for the unmodified clearml SDK and clearml-agent, refuses what the
real server refuses, with the same codes, and can be told to fail in many ways while it runs.
`fixture.py` is the tests' side: `clearml_server`, `shared_clearml_server`.

    serving.py   HTTP: which part a request is for; control.py: the tests' own port
    faults.py    what goes wrong, when asked to
    files.py     the files part: streamed uploads and downloads
    database.py  documents and events in SQLite; queries.py: filters, paging, projections
    api/         the endpoints, a file for each service
"""
