"""Words of a language model about answers: checked, apart, and of a model that has passed alone."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from text_support import FakeServer, fake_server, foreign

from edge_agent.cli import main
from edge_agent.clock import FakeClock
from edge_agent.language.engine import TextEngine
from edge_agent.language.wording import (
    ExamResults,
    Result,
    Wording,
    exam_tasks,
    result_of,
    sit_exam,
)
from edge_agent.language.wording_checks import faults_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RIGHT = {task.text + task.languages[1]: answer for task, answer in exam_tasks()}
NAMES = {"English": "en", "Chinese": "zh", "Japanese": "ja", "German": "de"}
EXAM = Result(52, 52, passed=True)


def test_right_words_pass_all_checks() -> None:
    """The answers of ours to the exam, in every direction."""
    tasks = list(exam_tasks())
    assert len(tasks) == 52
    for task, answer in tasks:
        whole = task.kind == "translation"
        assert faults_of(task.text, answer, task.languages, whole=whole) == [], answer
        assert re.search(task.needs, answer), answer


@pytest.mark.parametrize(
    ("source", "made", "languages", "what"),
    [
        ("7.8 mm/s is above the limit", "4.8 mm/s is above the limit", "en en", "numbers"),
        ("it is 7.8, above 4.5 mm/s", "it is 4.5, above 7.8 mm/s", "en en", "numbers"),
        ("Press 15 g of grease.", "压入 150 g 润滑脂。", "en zh", "numbers"),
        ("The flow is 7.8 bar.", "流量是 7.8 l/min。", "en zh", "numbers"),
        ("Check it after 24 hours.", "24 分钟后检查。", "en zh", "numbers"),
        ("The limit is 1,500 rpm.", "Der Grenzwert ist 1,500 U/min.", "en de", "numbers"),
        ("Wait until it is cold.", "Wait 3 minutes until it is cold.", "en en", "numbers"),
        ("Wait until it is cold.", "Wait three minutes until it is cold.", "en en", "numbers"),
        ("P-101 is hot.", "P-110 很热。", "en zh", "ids"),
        ("The pump is hot.", "The pump P-101 is hot.", "en en", "ids"),
        ("Do not open the valve.", "打开阀门。", "en zh", "polarity"),
        ("Tighten the screw.", "松开螺钉。", "en zh", "polarity"),
        ("The value is above the limit.", "The value is below the limit.", "en en", "polarity"),
        ("112 is above the limit", "it is 112 degrees above the limit", "en en", "polarity"),
        ("Stop the motor.", "Start the motor.", "en en", "polarity"),
        ("Stop the motor.", "Stop the motor.", "en zh", "form"),
        ("Stop the motor.", "", "en en", "form"),
        ("Stop the motor.", "Stop the motor. " * 20, "en en", "form"),
        ("Stop the motor.", "Stop the motor, see http://x.example", "en en", "form"),
    ],
)
def test_words_that_change_something_are_found_out(
    source: str, made: str, languages: str, what: str
) -> None:
    """Each check by itself."""
    given, wanted = languages.split()
    found = faults_of(source, made, (given, wanted))
    assert any(one.startswith(what) for one in found), found


@pytest.mark.parametrize(
    ("made", "is_right"),
    [
        ("P-1 is at 7.8 mm/s.", True),
        ("P-1 is at 12 mm/s.", False),
        ("It is not at 7.8 mm/s.", False),
    ],
)
def test_a_shorter_text_may_leave_out_and_not_add(made: str, *, is_right: bool) -> None:
    source = "The vibration of the pump P-1 is at 7.8 mm/s since 12 minutes."
    assert (faults_of(source, made, ("en", "en"), whole=False) == []) is is_right


def by_the_book(body: dict[str, Any]) -> str:
    """A model that knows our answers."""
    order, text = (one["content"] for one in body["messages"])
    wanted = next(
        code for name, code in NAMES.items() if f"into {name}" in order or f"in {name}" in order
    )
    return RIGHT.get(text + wanted, "Die Pumpe ist kalt.")


def careless(body: dict[str, Any]) -> str:
    """One that says the first thing."""
    return by_the_book(body).replace("4", "5")


@asynccontextmanager
async def model(speak: Any) -> AsyncIterator[tuple[TextEngine, FakeServer]]:
    async with fake_server(speak=speak) as fake:
        engine = TextEngine(foreign(fake.url, wording=True), FakeClock())
        try:
            yield engine, fake
        finally:
            await engine.close()


async def test_the_exam_tells_good_from_careless() -> None:
    """What is careless with numbers fails, whatever else it can."""
    results = []
    for speak in (by_the_book, careless):
        async with model(speak) as (engine, _):
            results.append(result_of([one async for one in sit_exam(engine)]))
    assert (results[0].right, results[0].passed) == (52, True)
    assert not results[1].passed
    assert results[1].right < 47
    assert results[1].of < 52, "it ends when it can no longer be passed"


ANSWER: dict[str, Any] = {
    "language": "de",
    "facts": [{"key": "x", "text": "Es geht."}],
    "passages": [
        {"text": "Tighten the screws with 45 Nm and check them after 24 hours.", "language": "en"},
        {"text": "Do not open the cover.", "language": "en"},
    ],
}


async def test_words_stand_apart_and_wrong_ones_are_dropped(tmp_path: Path) -> None:
    """Of two passages in another language, the one whose words pass; the answer stays as it is."""
    results = ExamResults(tmp_path / "exam.json")
    before = json.dumps(ANSWER)
    async with model(by_the_book) as (engine, fake):
        wording = Wording(engine, results)
        assert await wording.words_for(ANSWER) == []
        assert "has not passed" in wording.status()
        assert not fake.asked
        results.keep(engine.config, EXAM._replace(right=3, passed=False))
        assert await wording.words_for(ANSWER) == []
        assert "3 of 52" in wording.status()
        results.keep(engine.config, EXAM)
        [row] = await wording.words_for(ANSWER)
        assert row["text"].startswith("Die Schrauben mit 45 Nm anziehen")
        kept = {key: row[key] for key in ("kind", "of", "language", "model")}
        assert kept == {"kind": "translation", "of": "0", "language": "de", "model": "theirs"}
    assert json.dumps(ANSWER) == before


async def test_a_result_is_that_of_one_model(tmp_path: Path) -> None:
    """Another file, another server or another exam: it counts no longer."""
    results = ExamResults(tmp_path / "exam.json")
    results.keep(foreign("http://a"), EXAM)
    assert results.of(foreign("http://a")) == EXAM
    assert results.of(foreign("http://b")) is None
    rows = json.loads(results.path.read_text("utf-8"))
    rows["http://a theirs"]["exam"] = "another"
    results.path.write_text(json.dumps(rows))
    assert results.of(foreign("http://a")) is None


async def test_a_model_that_is_away_delays_no_answer(tmp_path: Path) -> None:
    """The first failure ends it."""
    results = ExamResults(tmp_path / "exam.json")
    async with model(by_the_book) as (engine, fake):
        results.keep(engine.config, EXAM)
        fake.status = 500
        assert await Wording(engine, results).words_for(ANSWER) == []
        assert len(fake.asked) == 1


async def test_the_command_holds_the_exam(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 or 1, and the daemon finds the result beside the store."""
    path = tmp_path / "edge-agent.yaml"
    words = ["language", "exam", "-c", str(path)]
    for speak, code, said in ((by_the_book, 0, "52 of 52 right: passed"), (careless, 1, "failed")):
        async with fake_server(speak=speak) as fake:
            section = {"engine": "openai", "url": fake.url, "name": "theirs"}
            bus = {"type": "mqtt", "url": "mqtt://127.0.0.1:9", "subscribe": [{"topic": "{asset}"}]}
            config = {
                "store": {"path": str(tmp_path / "store.db")},
                "sources": {"bus": bus},
                "templates": {"pump": {"signals": {"flow": {}}}},
                "assets": {"P-1": {"template": "pump"}},
                "language": section,
            }
            path.write_text(yaml.safe_dump(config))
            assert await asyncio.to_thread(main, words) == code
            assert said in capsys.readouterr().out
            found = ExamResults(tmp_path / "store.language-exam.json").of(foreign(fake.url))
            assert found is not None
            assert found.passed is (code == 0)
    path.write_text(yaml.safe_dump(config | {"language": {}}))
    assert await asyncio.to_thread(main, words) == 2
    assert "language.engine" in capsys.readouterr().err
