"""The status page as an operator sees and uses it, in a real browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from chromium import browsing
from status_support import (
    TOKEN,
    ListStatus,
    alarm_row,
    asset_row,
    commanding,
    link_row,
    model_row,
    now_ms,
    plant_of,
    serving,
)
from test_key_file import add

from edge_agent.config.types import Secret
from edge_agent.ops.key_file import changed_keys
from edge_agent.service import Question, ask_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]

SHOWN = "document.querySelectorAll('.asset').length > 0"
CARD = ".alarm[data-alarm='P-042.model']"


async def test_assets_alarms_and_connections_are_shown(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(500)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        alarm = await page.text(CARD)
        for part in (
            "critical",
            "bearing wear, drive end",
            "unacknowledged",
            "3 times",
            "7.81 mm/s",
        ):
            assert part in alarm
        assert await page.js(
            "[...document.querySelectorAll('.asset')].map(a => a.dataset.asset)[0]"
        )
        assert "34 %" in await page.text(".asset[data-asset='P-042']")
        assert "2.4 / 1" in await page.text(".asset[data-asset='P-042']")
        assert "118 m³/h" in await page.text(".asset[data-asset='P-042'] .inputs")
        assert "stale, 15 min" in str(
            await page.js("document.querySelector('.asset[data-asset=\"P-010\"]').textContent")
        )
        side = await page.text("aside")
        for part in ("plc1", "down, 2 h", "12 waiting", "pump-vibration", "42 %", "3 messages"):
            assert part in side
        assert await page.text("#gateway") == "gw-07"
        assert page.console == []


async def test_models_are_shown_with_what_is_wrong_and_their_shadows(tmp_path: Path) -> None:
    """A version that gave way, one whose windows are filling, and how far a shadow agrees."""
    status = ListStatus()
    gone = {"refused": "3 of 9 scores are not a number", "refused_version": "1.3.0"}
    status.model_rows = [
        model_row(**gone, rolled_back=True),
        model_row(mode="shadow", version="1.4.0", state="running", compared=8640, agreement=0.998),
        model_row(name="fan-baseline", state="warming", next="8", variant="fp32"),
        model_row(name="none", version="", state="refused", assets=0, refused="checksum"),
    ]
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('#models .line').length === 4")
        models = await page.text("#models")
        for part in (
            "498 assets",
            "int8 · cpu · refused 1.3.0: 3 of 9 scores are not a number",
            "running",
            "shadow · agrees in 99.8 % · 8640 windows compared",
            "filling its windows",
            "then 8",
            "refused: checksum",
        ):
            assert part in models
        abnormal = "[...document.querySelectorAll('#models .abnormal')].length"
        assert await page.js(abnormal) == 2
        assert page.console == []


async def test_500_assets_are_shown_in_pages_and_found_by_search(tmp_path: Path) -> None:
    count = "document.querySelectorAll('.asset').length"
    async with (
        commanding(plant_of(500)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(f"{count} === 60")
        assert await page.text("#assets-count") == "60 of 500"
        await page.js("document.getElementById('more').click()")
        await page.until(f"{count} === 120")
        await page.js("search.value = 'P-33'; search.dispatchEvent(new Event('input'))")
        await page.until(f"{count} === 10")
        await page.js("search.value = '<nothing>'; search.dispatchEvent(new Event('input'))")
        await page.until("!document.getElementById('no-assets').hidden")


async def test_names_and_texts_from_the_wire_are_inert(tmp_path: Path) -> None:
    """Markup in any text is shown as it is written, and nothing of it runs or loads."""
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    asset = asset_row(evil, path=f"a/{evil}", note=evil, state=evil, alarms=1)
    asset["inputs"][0] |= {"name": evil, "unit": evil, "quality": evil}
    alarm = alarm_row("P-1.model", asset=evil, message={"en": evil}, advice={"en": evil})
    alarm |= {"priority": "__proto__", "state": evil, "acked_by": evil}
    alarm["detail"]["contributors"][0] |= {"input": evil, "unit": evil}
    status = ListStatus([asset], [alarm], troubles=[evil])
    status.links = [link_row(evil, evil, evil, evil)]
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        assert evil in await page.text(".asset strong")
        assert evil in await page.text(".alarm .message")
        assert await page.js("document.querySelectorAll('main img, main script').length") == 0
        assert "owned" not in str(await page.js("document.title"))
        assert page.console == []


async def test_the_page_may_not_run_or_load_anything_foreign(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        await page.js(
            "try { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            " document.body.append(s) } catch {}"
            "try { document.body.insertAdjacentHTML('beforeend', '<p id=ran>') } catch {}"
        )
        assert await page.js("window.ran") is None
        refused = "fetch('http://127.0.0.1:9/').then(() => 'sent', (e) => String(e))"
        assert "Failed to fetch" in str(await page.js(refused))
        assert any("Content Security Policy" in line for line in page.console)


async def test_acknowledge_and_shelve(tmp_path: Path) -> None:
    status = plant_of(50)
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        await page.js(f'document.querySelector("{CARD} .actions button").click()')
        await page.until(f"document.querySelector(\"{CARD} .failure\").textContent !== ''")
        assert status.commands == []

        await page.js("operator.value = 'Lena'; operator.dispatchEvent(new Event('change'))")
        await page.js(f'document.querySelector("{CARD} .actions button").click()')
        await page.until(f'document.querySelector("{CARD} .actions button").hidden')
        assert "acknowledged" in await page.text(f"{CARD} .state")

        menu = f'document.querySelector("{CARD} select")'
        await page.js(f"{menu}.selectedIndex = 2; {menu}.dispatchEvent(new Event('change'))")
        await page.until(f'document.querySelector("#parked {CARD}") !== null')
        assert status.commands == [
            ("ack", "P-042.model", "Lena", None),
            ("shelve", "P-042.model", "Lena", 3600.0),
        ]


async def test_all_that_is_shown_is_acknowledged_with_a_comment(tmp_path: Path) -> None:
    """The field's comment goes with the next command, whether of one alarm or of all."""
    status = plant_of(50)
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        waiting = [row["alarm_id"] for row in status.alarm_rows if row["state"] == "unack"]
        assert await page.text("#ack-all") == f"Acknowledge all {len(waiting)} shown"
        await page.js("document.getElementById('ack-all').click()")
        await page.until("document.getElementById('ack-failure').textContent !== ''")
        assert status.selected == []
        await page.js("operator.value = 'Lena'; comment.value = ' power cut '")
        await page.js("document.getElementById('ack-all').click()")
        await page.until("document.getElementById('acknowledge').hidden")
        ((kind, wanted, actor, _, comment),) = status.selected
        assert (kind, set(wanted["ids"]), actor, comment) == (
            "ack",
            set(waiting),
            "Lena",
            "power cut",
        )
        assert await page.js("document.getElementById('comment').value") == ""


async def test_a_card_shows_who_shelved_it_and_why(tmp_path: Path) -> None:
    alarm = alarm_row("P-1.model", state="shelved", acked_by="anna", shelved_by="ben")
    alarm |= {"comment": "filter is <new>", "shelved_until_ms": 1_767_225_600_000}
    async with (
        commanding(ListStatus([asset_row("P-1")], [alarm])) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        card = str(await page.js("document.querySelector('#parked .alarm').textContent"))
        assert "by ben" in card
        assert "by anna" not in card
        assert "“filter is <new>”" in card


async def test_faults_of_a_connected_link_are_troubles(tmp_path: Path) -> None:
    """A degraded link counts as connected; what it says itself is not said twice."""
    status = ListStatus([asset_row("P-1")], [])
    status.links = [
        link_row("plc1", "opcua", "degraded", "3 nodes refused"),
        link_row("bus", "mqtt", "up", ""),
    ]
    status.troubles = ["plc1: 3 nodes refused", "plc1: clock 3600 s ahead"]
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        assert await page.text("#troubles") == "plc1: clock 3600 s ahead"
        assert "2 of 2" in await page.text("#figures")
        assert "connected, with faults" in await page.text("#sources")


async def test_healthy_is_said_beside_the_alarm_of_a_baseline(tmp_path: Path) -> None:
    """The card tells what will happen, and only the answer to that sends the command."""
    moved = {"model": "learned", "input": "flow", "statistic": "slow mean", "sigmas": -2.1}
    moved |= {"since_ms": now_ms() - 7_300_000, "kind": "confirmed", "budget": 3.0}
    moved |= {"by": "Ada", "accepted": 0, "accepted_since_ms": 0, "states": 3}
    asset = asset_row("P-1", alarms=1, state="alarm", followed=[moved])
    status = ListStatus([asset], [alarm_row("P-1.baseline", follows=True), alarm_row("P-1.model")])
    card = ".alarm[data-alarm='P-1.baseline']"
    question, yes = f"{card} .question", f'document.querySelector("{card} .question button")'
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        buttons = "[...document.querySelectorAll('.actions button:not([hidden])')]"
        healthy = f"{buttons}.filter((one) => one.textContent.startsWith('This is healthy'))"
        assert await page.js(f"{healthy}.length") == 1, "not beside the alarm of another model"
        await page.js(f"{healthy}[0].click()")
        assert "What P-1 does now becomes the middle" in await page.text(question)
        await page.js("operator.value = 'Lena'; comment.value = 'new impeller'")
        assert status.commands == []
        await page.js(f"{yes}.click()")
        await page.until(f"document.querySelector(\"{card} .done\").textContent !== ''")
        assert status.commands == [("healthy", "P-1", "Lena", None)]
        assert status.comments == ["new impeller"]
        assert await page.js(f'document.querySelector("{question}").hidden')
        assert await page.text(".asset .followed") == (
            "flow: slow mean moved by -2.1 σ for 2 h 1 min (confirmed as healthy by Ada)"  # noqa: RUF001
        )
        assert page.console == []


async def test_an_alarm_is_called_false_or_true_beside_it(tmp_path: Path) -> None:
    """By keyboard, too, with comment and part; what was said stands on the card."""
    baseline, other = alarm_row("P-1.baseline", feedback=""), alarm_row("P-1.flow.hi")
    status = ListStatus([asset_row("P-1", alarms=2)], [baseline, other])
    card = ".alarm[data-alarm='P-1.baseline']"
    box = f'[...document.querySelector("{card}").querySelectorAll(".question")][1]'
    buttons = f"[...{box}.querySelectorAll('button')]"
    focused = "document.activeElement.textContent"
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        openers = "[...document.querySelectorAll('.actions button:not([hidden])')]"
        opener = f"{openers}.filter((one) => one.textContent.startsWith('True or false'))"
        assert await page.js(f"{opener}.length") == 1, "not beside the alarm of a limit"
        await page.js(f"{opener}[0].focus()")
        await page.press("Enter", "\r")
        await page.until(f"!{box}.hidden")
        assert "the limit of P-1 is raised" in str(await page.js(f"{box}.textContent"))
        assert await page.js(f"{opener}[0].getAttribute('aria-expanded')") == "true"
        await page.press("Escape")
        await page.until(f"{box}.hidden")
        assert str(await page.js(focused)).startswith("True or false"), "the focus is back"
        await page.press("Enter", "\r")
        await page.until("document.activeElement.tagName === 'INPUT'")
        await page.call("Input.insertText", text=" new oil ")
        await page.press("Tab")
        await page.call("Input.insertText", text="impeller")
        await page.press("Tab")
        assert await page.js(focused) == "It was a false alarm"
        await page.press("Enter", "\r")
        await page.until(f"document.querySelector(\"{card} .failure\").textContent !== ''")
        assert status.judged == [], "without a name nothing is sent"
        await page.js("operator.value = 'Lena'")
        await page.js(f"{buttons}[0].click()")
        await page.until(f"{box}.hidden")
        said = {"alarm_id": "P-1.baseline", "verdict": "false", "by": "Lena", "comment": "new oil"}
        assert status.judged == [{**said, "part": "impeller"}]
        done = "The limit of P-1 is 2.875 times the model's own."
        await page.until(f'document.querySelector("{card}").textContent.includes("{done}")')
        await page.until(f'document.querySelector("{card}").textContent.includes("called false")')
        await page.js(f"{opener}[0].click()")
        await page.js(f"{buttons}[1].click()")
        await page.until(f"{box}.hidden")  # its text has the words "called true" as well
        await page.until(f'document.querySelector("{card}").textContent.includes("called true")')
        await page.js(f"{opener}[0].click()")
        await page.js(f"{buttons}[2].click()")
        await page.until(f"{box}.hidden")
        assert [one["verdict"] for one in status.judged] == ["false", "true", "planned"]
        assert page.console == []


async def test_promise_and_count_of_a_model_stand_together(tmp_path: Path) -> None:
    """Of its version and of all; a promise that was not kept is said."""
    status = ListStatus()
    counts = {"alarms": 9, "called_false": 7, "called_true": 1, "judged_h": 50.0}
    all_versions = {"alarms": 12, "called_false": 8, "called_true": 2, "judged_h": 110.0}
    kept = {"alarms": 0, "called_false": 0, "called_true": 0, "judged_h": 50.0}
    status.model_rows = [
        model_row(false_alarms_at_most=0.8, more_than_promised=True, **counts)
        | {"all_versions": all_versions, "raised_limits": {"P-1": 2.0}},
        model_row(name="fan", false_alarms_per_day=0.1, all_versions=kept, **kept),
    ]
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('#models .line').length === 2")
        told = str(await page.js("document.querySelector('#models .line.abnormal').textContent"))
        assert "up to 0.8 false alarms a day possible" in told
        assert (
            "9 alarms in 50 h, 7 called false, 1 true, more than promised, "
            "of all versions 12 in 110 h, 8 false, 2 true, limit raised for 1 assets" in told
        )
        told = await page.text("#models")
        assert "0.1 false alarms a day to be expected · 0 alarms in 50 h" in told
        assert page.console == []


async def test_a_refused_command_says_why(tmp_path: Path) -> None:
    status = plant_of(50)
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        status.alarm_rows[0]["state"] = "acked"
        await page.js("operator.value = 'Lena'")
        await page.js(f'document.querySelector("{CARD} .actions button").click()')
        await page.until(f'document.querySelector("{CARD} .failure").textContent.includes("acked")')


async def test_a_lost_daemon_is_told_and_a_new_one_is_found(tmp_path: Path) -> None:
    banner = "document.getElementById('banner')"
    async with commanding(plant_of(50)) as server:
        port = server.port
        async with browsing(tmp_path, f"http://127.0.0.1:{port}/") as page:
            await page.until(SHOWN)
            assert await page.js(f"{banner}.hidden")
            await server.stop()
            await page.until(f"!{banner}.hidden")
            assert "cannot be reached" in await page.text("#banner")
            async with commanding(plant_of(60), port=port):
                await page.until(f"{banner}.hidden")
                await page.until("document.getElementById('assets-count').textContent === '60'")


async def test_it_keeps_still_while_it_is_renewed(tmp_path: Path) -> None:
    """A row that somebody opened stays the same element, and open."""
    status = plant_of(50)
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        await page.js(
            "row = document.querySelector('.asset[data-asset=\"P-020\"]'); row.open = true"
        )
        status.asset_rows[19]["inputs"][0]["value"] = 9.87
        await page.until("row.textContent.includes('9.87')")
        assert await page.js("row.isConnected && row.open")


async def test_the_browsers_language_decides(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(
            tmp_path,
            f"http://127.0.0.1:{server.port}/#token={TOKEN}",
            "--lang=de",
            "--accept-lang=de-AT,de,en",
        ) as page,
    ):
        await page.until(SHOWN)
        assert "Lagerverschleiß" in await page.text(CARD)
        assert "valve partly closed" in await page.text(".alarm[data-alarm='P-007.model']")
        assert "Quittieren" in await page.text(CARD)
        assert await page.js("document.documentElement.lang") == "de"


@pytest.mark.parametrize("width", [360, 768])
async def test_it_fits_a_phone(width: int, tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}", width=width) as page,
    ):
        await page.until(SHOWN)
        assert await page.js("document.documentElement.scrollWidth") <= width


async def test_every_word_of_the_page_is_there_in_each_language(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        words = await page.js("import('/static/strings.js').then((m) => m.WORDS)")
    keys = {language: set(known) for language, known in words.items()}
    assert set(keys) == {"en", "de", "zh", "ja"}
    assert all(known == keys["en"] for known in keys.values())


async def test_the_token_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from elsewhere: a proxy's header makes the browser here a stranger."""
    monkeypatch.setenv("HTTP_TOKEN", "correct-horse-battery")
    async with (
        serving(plant_of(50), token=Secret(env="HTTP_TOKEN")) as server,
        browsing(tmp_path, "about:blank") as page,
    ):
        await page.call("Network.enable")
        await page.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "10.0.0.9"})
        await page.call("Page.navigate", url=f"http://127.0.0.1:{server.port}/")
        await page.until("document.getElementById('login')?.hidden === false")
        await page.js("key.value = 'correct-horse-battery'")
        await page.js("document.querySelector('#login button').click()")
        await page.until(SHOWN)
        assert await page.js("document.getElementById('login').hidden")


async def test_without_a_token_set_the_page_shows_and_says_how_to_command(tmp_path: Path) -> None:
    async with (
        serving(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/") as page,
    ):
        await page.until(SHOWN)
        assert "http.token" in await page.text("#access")
        assert await page.js("document.getElementById('login').hidden")
        assert await page.js(f'document.querySelector("{CARD} .actions").offsetParent === null')


async def test_commands_wait_for_the_token_and_the_rest_is_shown(tmp_path: Path) -> None:
    """On the gateway itself; with the token the buttons are there."""
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/") as page,
    ):
        await page.until(SHOWN)
        assert "Commands need a key" in await page.text("#login")
        assert await page.js(f'document.querySelector("{CARD} .actions").offsetParent === null')
        await page.js(f"key.value = '{TOKEN}'")
        await page.js("document.querySelector('#login button').click()")
        await page.until(f'document.querySelector("{CARD} .actions").offsetParent !== null')
        assert await page.js("document.getElementById('login').hidden")


async def test_a_token_in_the_address_does_not_stay_there(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        assert await page.js("location.href") == f"http://127.0.0.1:{server.port}/"
        assert await page.js("document.getElementById('login').hidden")


async def test_two_rows_of_one_name_stay_two(tmp_path: Path) -> None:
    status = ListStatus([asset_row("P-1")])
    status.links = [link_row(name, "mqtt", "up") for name in ("plc", "bus", "bus")]
    async with (
        commanding(status) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        for detail in ("one", "two"):
            status.links[2] = link_row("bus", "mqtt", "up", detail)
            await page.until(f"document.getElementById('sinks').textContent.includes('{detail}')")
            assert await page.js("document.querySelectorAll('#sinks .line').length") == 2


async def test_a_stopped_machine_and_a_vibration_zone_are_shown(tmp_path: Path) -> None:
    """With the reason, and what each limit says now."""
    limit = {"name": "zone_c", "limit": 4.5, "per": "", "state": "alarm"}
    shaky = {"name": "vib", "value": 5.0, "unit": "mm/s", "time_ms": 1, "quality": "good"}
    row = asset_row(
        "P-1",
        state="stopped",
        note="stopped since 2026-11-26 10:00:00 UTC: not run > 0",
        health=None,
        score=None,
        inputs=[{**shaky, "zone": "C", "limits": [limit]}],
    )
    plant = ListStatus([row])
    async with (
        commanding(plant) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until(SHOWN)
        told = str(await page.js("document.querySelector('.asset').textContent"))
        for part in ("stopped", "not run > 0", "zone C"):
            assert part in told
        title = str(await page.js("document.querySelector('.input').title"))
        assert "zone_c 4.5 mm/s: alarm" in title
        assert page.console == []


# -- keys -----------------------------------------------------------------------------------------

SIGNED_IN = "document.getElementById('session').hidden === false"
LOGIN = "document.getElementById('login')?.hidden === false"
ACTIONS = f'document.querySelector("{CARD} .actions").offsetParent !== null'
FAILED = "document.getElementById('login-failure').textContent"


@asynccontextmanager
async def signing_in(
    folder: Path, *scopes: str, elsewhere: bool = True
) -> AsyncIterator[tuple[Any, Any, str, ListStatus]]:
    """A page before which somebody stands with a key; seen from elsewhere: by a proxy's header."""
    status, file = plant_of(50), folder / "keys.json"
    secret = add(file, "panel-3", *scopes)[1]
    async with serving(status, keys=file) as server, browsing(folder, "about:blank") as page:
        await page.call("Network.enable")
        if elsewhere:
            await page.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "10.0.0.9"})
        await page.call("Page.navigate", url=f"http://127.0.0.1:{server.port}/")
        await page.until(LOGIN if elsewhere else SHOWN)
        yield page, server, secret, status


async def sign_in(page: Any, secret: str) -> None:
    await page.js(f"key.value = '{secret}'")
    await page.js("document.querySelector('#login button').click()")


async def test_a_key_signs_in_commands_under_its_name_and_signs_out(tmp_path: Path) -> None:
    """From elsewhere nothing is shown before and after it; it is in no address."""
    async with signing_in(tmp_path, "command") as (page, _, secret, status):
        assert not await page.js(SHOWN)
        await sign_in(page, secret)
        await page.until(SIGNED_IN)
        await page.until(SHOWN)
        assert await page.text("#session-name") == "Signed in: panel-3 (command, read)"
        assert await page.js("document.getElementById('login').hidden")
        assert await page.js(ACTIONS)
        assert await page.js("document.getElementById('key').value") == ""
        assert secret not in str(await page.js("location.href + document.cookie"))
        assert await page.js("localStorage.length") == 0
        await page.js("operator.value = 'Lena'")
        await page.js(f'document.querySelector("{CARD} .actions button").click()')
        await page.until(f'document.querySelector("{CARD} .actions button").hidden')
        assert status.commands == [("ack", "P-042.model", "Lena (key panel-3)", None)]
        await page.js("document.getElementById('sign-out').click()")
        await page.until(LOGIN)
        assert await page.js("document.querySelector('main').offsetParent === null")
        assert await page.js("sessionStorage.length") == 0
        assert not await page.js(SIGNED_IN)
        assert [one for one in page.console if "401" not in one] == []


async def test_a_key_to_read_sees_all_and_no_buttons(tmp_path: Path) -> None:
    async with signing_in(tmp_path, "read") as (page, _, secret, _):
        await sign_in(page, secret)
        await page.until(SHOWN)
        await page.until(SIGNED_IN)
        assert "panel-3 (read)" in await page.text("#session-name")
        assert not await page.js(ACTIONS)
        assert await page.js("document.getElementById('acknowledge').offsetParent === null")
        assert await page.js("document.getElementById('login').hidden")


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_wrong_key_is_said_and_not_kept(tmp_path: Path, *, elsewhere: bool) -> None:
    """Also one without the right to read; on the gateway the page goes on without any."""
    async with signing_in(tmp_path, "infer", elsewhere=elsewhere) as (page, _, secret, _):
        await sign_in(page, secret[:-1])
        await page.until(f"{FAILED}.includes('cut or mistyped')")
        if elsewhere:
            await sign_in(page, secret)
            await page.until(f"{FAILED}.includes('no scope')")
        assert await page.js("sessionStorage.length") == 0
        assert await page.js(LOGIN)
        assert bool(await page.js(SHOWN)) == (not elsewhere)


async def test_a_key_that_is_revoked_ends_the_session(tmp_path: Path) -> None:
    """With the reason, and nothing is shown any more."""
    async with signing_in(tmp_path, "command") as (page, server, secret, _):
        await sign_in(page, secret)
        await page.until(SIGNED_IN)
        with changed_keys(server.keys.path) as keys:
            keys |= {one.id: replace(one, revoked_ms=0) for one in keys.values()}
        await page.until(LOGIN)
        await page.until(f"{FAILED}.includes('panel-3 was revoked')")
        assert await page.js("document.querySelector('main').offsetParent === null")
        assert await page.js("sessionStorage.length") == 0


async def test_an_answer_is_shown_as_text(tmp_path: Path) -> None:
    """Facts, quotes with their page, comments: markup in any of them is inert."""
    evil = "<img src=x onerror=\"document.title='owned'\">"
    oracle = Oracle(evil)
    async with (
        serving(plant_of(50), routes=ask_routes(oracle)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/") as page,
    ):
        await page.until(SHOWN)
        await page.js("question.value = 'why?'; document.getElementById('ask').requestSubmit()")
        await page.until("document.querySelectorAll('#answer .quote').length === 3")
        shown = await page.text("#answer")
        for part in (f"fact {evil}", f"DANGER {evil}", "pump.md, Rev. 3, page 12, Oil", "anna"):
            assert part in shown
        assert await page.js("document.querySelectorAll('#answer .warning').length") == 1
        await page.js("document.querySelector('#answer button').click()")
        await page.until("document.querySelector('#answer pre').textContent.includes('whole')")
        assert await page.js("document.title") != "owned"
        assert await page.js("document.querySelectorAll('#answer img').length") == 0
        assert oracle.asked[0].text == "why?"
        assert page.console == []


class Oracle:
    """Answers every question with the same text."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> dict[str, Any]:
        self.asked.append(question)
        place = {"document": "pump.md", "revision": "Rev. 3", "page": 12, "heading": "Oil"}
        url = "/api/manuals/0123456789abcdef/page/12"
        return {
            "answer": self.said,
            "facts": [{"key": "message", "text": f"fact {self.said}"}],
            "passages": [
                {"text": f"DANGER {self.said}", "role": "warning", "url": url, **place},
                {"text": self.said, "role": "passage", "url": url, **place},
            ],
            "comments": [{"text": self.said, "by": "anna", "subject": "P-1.temp"}],
        }

    async def manuals(self) -> dict[str, Any]:
        return {}

    async def manual_page(self, document: str, number: int) -> str:
        return f"the whole page {number} of {document}: {self.said}"
