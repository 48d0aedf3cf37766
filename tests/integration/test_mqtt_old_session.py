"""Source `mqtt` and a broker that lost its power: it is back with the session of another day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mqtt_support import Publisher, Rig, mqtt_config, subscription
from support import until

from edge_agent.messages import LinkState

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


async def test_topics_that_came_after_the_brokers_file_are_subscribed_again(
    make_broker: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it has kept our session, and knows nothing of the second topic."""
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.05)
    broker = make_broker("persistence true\nautosave_interval 100000")
    first, second = subscription("plant/{asset}/{signal}"), subscription("hall/{asset}/{signal}")
    async with Rig(mqtt_config(broker.url, first)) as rig:
        await rig.up()
    broker.stop()  # only now it writes its file
    broker.start()
    async with Rig(mqtt_config(broker.url, first, second)) as rig:
        await rig.up()
        broker.kill()
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        broker.start()
        await rig.up()
        publisher = Publisher(broker.port)
        publisher.publish("plant/P1/s0", b"1")
        publisher.publish("hall/P1/s1", b"2")
        publisher.close()
        await rig.received(2)
