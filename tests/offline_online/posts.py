"""Clients of the gateway: honest ones, and those that send anything."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.offline_online.gateway.signature import signed_headers
from reclab.stores.event_log import EventLog

KEY = b"a key for the tests only, 32 byte"
KEYS = {"app": KEY}
NOW = 1_800_000_000_000
PATH = "/v1/events"


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A good event."""
    plain = {
        "event_id": f"event-{number:08d}",
        "req_id": f"r{number // 10}",
        "video_id": f"v{number}",
        "user_id": 10086,
        "kind": "like",
        "event_ms": NOW - 1000,
    }
    return {**plain, **changes}


def batch(*events: object, device: str = "d7a3b2c1") -> bytes:
    """The body of a request."""
    return json.dumps({"device_id": device, "events": list(events)}).encode()


def signed(body: bytes, sent_ms: int = NOW, key: bytes = KEY, app: str = "app") -> dict[str, Any]:
    """Arguments of ``httpx.Client.post``."""
    return {"content": body, "headers": signed_headers(key, app, sent_ms, body)}


def held(log: EventLog, topic: str) -> list[dict[str, Any]]:
    """All that is in a topic."""
    parts = range(log.topics()[topic])
    return [json.loads(e.value) for p in parts for e in log.read(topic, p, 0, 10**6)]


BAD_VALUES = [None, True, -1, 1.5, "", "x" * 70, [], {}, "‮猫\0", 10**30, "1e999", "-1", "v", "r-1"]


def hostile(n: int, seed: int = 1) -> Iterator[tuple[dict[str, Any], set[int]]]:
    """n requests of which none may enter the log, each with the statuses that are right."""
    chance = rng(seed, "hostile")
    made = [_garbage, _cut, _unsigned, _forged, _stale, _wrong_type, _field, _deep, _numbers]
    made += [_shape, _clock, _tampered, _many]
    for i in range(n):
        yield made[i % len(made)](chance, i)


def _garbage(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    return signed(chance.bytes(int(chance.integers(0, 3_000)))), {400}


def _cut(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    body = batch(event(i))
    return signed(body[: int(chance.integers(0, len(body) - 1))]), {400}


def _unsigned(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    asked = signed(batch(event(i)))
    del asked["headers"][["x-app", "x-sent-ms", "x-signature"][i % 3]]
    return asked, {401}


def _forged(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    app = ["app", "nobody"][int(chance.integers(2))]
    asked = signed(batch(event(i)), key=secrets.token_bytes(32), app=app)
    if i % 2:
        asked["headers"]["x-signature"] = ["", "é", "0" * 64, "'; --"][i // 2 % 4].encode("latin-1")
    return asked, {401}


def _stale(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    return signed(batch(event(i)), NOW + int(chance.choice([-1, 1])) * 10**7), {401}


def _tampered(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    asked = signed(batch(event(i)))
    asked["content"] = asked["content"].replace(b"like", b"pay ")
    return asked, {401}


def _wrong_type(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    asked = signed(batch(event(i)))
    asked["headers"] |= [{"content-type": "text/xml"}, {"content-encoding": "gzip"}][i % 2]
    return asked, {415}


def _field(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    """One field missing, added, or with a value that no field of its name has."""
    bad = event(i)
    name = list(bad)[int(chance.integers(len(bad)))]
    if i % 3 == 0:
        del bad[name]
    elif i % 3 == 1:
        bad["__proto__" if i % 2 else "x" * int(chance.integers(1, 5_000))] = 1
    else:
        bad[name] = BAD_VALUES[int(chance.integers(len(BAD_VALUES)))]
        if name == "event_id" and bad[name] == "1e999":
            bad[name] = "no"
    return signed(batch(bad)), {422}


def _deep(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    depth = int(10 ** chance.uniform(1, 5))
    middle = [b'{"a":', b"["][i % 2] * depth + b"1" + [b"}", b"]"][i % 2] * depth
    return signed(b'{"device_id":"d7a3b2c1","events":[' + middle + b"]}"), {400, 413}


def _numbers(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    number = [b"NaN", b"1e999", b"-Infinity", b"9" * 5_000, b"9" * 4_000, b"1e5"][i % 6]
    return signed(batch(event(i, event_ms="X")).replace(b'"X"', number)), {400, 422}


def _shape(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    shapes = [[], 5, "events", None, {}, {"events": []}, {"device_id": "d7a3b2c1", "events": {}}]
    shapes += [{"device_id": "zz", "events": [event(i)]}, {"device_id": 5, "events": [event(i)]}]
    return signed(json.dumps(shapes[i % len(shapes)]).encode()), {400, 422}


def _clock(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    away = int(chance.choice([-2, 2])) * 86_400_000
    return signed(batch(event(i, event_ms=NOW + away))), {422}


def _many(chance: np.random.Generator, i: int) -> tuple[dict[str, Any], set[int]]:
    return signed(batch(*[event(j) for j in range(201)])), {413}
