"""Who sent it (鉴权): each app signs its requests with a key that only it and the gateway have.

signature = HMAC-SHA256(key, app "\\n" sent_ms "\\n" body), as hex; a request is good for a few
minutes, so that a recorded one cannot be sent again later.
Reference: RFC 2104 (HMAC); chapter 2.3.1.

Simplified: a key inside an app can be read from it; industry gives each device one of its own.
"""

import hashlib
import hmac
from collections.abc import Mapping

from reclab.core.errors import check
from reclab.offline_online.gateway.tracking_schema import Refused

APP, SENT_MS, SIGNATURE = "x-app", "x-sent-ms", "x-signature"
MIN_KEY = 16  # bytes


def sign(key: bytes, app: str, sent_ms: int, body: bytes) -> str:
    """The signature of a request.

    >>> sign(b"0123456789abcdef", "app", 5, b"{}")[:8]
    '6213d9ef'
    """
    return hmac.new(key, f"{app}\n{sent_ms}\n".encode() + body, hashlib.sha256).hexdigest()


def signed_headers(key: bytes, app: str, sent_ms: int, body: bytes) -> dict[str, str]:
    """What a client sends beside the body."""
    signature = sign(key, app, sent_ms, body)
    plain = {"content-type": "application/json", APP: app, SENT_MS: str(sent_ms)}
    return {**plain, SIGNATURE: signature}


def check_keys(keys: Mapping[str, bytes]) -> None:
    """Raise ``ConfigError`` unless there are keys, all long enough."""
    check(
        bool(keys), "keys", dict(keys), "name at least one app", '{"app": secrets.token_bytes(32)}'
    )
    for app, key in keys.items():
        good = isinstance(key, bytes) and len(key) >= MIN_KEY
        check(good, f"key of {app!r}", "…", f"have >= {MIN_KEY} bytes", "secrets.token_bytes(32)")


def check_signature(
    headers: Mapping[str, str], body: bytes, keys: Mapping[str, bytes], now_ms: int, good_ms: int
) -> str:
    """The app that sent it. Raises ``Refused``: ``unsigned``, ``unknown_app``, ``bad_signature`` or
    ``stale``, in this order, so that nobody learns more than he could know."""
    app, sent, signature = (headers.get(name, "") for name in (APP, SENT_MS, SIGNATURE))
    if not (app and sent and signature):
        raise Refused("unsigned", f"headers {APP}, {SENT_MS} and {SIGNATURE} are needed")
    if app not in keys:
        raise Refused("unknown_app", "no key for this app")
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 15):
        raise Refused("bad_signature", f"{SENT_MS} must be a whole number of ms")
    expected = sign(keys[app], app, int(sent), body)
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise Refused("bad_signature", "the signature is not that of this app, time and body")
    if abs(now_ms - int(sent)) > good_ms:
        detail = f"sent {now_ms - int(sent)} ms ago by its own clock, good for {good_ms}"
        raise Refused("stale", detail)
    return app
