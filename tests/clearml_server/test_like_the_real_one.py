"""What the real server refuses, and how it answers, this one does too."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from clearml_server.talking import Client


@pytest.fixture
def client(shared_clearml_server: ClearMLServer) -> Client:
    return Client(shared_clearml_server)


@pytest.fixture
def task(client: Client) -> str:
    return str(client.call("tasks.create", name="a task", type="training").data["id"])


def scalar(task: str, iteration: int, value: float = 1.0, **changes: Any) -> dict[str, Any]:
    event = {"type": "training_stats_scalar", "task": task, "iter": iteration, "value": value}
    return event | {"metric": "loss", "variant": "train", "timestamp": iteration} | changes


def log(task: str, message: str, timestamp: int) -> dict[str, Any]:
    return {"type": "log", "task": task, "msg": message, "timestamp": timestamp}


def test_only_those_with_the_credentials_get_in(client: Client) -> None:
    assert client.login() == 200
    assert client.login(secret="another") == 401
    assert client.raw("POST", "/tasks.get_all", b"{}")[0] == 401
    assert client.raw("POST", "/tasks.get_all", b"{}", Authorization="Bearer a.b.c")[0] == 401


@pytest.mark.parametrize(
    ("endpoint", "body", "codes"),
    [
        ("tasks.get_by_id", {"task": "nothing"}, (400, 101)),
        ("models.get_by_id", {"model": "nothing"}, (400, 201)),
        ("projects.get_by_id", {"project": "nothing"}, (400, 401)),
        ("queues.get_by_id", {"queue": "nothing"}, (400, 701)),
        ("projects.create", {"name": "ab"}, (400, 800)),
        ("tasks.create", {"name": "ab", "type": "training"}, (400, 800)),
        ("tasks.create", {"name": "abc", "type": "unheard of"}, (400, 800)),
        ("tasks.create", {"name": "abc"}, (400, 11)),
        ("tasks.create", {"name": "abc", "type": "training", "project": "none"}, (400, 401)),
        ("tasks.create", {"name": "abc", "type": "training", "parent": "none"}, (400, 101)),
        ("models.create", {"name": "ab", "uri": "http://h/f"}, (400, 800)),
        ("models.create", {"name": "abc"}, (400, 11)),
        ("nothing.like_this", {}, (404, 0)),
    ],
)
def test_refusals(
    client: Client, endpoint: str, body: dict[str, Any], codes: tuple[int, int]
) -> None:
    if endpoint.startswith("nothing"):
        endpoint = "tasks.like_this"
    answer = client.call(endpoint, **body)
    assert (answer.code, answer.subcode) == codes


def test_values_of_parameters_are_strings(client: Client) -> None:
    parameter = {"section": "hparams", "name": "lr", "value": 0.1, "type": "float"}
    given = {"name": "abc", "type": "training", "hyperparams": {"hparams": {"lr": parameter}}}
    assert client.call("tasks.create", **given).subcode == 800
    parameter["value"] = "0.1"
    assert client.call("tasks.create", **given).code == 200


def test_a_project_lies_in_its_parents_and_its_name_is_taken_once(client: Client) -> None:
    made = client.call("projects.create", name="over/under").data["id"]
    again = client.call("projects.create", name="over/under")
    assert (again.code, again.subcode) == (400, 801)
    over = client.call("projects.get_all", name="^over$").data["projects"]
    assert (
        client.call("projects.get_by_id", project=made).data["project"]["parent"] == (over[0]["id"])
    )


def test_statuses_follow_one_another(client: Client, task: str) -> None:
    def status() -> str:
        return str(client.call("tasks.get_by_id", task=task).data["task"]["status"])

    assert client.call("tasks.completed", task=task).subcode == 110
    assert client.call("tasks.started", task=task).code == 200
    assert client.call("tasks.failed", task=task, status_reason="boom").code == 200
    assert client.call("tasks.started", task=task).subcode == 110
    assert client.call("tasks.started", task=task, force=True).code == 200
    assert client.call("tasks.completed", task=task).code == 200
    assert status() == "completed"


def test_what_a_task_holds_changes_while_it_runs_only_by_force_and_later_not_at_all(
    client: Client, task: str
) -> None:
    edit = {"task": task, "comment": "changed"}
    artifact = {"task": task, "artifacts": [{"key": "a", "type": "custom"}]}
    parameters = [{"section": "hparams", "name": "lr", "value": "1"}]
    assert client.call("tasks.edit", **edit).code == 200
    client.call("tasks.started", task=task)
    assert client.call("tasks.edit", **edit).subcode == 110
    assert client.call("tasks.edit", **edit, force=True).code == 200
    assert client.call("tasks.add_or_update_artifacts", **artifact).code == 200
    assert client.call("tasks.edit_hyper_params", task=task, hyperparams=parameters).subcode == 110
    client.call("tasks.completed", task=task)
    assert client.call("tasks.edit", **edit, force=True).code == 200
    assert client.call("tasks.add_or_update_artifacts", **artifact, force=True).subcode == 110
    model = {"task": task, "name": "last", "model": "m", "type": "output"}
    assert client.call("tasks.add_or_update_model", **model).subcode == 110


def test_the_web_pages_abort_stops_a_task_and_asks_a_worker(client: Client, task: str) -> None:
    client.call("tasks.started", task=task)
    client.call("workers.status_report", worker="w", task=task)
    client.call("tasks.stop", task=task)
    asked = client.call("tasks.get_by_id", task=task).data["task"]
    assert (asked["status"], asked["status_message"]) == ("in_progress", "stopping")
    client.call("tasks.edit", task=task, system_tags=["development"], force=True)
    client.call("tasks.stop", task=task)
    assert client.call("tasks.get_by_id", task=task).data["task"]["status"] == "stopped"


def test_events_of_unknown_tasks_are_refused(client: Client, task: str) -> None:
    assert client.send([scalar("nothing", 1)]).subcode == 131
    some = client.send([scalar("nothing", 1), scalar(task, 1)])
    assert (some.code, some.data["added"], some.data["errors"]) == (200, 1, 1)
    client.call("tasks.publish", task=task, force=True)
    assert client.send([scalar(task, 2)]).subcode == 131


def test_scalars_are_replaced_and_log_lines_never_are(
    client: Client, shared_clearml_server: ClearMLServer, task: str
) -> None:
    for value in (1.0, 2.0):
        client.send([scalar(task, 5, value), log(task, "the same", 7)])
    assert shared_clearml_server.scalars(task) == {("loss", "train"): [(5, 2.0)]}
    assert shared_clearml_server.logs(task) == ["the same", "the same"]
    image = {"type": "training_debug_image", "task": task, "iter": 1, "metric": "m", "variant": "v"}
    client.send([image | {"url": "one"}, image | {"url": "two"}])
    assert [each["url"] for each in shared_clearml_server.events(task, image["type"])] == ["two"]


def test_log_lines_are_paged_by_their_time(client: Client, task: str) -> None:
    client.send([log(task, f"line {i}", 10 + i // 2) for i in range(10)])

    def page(**body: Any) -> list[str]:
        events = client.call("events.get_task_log", task=task, **body).data["events"]
        return [each["msg"][5:] for each in events]

    assert page(batch_size=3, navigate_earlier=False) == list("0123")
    assert page(batch_size=2, navigate_earlier=False, from_timestamp=11) == list("45")
    assert page(batch_size=2, order="asc") == list("89")
    assert page(batch_size=2, from_timestamp=14, order="asc") == list("67")


def test_events_are_forgotten_with_their_task(client: Client, task: str) -> None:
    client.send([scalar(task, 1)])
    assert client.call("events.delete_for_task", task=task).code == 200
    assert client.call("events.scalar_metrics_iter_histogram", task=task).data == {}
    client.send([scalar(task, 2)])
    client.call("tasks.reset", task=task)
    assert client.call("events.get_task_events", task=task).data["events"] == []
    assert client.call("tasks.delete", task=task).code == 200
    assert client.call("tasks.get_by_id", task=task).subcode == 101


def test_tasks_are_found_by_ids_tags_and_names_in_pages(client: Client) -> None:
    project = client.call("projects.create", name="searched").data["id"]
    made = [
        client.call(
            "tasks.create",
            name=f"Task {i}",
            type="training",
            project=project,
            tags=["even" if i % 2 == 0 else "odd"],
            system_tags=[f"number:{i}", *(["hidden"] if i == 4 else [])],
        ).data["id"]
        for i in range(5)
    ]

    def found(**body: Any) -> list[str]:
        answer = client.call("tasks.get_all", project=[project], **body).data["tasks"]
        return [each["name"][-1] for each in answer]

    assert found() == list("0123")
    assert found(search_hidden=True) == list("01234")
    assert found(id=[made[4], made[0]]) == list("04")
    assert found(system_tags=["number:2"]) == ["2"]
    assert found(system_tags=["__$all", "number:2", "number:3"]) == []
    assert found(tags=["-even"]) == list("13")
    assert found(name="^task 1$") == ["1"]
    assert found(order_by=["-name"], page=1, page_size=3) == ["0"]
    assert found(status=["in_progress"]) == []
    kept = client.call("tasks.get_all", id=[made[0]], only_fields=["status", "runtime.none"])
    assert kept.data["tasks"] == [{"id": made[0], "status": "created", "runtime": {}}]


def test_a_queue_hands_its_tasks_on_in_their_order(client: Client, task: str) -> None:
    queue = client.call("queues.create", name="a queue").data["id"]
    assert client.call("tasks.enqueue", task=task, queue=queue).data["queued"] == 1
    assert client.call("tasks.enqueue", task=task, queue=queue).subcode == 110
    assert client.call("tasks.get_by_id", task=task).data["task"]["status"] == "queued"
    entry = client.call("queues.get_next_task", queue=queue).data["entry"]
    assert entry["task"] == task
    assert client.call("queues.get_next_task", queue=queue).data == {}
