"""Operations: `metrics`, `http` (with its page), `logs` and `notify`.

Its modules are imported by name: `http` pulls in aiohttp, which `check` or `models` never need.
"""

__all__ = ["http", "logs", "metrics", "notify", "routes"]
