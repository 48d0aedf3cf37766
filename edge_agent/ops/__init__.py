"""Operations: `metrics`, `http` (with its page), `key_file`, `local_socket`, `logs` and `notify`.

Its modules are imported by name: `http` imports aiohttp, which `check` or `models` do not need.
"""

__all__ = ["http", "key_file", "local_socket", "logs", "metrics", "notify", "routes"]
