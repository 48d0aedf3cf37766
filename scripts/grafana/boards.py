"""The five dashboards; every metric is one of docs/metrics.md."""

from __future__ import annotations

from typing import Final

from scripts.grafana.fleet import FLEET
from scripts.grafana.gateway import ONE_GATEWAY
from scripts.grafana.links import DELIVERY, SOURCES
from scripts.grafana.models import MODELS

BOARDS: Final = (FLEET, ONE_GATEWAY, MODELS, SOURCES, DELIVERY)
