"""Operations: `metrics`, `http` (with its page), `logs` and `notify`.

Its modules are imported by name: `http` imports aiohttp, which `check` or `models` do not need.
"""

__all__ = ["http", "logs", "metrics", "notify", "routes"]
