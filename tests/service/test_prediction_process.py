"""The process of predictions: it is kept, replaced when it dies, ended when it takes too long."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from daemon_support import write_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Asset, Config, Learn, ModelUse, Signal, Template
from edge_agent.config.settings import Http
from edge_agent.config.types import Name, Secret
from edge_agent.daemon import Replay
from edge_agent.models import VerifiedBundles
from edge_agent.plant import Plant
from edge_agent.service import Predictions, SentTable, prediction_child, prediction_process
from edge_agent.service.prediction import predict
from edge_agent.service.prediction_child import Question
from edge_agent.service.prediction_config import config_of_model
from edge_agent.testing import mean_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PAIR = Template({Name("a"): Signal(), Name("b"): Signal()}, (ModelUse(Name("quick")),))
TABLE = SentTable("P-1", "", b'{"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}')


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One asset, which a tiny model scores."""
    folder = tmp_path_factory.mktemp("models")
    mean_bundle(folder / "quick", ["a", "b"], length=4)
    return Config(
        templates={Name("pair"): PAIR},
        assets={"P-{1..2}": Asset(Name("pair"))},
        models_dir=folder,
    )


@pytest.fixture
async def asked(config: Config) -> AsyncIterator[Predictions]:
    made = Predictions(lambda: (config, Plant(config)), Replay.load, VerifiedBundles())
    yield made
    await made.stop()


def pid(asked: Predictions) -> int | None:
    child = asked._child
    return None if child is None else child.pid


async def test_a_process_is_kept_for_the_next_question(asked: Predictions) -> None:
    first = await asked.predict(TABLE)
    kept = pid(asked)
    assert first[0] == 200
    assert json.loads(first[1])["score"] == 2.5
    assert await asked.predict(TABLE) == first
    assert pid(asked) == kept is not None


async def test_a_process_that_died_is_replaced(asked: Predictions) -> None:
    """As when the system is short of memory: the next client does not notice."""
    await asked.predict(TABLE)
    child = asked._child
    assert child is not None
    child.kill()
    await child.wait()
    assert (await asked.predict(TABLE))[0] == 200


async def test_a_process_that_dies_at_work_is_an_error_and_no_end(
    asked: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked.predict(TABLE)
    child = asked._child
    assert child is not None
    exchange = prediction_process._exchange

    async def killed(process: asyncio.subprocess.Process, raw: bytes, body: bytes) -> bytes:
        process.kill()
        return await exchange(process, raw, body)

    monkeypatch.setattr(prediction_process, "_exchange", killed)
    status, body = await asked.predict(TABLE)
    assert status == 500
    assert "ended with code -9" in json.loads(body)["error"]
    monkeypatch.undo()
    assert (await asked.predict(TABLE))[0] == 200


async def test_an_answer_that_takes_too_long_ends_the_process(
    asked: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own timer; the pipeline's event loop may be busy."""
    monkeypatch.setattr(prediction_process, "PREDICT_S", 1e-4)
    status, body = await asked.predict(TABLE)
    assert status == 504
    assert "send fewer rows" in json.loads(body)["hint"]


async def test_a_client_that_gives_up_ends_the_process(asked: Predictions) -> None:
    asking = asyncio.create_task(asked.predict(TABLE))
    while pid(asked) is None:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert pid(asked) is None


async def test_an_idle_process_ends(asked: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_process, "IDLE_S", 0.0)
    await asked.predict(TABLE)
    child = asked._child
    assert child is not None
    assert await asyncio.wait_for(child.wait(), 20) == 0
    assert pid(asked) is None


async def test_the_process_knows_one_asset_and_nothing_that_connects(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other machine of the plant, no address, no place of a secret."""
    sent: list[Question] = []

    async def exchange(_: object, raw: bytes, _body: bytes) -> bytes:
        sent.append(pickle.loads(raw))  # noqa: S301 (ours)
        return bytes([2, 0]) + b"{}"

    secret = Secret(env="TOKEN")
    sinks: Any = {Name("bus"): secret}
    known = replace(config, http=Http(token=secret), sinks=sinks)
    monkeypatch.setattr(prediction_process, "_exchange", exchange)
    asked = Predictions(lambda: (known, Plant(known)), Replay.load, VerifiedBundles())
    for table in (TABLE, replace(TABLE, asset="", model="quick")):
        assert await asked.predict(table) == (200, b"{}")
    assert [[*one.config.assets] for one in sent] == [["P-1"], ["recording"]]
    assert all(not one.config.sinks and one.config.http == Http() for one in sent)


async def test_baselines_of_other_machines_are_not_loaded(tmp_path: Path) -> None:
    """Each of a thousand machines may have its own; a bundle that cannot be read is one of them."""
    write_bundle(tmp_path / "learned-pump-00000001", ["P-1"])
    others = tmp_path / "learned-pump-00000002"
    others.mkdir()
    (others / "model.yaml").write_text("units: [P-2]\nname: broken")
    signals = {Name(name): Signal() for name in ("flow", "pressure")}
    config = Config(
        templates={Name("pump"): Template(signals, learn=Learn())},
        assets={"P-1": Asset(Name("pump"))},
        models_dir=tmp_path,
    )
    for asset, loaded in (("P-1", 1), ("", 2)):
        replay = await Replay.load(config, asset=asset)
        assert len(replay.runtime.models.bundle_names()) == loaded
        assert replay.without == {}
        replay.close()


async def test_a_gateway_that_nobody_asks_has_no_process(asked: Predictions) -> None:
    assert pid(asked) is None


cells = st.none() | st.floats(-1e6, 1e6)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(cells, cells), min_size=4, max_size=12))
def test_json_rows_and_csv_of_the_same_numbers_give_the_same_answer(
    config: Config, rows: list[tuple[float | None, float | None]]
) -> None:
    """Also where cells are empty, and where the answer is an error."""
    lines = [
        ",".join("" if v is None else repr(v) for v in (n, *row)) for n, row in enumerate(rows)
    ]
    columns = {"time": [*range(len(rows))], "a": [a for a, _ in rows], "b": [b for _, b in rows]}
    tables = [
        SentTable("", "quick", json.dumps(columns).encode()),
        SentTable("", "quick", json.dumps(rows).encode()),
        SentTable("", "quick", "\n".join(["time,a,b", *lines]).encode(), is_json=False),
    ]
    answers = [answer(table, config) for table in tables]
    assert answers[0] == answers[1] == answers[2]


def answer(table: SentTable, config: Config) -> object:
    """The answer without how the data were read; or the kind of error."""
    of_model, asset = config_of_model(config, "quick")
    mine = SentTable(asset, table.model, table.body, table.is_json)
    try:
        found = asyncio.run(predict(mine, of_model, Replay.load, verified(config.models_dir)))
    except Exception as error:  # noqa: BLE001 (it is compared)
        return type(error).__name__
    assert math.isfinite(found["score"])
    return {key: value for key, value in found.items() if key != "recording"}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)
json_tables = st.dictionaries(
    st.sampled_from(["a", "b", "time", "", "a [x]", "a;b", 'q"', "x\ny", "asset"]),
    st.lists(st.none() | st.integers(-(2**70), 2**70) | st.text(), min_size=4, max_size=6),
)
csv_texts = st.lists(
    st.lists(st.text('abtime,;"\n\r 01259.-:TZ#', max_size=8), min_size=1, max_size=4), max_size=8
).map(lambda rows: "\n".join(map(",".join, rows)).encode())
bodies = st.tuples(
    (json_values | json_tables).map(lambda value: json.dumps(value).encode()), st.just(value=True)
) | st.tuples(csv_texts | st.binary(), st.just(value=False))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies)
def test_whatever_a_client_sends_is_its_own_error_or_an_answer(
    config: Config, body: tuple[bytes, bool]
) -> None:
    """Never an error of ours, and never a path of this machine."""
    of_model, asset = config_of_model(config, "quick")
    table = SentTable(asset, "quick", body[0], is_json=body[1], with_windows=True)
    status, said = prediction_child.answer(
        Question(table, of_model, Replay.load, verified(config.models_dir), 60)
    )
    assert status in {200, 400}
    assert b"/tmp" not in said
    assert json.loads(said)


@functools.cache
def verified(folder: Path) -> bytes:
    """What a daemon knows after it has loaded the model: examples do not try it again."""
    known = VerifiedBundles()
    config = Config(templates={Name("pair"): PAIR}, models_dir=folder)
    replay = asyncio.run(Replay.load(config, verified=known))
    replay.close()
    return known.as_bytes()
