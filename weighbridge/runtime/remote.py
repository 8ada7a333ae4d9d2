"""The client of a server that answers encrypted rows: keys are made and kept here, rows leave encrypted, answers are read here."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from weighbridge.errors import InputError, UsageError
from weighbridge.runtime.encrypted import EncryptedClient
from weighbridge.runtime.model import Answer

TIMEOUT_S = 60.0
MOST_ANSWER_BYTES = 64 << 20
UNKNOWN_KEYS = 409
SCHEMES = ("http", "https")


@dataclass(kw_only=True)
class EncryptedRemote:
    """Answers rows by `weigh serve`, which sees neither rows nor answers. `secret` opens both and never leaves this object."""

    url: str
    model: str
    key: str
    client: EncryptedClient
    secret: bytes = field(repr=False)
    evaluation: bytes = field(repr=False)
    _named: str = ""

    @classmethod
    def open(cls, url: str, model: str, key: str, *, client: EncryptedClient | None = None) -> Self:
        """Return a client with new keys, which the server has when this returns.

        client: from a client.json that came another way; without one the server's is believed, so the server says how rows become
        features. Raises UsageError: it can not be reached, does not answer encrypted rows, refuses the API key. InputError.
        """
        if urllib.parse.urlsplit(url).scheme not in SCHEMES:
            raise UsageError(f"{url!r} is no address of a server", do="give one such as https://example.org:8000")
        made = cls(url=url.rstrip("/"), model=model, key=key, client=client, secret=b"", evaluation=b"")  # type: ignore[arg-type]
        if client is None:
            made.client = EncryptedClient.from_json(made._asked("client"), "the server's client.json")
        made.secret, made.evaluation = made.client.make_keys()
        made._send_keys()
        return made

    def predict(self, rows: Iterable[Mapping[str, Any]]) -> Answer:
        """Return the answers to rows by column name, one encrypted request each. Raises InputError that names column and value."""
        encrypted = [self.client.encrypt_row(row, self.secret) for row in rows]
        if not encrypted:
            raise InputError("there are no rows", do="give at least one")
        return self.client.answer(np.array([self.client.decrypt(self._answered(one), self.secret) for one in encrypted]))

    def _answered(self, row: bytes) -> bytes:
        try:
            return self._asked(f"row?keys={self._named}", row)
        except ForgottenKeysError:
            self._send_keys()
            return self._asked(f"row?keys={self._named}", row)

    def _send_keys(self) -> None:
        self._named = json.loads(self._asked("keys", self.evaluation))["keys"]

    def _asked(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}/v2/models/{urllib.parse.quote(self.model, safe='')}/encrypted/{path}", data=body)
        request.add_header("x-api-key", self.key)
        if body is not None:
            request.add_header("content-type", "application/octet-stream")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                content: bytes = answer.read(MOST_ANSWER_BYTES)
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read(65_536)) from None
        except (OSError, urllib.error.URLError) as error:
            raise UsageError(f"{self.url} can not be asked ({error})", do="see whether the server runs") from None


class ForgottenKeysError(UsageError):
    """The server has no such evaluation keys any more."""


def _refused(status: int, body: bytes) -> UsageError:
    try:
        said = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        said = "no reason given"
    kind = ForgottenKeysError if status == UNKNOWN_KEYS else UsageError
    return kind(f"the server refuses ({status}): {said[:300]}")
