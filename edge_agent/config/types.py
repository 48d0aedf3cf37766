"""Types of config values with their own rules."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, NewType

from edge_agent.errors import ConfigError

# A name that is safe as a topic level, a file name and a metric label: [A-Za-z0-9][A-Za-z0-9_.-]*
Name = NewType("Name", str)
# A text in which the machine's host name replaces `{hostname}`, as in a Name.
HostText = NewType("HostText", str)
Duration = NewType("Duration", float)  # seconds
Size = NewType("Size", int)  # bytes

# Units of time in configs, in seconds.
DURATIONS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


_BOM: Final = "\ufeff"
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Between:
    """Marks an annotated number with its allowed range, both ends included."""

    low: float
    high: float


class Cycle(NamedTuple):
    """The cycle of a machine: its period in seconds, 0 if it has none, or its start signal.

    start: the signal that rises at the start of each cycle; then period_s has no meaning.
    """

    period_s: float = 0.0
    start: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of a secret, never the secret itself: exactly one of the three is set.

    file: a path; env: an environment variable; credential: a name under systemd's
    $CREDENTIALS_DIRECTORY. `repr` shows the place only.
    """

    file: Path | None = None
    env: str | None = None
    credential: str | None = None

    def reveal(self) -> str:
        """Read it now, without its trailing newline; ConfigError names what is missing.

        A byte order mark, which Windows editors write, is removed.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(f"environment variable {self.env} is not set")
            return value.removeprefix(_BOM)
        path = self.file
        if self.credential is not None:
            path = (
                Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials")) / self.credential
            )
        if path is None:
            raise ConfigError("a secret needs one of: file, env, credential")
        try:
            raw = path.read_bytes()
            encoding = "utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
            return raw.decode(encoding).rstrip("\r\n")
        except OSError as error:
            raise ConfigError(
                f"cannot read the secret: {error.strerror}", where=str(path)
            ) from error
        except UnicodeDecodeError:
            # Not chained: the decoder's error contains the bytes that it could not decode.
            raise ConfigError("the secret is not UTF-8 text", where=str(path)) from None


def is_language(text: str) -> bool:
    """True if `text` has the form of a language tag (BCP 47)."""
    return _LANGUAGE.fullmatch(text) is not None
