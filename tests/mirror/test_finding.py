"""Tasks found by what people call them, on a server that has many."""

from __future__ import annotations

import pytest

from clearml_server.fixture import ClearMLServer
from mirror.server_content import Content
from mirror.wild_server import Wild, meaning, wild
from torch_lab.errors import CheckpointNotFound, RunNotFound, ServerUnreachable
from torch_lab.mirror import finding
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import FAMILY, run_tag

__all__ = ["wild"]

RUN_ID = "0f" * 16


@pytest.fixture(scope="module")
def content(shared_clearml_server: ClearMLServer) -> Content:
    return Content(shared_clearml_server)


@pytest.fixture
def server(shared_clearml_server: ClearMLServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in shared_clearml_server.environment.items():
        monkeypatch.setenv(name, value)
    return Server.connect()


@pytest.fixture(scope="module")
def task(content: Content) -> str:
    """A task of a run, in a project whose name has slashes."""
    tags = [FAMILY, run_tag(RUN_ID)]
    return content.task("00_found-a.b+c_v0", "find/me/here", system_tags=tags)


def found(server: Server, text: str) -> str | None:
    answer = finding.find(server, [(text, None)])
    return answer[0].id if answer else None


@pytest.mark.parametrize(
    "text",
    [
        "00_found-a.b+c_v0",
        "find/me/here/00_found-a.b+c_v0",
        RUN_ID,
        RUN_ID.upper(),
    ],
)
def test_a_run_by_its_names(server: Server, task: str, text: str) -> None:
    assert found(server, text) == task
    assert found(server, task) == task


@pytest.mark.parametrize(
    "text",
    [
        "00_found-aXb+c_v0",  # no pattern
        "00_found-a.b+c_v",  # no prefix
        "me/here/00_found-a.b+c_v0",
        "here/00_found-a.b+c_v0",
        "find/me/HERE/00_found-a.b+c_v0",
        "/00_found-a.b+c_v0",
        "f" * 32,
        "",
        " ",
        "/",
        ".*",
        "a" * 5000,
        "quite \x1b[2J other\0",
    ],
)
def test_no_other_name_will_do(server: Server, task: str, text: str) -> None:
    assert found(server, text) is None


def test_what_is_known_of_it(server: Server, task: str) -> None:
    answer = finding.find(server, [("none such", None), ("00_found-a.b+c_v0", "best")])
    assert answer is not None
    made, checkpoint = answer
    assert checkpoint == "best"
    assert (made.title, made.run_id) == ("find/me/here/00_found-a.b+c_v0", RUN_ID)
    assert "\x1b" not in finding.task_of({"id": task, "name": "a\x1b[2Jb"}, {}).name


def test_a_name_with_a_slash_in_it(content: Content, server: Server) -> None:
    odd = content.task("part/of it", "find/odd")
    assert found(server, "part/of it") == odd
    assert found(server, "find/odd/part/of it") == odd


def test_many_of_one_name(content: Content, server: Server) -> None:
    first = content.task("hparams-twice", "find/one")
    second = content.task("hparams-twice", "find/two")
    with pytest.raises(RunNotFound) as caught:
        found(server, "hparams-twice")
    assert caught.value.message.startswith('"hparams-twice" names 2 tasks on http://')
    for line in (
        f"  find/one/hparams-twice  {first}  created, 20",
        f"  find/two/hparams-twice  {second}",
    ):
        assert line in caught.value.message
    assert caught.value.hint == "Name one by its id, or by PROJECT/NAME."
    assert found(server, "find/two/hparams-twice") == second
    for _ in range(9):
        content.task("hparams-twice", "find/two")
    with pytest.raises(RunNotFound, match=r"(?s)names 11 tasks.*and 3 more"):
        found(server, "hparams-twice")
    with pytest.raises(RunNotFound, match=r"(?s)names 10 tasks") as caught:
        found(server, "find/two/hparams-twice")
    assert caught.value.hint == "Name one by its id."


def test_runs_before_foreign_tasks_where_they_are_wanted(content: Content, server: Server) -> None:
    run = content.task("shared", "find/one", system_tags=[FAMILY, run_tag("2f" * 16)])
    content.task("shared", "find/two")
    with pytest.raises(RunNotFound, match="names 2 tasks"):
        found(server, "shared")
    answer = finding.find(server, [("shared", None)], prefer_runs=True)
    assert answer is not None
    assert answer[0].id == run


def test_archived_ones_don_t_count_beside_others(content: Content, server: Server) -> None:
    old = content.task("put-away", "find/one", system_tags=["archived"])
    assert found(server, "put-away") == old
    new = content.task("put-away", "find/one")
    assert found(server, "put-away") == new


def test_of_one_run_that_was_sent_twice_the_newest(content: Content, server: Server) -> None:
    tags = [FAMILY, run_tag("1f" * 16)]
    content.task("sent-twice", "find/one", system_tags=tags)
    second = content.task("sent-twice", "find/one", system_tags=tags)
    assert found(server, "sent-twice") == found(server, "1f" * 16) == second


@pytest.fixture(scope="module")
def stocked(content: Content) -> str:
    """A task with models, sound ones and others."""
    task = content.task("with models", "find/models")
    url = content.file("find/models/epoch=1-step=7.ckpt", b"content")
    content.model(task, "last", url, {"sha256": "AB" * 32, "size": 7, "loss/validate": 0.5})
    content.model(task, "a/b", "file:///store/../secret.ckpt", {"size": "many"})
    content.model(task, "under way", "http://files/x/uploading_file")
    content.model(task, "lost", "file:///store/failed_uploading")
    return task


class TestModels:
    def details(self, server: Server, task: str) -> finding.Task:
        return finding.with_id(server, task)

    def test_their_names_and_facts(self, server: Server, stocked: str) -> None:
        models = {each.name: each for each in finding.models(server, self.details(server, stocked))}
        last = models["last"]
        assert (last.sha256, last.size, finding.metrics_of(last)) == (
            "ab" * 32,
            7,
            {"loss/validate": 0.5},
        )
        assert (models["a/b"].size, models["a/b"].sha256) == (None, None)
        assert set(models) == {"last", "a/b", "under way", "lost"}

    def test_by_the_name_of_the_task_or_of_the_file(self, server: Server, stocked: str) -> None:
        details = self.details(server, stocked)
        assert finding.chosen(server, details, "last").size == 7
        assert finding.chosen(server, details, "epoch=1-step=7").size == 7

    def test_by_its_own_name(self, content: Content, server: Server) -> None:
        task = content.task("own names", "find/models")
        for key in ("key", "other", "a other"):
            content.model(task, key, f"file:///store/{key}.pt")
        details = self.details(server, task)
        assert finding.chosen(server, details, "a key").name == "key"
        assert finding.chosen(server, details, "a other").name == "a other"  # the task's goes first
        content.model(task, "twin", "file:///store/twin.pt")
        twin = content.model(task, "twin2", "file:///store/twin2.pt")
        content.server.call("models.edit", model=twin, name="a twin")
        with pytest.raises(CheckpointNotFound):
            finding.chosen(server, self.details(server, task), "a twin")

    def test_the_only_one_of_a_foreign_task(self, content: Content, server: Server) -> None:
        task = content.task("one model", "find/models")
        content.model(task, "my weights", "file:///store/one.pt")
        details = self.details(server, task)
        with pytest.raises(CheckpointNotFound) as caught:
            finding.chosen(server, details, "last", asked=False)
        words = f"It is taken by its name: --checkpoint '{task}:my weights'"
        assert caught.value.hint == words
        with pytest.raises(CheckpointNotFound) as caught:
            finding.chosen(server, details, "last")
        assert caught.value.hint is None
        content.model(task, "second", "file:///store/two.pt")
        with pytest.raises(CheckpointNotFound) as caught:
            finding.chosen(server, self.details(server, task), "last", asked=False)
        assert caught.value.hint is None

    def test_another_name(self, server: Server, stocked: str) -> None:
        with pytest.raises(CheckpointNotFound) as caught:
            finding.chosen(server, self.details(server, stocked), "bset")
        assert caught.value.message.startswith(
            f"task find/models/with models ({stocked}) on http://"
        )
        words = "has no checkpoint 'bset': it has last, a/b"
        assert words in caught.value.message
        assert "under way (its upload is not finished), lost (its upload failed)" in str(
            caught.value
        )

    @pytest.mark.parametrize(
        ("name", "why"),
        [("under way", "its upload is not finished"), ("lost", "its upload failed")],
    )
    def test_one_that_never_arrived(
        self, server: Server, stocked: str, name: str, why: str
    ) -> None:
        with pytest.raises(CheckpointNotFound, match=f"is not there: {why}") as caught:
            finding.chosen(server, self.details(server, stocked), name)
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("it has last")

    def test_a_task_without_any(self, content: Content, server: Server) -> None:
        bare = self.details(server, content.task("without models", "find/models"))
        with pytest.raises(CheckpointNotFound, match="has no checkpoint 'last': it has none"):
            finding.chosen(server, bare, "last")


def test_a_task_that_is_gone(server: Server) -> None:
    with pytest.raises(RunNotFound, match=r"the ClearML server at http://\S+ has no task 0000"):
        finding.with_id(server, "0" * 32)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tasks": None},
        {"tasks": [7]},
        {"tasks": [{}]},
        {"tasks": [{"id": "../../etc", "name": "x"}]},
        {"tasks": [{"id": 7, "name": "x"}]},
        {"tasks": [{"id": "0" * 32, "name": ["x"], "project": {"a": 1}}]},
    ],
)
def test_answers_of_another_shape(
    wild: Wild, monkeypatch: pytest.MonkeyPatch, data: dict[str, object]
) -> None:
    for name, value in wild.environment.items():
        monkeypatch.setenv(name, value)
    server = Server.connect()
    wild.answers["*tasks.get_all"] = meaning(data)
    with pytest.raises(ServerUnreachable, match="answers, but not as a ClearML server does"):
        finding.find(server, [("0" * 32, None)])
