"""Several gateways share the assets of one config: each asset is monitored by exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.schema import Asset, Config, Shard, Template
from edge_agent.config.types import Name
from edge_agent.plant import Plant

ids = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)


def owner(asset_id: str, of: int) -> int:
    (found,) = [index for index in range(of) if Shard(index, of).owns(asset_id)]
    return found


@given(ids, st.integers(1, 40))
def test_an_asset_has_one_owner(asset_id: str, of: int) -> None:
    assert owner(asset_id, of) < of


@given(ids, st.integers(1, 40))
def test_one_more_shard_moves_only_what_it_takes(asset_id: str, of: int) -> None:
    assert owner(asset_id, of + 1) in {owner(asset_id, of), of}


def test_the_shares_are_even() -> None:
    """Of 2,000 assets and eight shards, each has 250 within five standard deviations."""
    owners = [owner(f"P-{n:04}", 8) for n in range(2000)]
    assert all(176 < owners.count(shard) < 324 for shard in range(8))


def test_an_owner_never_changes() -> None:
    """The hash is part of the contract: a gateway of another release must not take an asset too."""
    assert [owner(f"P-{n}", 4) for n in range(1, 9)] == EXPECTED


EXPECTED = [3, 3, 1, 2, 0, 2, 1, 2]


def plant(index: int) -> Plant:
    assets = {"P-{1..20}": Asset(Name("pump"))}
    return Plant(Config(templates={Name("pump"): Template()}, assets=assets, shard=Shard(index, 3)))


def test_the_plants_of_all_shards_are_the_whole_plant() -> None:
    found = [name for index in range(3) for name in plant(index).assets]
    assert sorted(found) == sorted(f"P-{n}" for n in range(1, 21))


def test_what_was_discovered_before_stays_with_its_new_owner_only() -> None:
    known = [(f"X-{n}", "pump", "") for n in range(20)]
    found = []
    for index in range(3):
        one = plant(index)
        one.restore(known)
        found += [asset.id for asset in one.discovered]
    assert sorted(found) == sorted(name for name, _, _ in known)


@pytest.mark.parametrize(("index", "of"), [(1, 1), (4, 4), (7, 3)])
def test_an_index_without_a_shard_is_a_problem(index: int, of: int) -> None:
    ((key, message),) = Shard(index, of).problems()
    assert key == "index"
    assert str(of - 1) in message
