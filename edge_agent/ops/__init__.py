"""Operations: `metrics`, `http`, `key_file`, `local_socket`, `logs`, `notify` and `owner`.

Its modules are imported by name: `http` imports aiohttp, which `check` or `models` do not need.
"""

__all__ = [
    "access",
    "http",
    "key_file",
    "keys",
    "local_socket",
    "logs",
    "metrics",
    "notify",
    "owner",
    "routes",
    "service_loop",
]
