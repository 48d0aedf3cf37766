"""Commands in a child: what comes back, and that it is bounded; real processes."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.errors import EdgeAgentError
from edge_agent.ops.routes import Refusal
from edge_agent.service import side_command
from edge_agent.service.side_command import MAX_OUTPUT, NICENESS, SideCommands

LONG_S = 60.0  # for the start of a child on a busy machine


async def test_words_arrive_as_they_are_and_json_comes_back() -> None:
    """No shell is between: a pattern may be anything. The child gives way to everything else."""
    ended = await SideCommands("side_child").run(["say", "--", "'; rm *", "$HOME"], LONG_S)
    found = ended.value()
    assert (ended.code, found["words"]) == (0, ["--", "'; rm *", "$HOME"])
    assert found["nice"] == NICENESS


async def test_a_failure_is_told_by_its_last_line() -> None:
    ended = await SideCommands("side_child").run(["fail"], LONG_S)
    assert ended.code == 1
    with pytest.raises(EdgeAgentError, match="plc: no answer"):
        ended.value()


async def test_one_at_a_time_and_the_next_after_it() -> None:
    side = SideCommands("side_child")
    first = asyncio.create_task(side.run(["say"], LONG_S))
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as refusal:
        await side.run(["say"], LONG_S)
    assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (429, "10")
    assert (await first).code == 0
    assert (await side.run(["say"], LONG_S)).code == 0


@pytest.mark.parametrize(
    ("words", "within_s", "status"),
    [(["wait"], 0.2, 504), (["much", str(MAX_OUTPUT + 1)], LONG_S, 413)],
)
async def test_a_child_that_takes_too_long_or_says_too_much_is_ended(
    words: list[str], within_s: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it goes on, nothing of it is left."""
    children: list[asyncio.subprocess.Process] = []
    end = side_command._end

    async def noted(child: asyncio.subprocess.Process) -> None:
        children.append(child)
        await end(child)

    monkeypatch.setattr(side_command, "_end", noted)
    with pytest.raises(Refusal) as refusal:
        await SideCommands("side_child").run(words, within_s)
    assert refusal.value.status == status
    assert children[0].returncode is not None
