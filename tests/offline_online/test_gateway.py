"""The gateway over HTTP: what enters the log, what does not, and what the client is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import httpx
import pytest

from reclab.core.errors import ConfigError, ReclabError
from reclab.offline_online.gateway.event_check import EventLimits
from reclab.offline_online.gateway.gateway import Gateway, GatewayConfig, run_gateway
from reclab.offline_online.gateway.intake import STATUS
from reclab.offline_online.gateway.rate_limit import RateConfig
from reclab.offline_online.gateway.seen_events import SeenEvents
from reclab.offline_online.gateway.tracking_schema import feedback_table
from reclab.stores.event_log import StoreDown, open_log
from reclab.stores.kv import KV
from reclab.stores.redis_server import RedisServer, own_server
from tests.offline_online.posts import KEY, KEYS, NOW, PATH, batch, event, held, hostile, signed
from tests.stores.event_log.kafka_cluster import Cluster

FREE = GatewayConfig(rate=RateConfig(per_s=1e9, burst=1e9, slots=1000))


@pytest.fixture
def log(request):
    with open_log(namespace=f"gw-{abs(hash(request.node.name))}") as log:
        yield log


def gate(log, config=FREE, kv=None):
    kv = kv or KV(namespace=f"{log.kv.namespace}-seen")
    return run_gateway(log, KEYS, config, kv, now_ms=lambda: NOW)


@pytest.fixture
def client(log):
    with gate(log) as gateway, httpx.Client(base_url=gateway.url) as client:
        client.gateway = gateway
        yield client


def test_accepted_events_are_in_the_log_in_their_one_form(client, log):
    watch = event(2, kind=" Watch ", value=12, network="mobile", author_device_id="A1B2C3D4")
    answer = client.post(PATH, **signed(batch(event(1), watch)))
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2 and answer.json()["rejected"] == []
    one, two = sorted(held(log, "events"), key=lambda e: e["event_id"])
    assert one == {
        "event_id": "event-00000001",
        "req_id": 0,
        "video_id": 1,
        "user_id": 10086,
        "kind": 2,
        "event_ms": NOW - 1000,
        "value": 1.0,
        "device_id": 0xD7A3B2C1,
        "app": "app",
        "report_ms": NOW,
    }
    assert (two["kind"], two["value"], two["network"]) == (1, 12.0, 1)
    assert two["author_device_id"] == 0xA1B2C3D4


def test_entries_read_back_as_the_table_of_late_reports(client, log):
    client.post(PATH, **signed(batch(*[event(i) for i in range(5)])))
    entries = [e for p in range(4) for e in log.read("events", p, 0)]
    table = feedback_table([e.value for e in entries])
    assert sorted(table["video_id"].tolist()) == [0, 1, 2, 3, 4]
    assert {e.key for e in entries} == {b"0"}  # the request, as its features have it


FAULTS = [
    ("unsigned", {"content": batch(event()), "headers": {"content-type": "application/json"}}),
    ("unknown_app", signed(batch(event()), app="nobody")),
    ("bad_signature", signed(batch(event()), key=KEY[::-1])),
    ("stale", signed(batch(event()), NOW - 400_000)),
    ("unsupported_type", {"content": b"<a/>", "headers": {"content-type": "text/xml"}}),
    ("too_large", signed(b" " * 500_001)),
    ("not_json", signed(b"{")),
    ("too_deep", signed(b"[" * 100 + b"]" * 100)),
    ("not_a_batch", signed(b"[]")),
    ("too_many_events", signed(batch(*[event(i) for i in range(201)]))),
    ("not_an_object", signed(batch(5))),
    ("missing_field", signed(batch({k: v for k, v in event().items() if k != "req_id"}))),
    ("unknown_field", signed(batch(event(colour="red")))),
    ("bad_value", signed(batch(event(kind="wink")))),
    ("event_too_large", signed(batch(event(note="x" * 3_000)))),
    ("clock_ahead", signed(batch(event(event_ms=NOW + 120_001)))),
    ("too_old", signed(batch(event(event_ms=NOW - 86_400_001)))),
]


@pytest.mark.parametrize(("reason", "asked"), FAULTS, ids=[reason for reason, _ in FAULTS])
def test_each_fault_has_its_status_and_its_reason_and_stays_out(client, log, reason, asked):
    answer = client.post(PATH, **asked)
    assert 400 <= answer.status_code < 500
    assert (answer.status_code, answer.json()["reason"]) == (STATUS[reason], reason)
    assert answer.json()["detail"]
    assert held(log, "events") == []
    assert client.gateway.counts == {reason: 1}
    letters = [letter["reason"] for letter in held(log, "dead_letters")]
    trusted = reason not in ("unsigned", "unknown_app", "bad_signature", "stale")
    assert letters == (
        [reason] if trusted and reason not in ("unsupported_type", "too_large") else []
    )


def test_valid_events_of_a_mixed_batch_go_through_and_the_answer_names_the_others(client, log):
    bad = event(1, event_ms=NOW + 10**9)
    answer = client.post(PATH, **signed(batch(event(0), bad, event(2), 7)))
    assert answer.status_code == 200 and answer.json()["accepted"] == 2
    told = {fault["index"]: fault["reason"] for fault in answer.json()["rejected"]}
    assert told == {1: "clock_ahead", 3: "not_an_object"}
    assert {e["event_id"] for e in held(log, "events")} == {"event-00000000", "event-00000002"}
    letters = {letter["reason"]: letter["event"] for letter in held(log, "dead_letters")}
    assert letters == {"clock_ahead": bad, "not_an_object": 7}


def test_a_repeated_event_enters_once(client, log):
    first = client.post(PATH, **signed(batch(event(1), event(1), event(2)))).json()
    again = client.post(PATH, **signed(batch(event(2), event(3)))).json()
    assert (first["accepted"], first["duplicates"]) == (2, 1)
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    assert Counter(e["event_id"] for e in held(log, "events")).most_common(1)[0][1] == 1


def test_the_same_id_from_another_device_is_another_event(client, log):
    client.post(PATH, **signed(batch(event(1))))
    answer = client.post(PATH, **signed(batch(event(1), device="00000001")))
    assert answer.json()["accepted"] == 1 and len(held(log, "events")) == 2


def test_many_clients_that_repeat_themselves_at_once_enter_each_event_once(client, log):
    def send(number: int) -> int:
        body = batch(*[event(i) for i in range(number % 20, number % 20 + 5)])
        while (answer := client.post(PATH, **signed(body))).status_code == 503:
            pass
        return answer.status_code

    with ThreadPoolExecutor(8) as crowd:
        assert set(crowd.map(send, range(80))) == {200}
    assert sorted(e["video_id"] for e in held(log, "events")) == list(range(24))


def test_an_event_that_another_gateway_is_storing_is_not_acknowledged_yet(client, log):
    other = SeenEvents(client.gateway.gateway.intake.seen.kv)
    name = other.name("app", 0xD7A3B2C1, "event-00000001")
    assert other.claim([name]) == [0]
    answer = client.post(PATH, **signed(batch(event(1))))
    assert (answer.status_code, answer.json()["reason"]) == (503, "under_way")
    other.release([name])
    assert client.post(PATH, **signed(batch(event(1)))).status_code == 200
    assert len(held(log, "events")) == 1


def test_a_device_that_sends_too_fast_is_told_to_wait_and_others_are_not(log):
    config = GatewayConfig(limits=EventLimits(most_events=10), rate=RateConfig(1.0, 10.0))
    with gate(log, config) as gateway, httpx.Client(base_url=gateway.url) as client:
        many = batch(*[event(i) for i in range(8)])
        assert client.post(PATH, **signed(many)).status_code == 200
        refused = client.post(PATH, **signed(many))
        assert refused.status_code == 429 and refused.json()["reason"] == "too_fast"
        assert refused.headers["retry-after"] == "1"
        other = batch(*[event(i) for i in range(8)], device="00000002")
        assert client.post(PATH, **signed(other)).status_code == 200


def fat_post(client, asked):
    answer = client.post(PATH, **asked)
    return answer.status_code, answer.json()


def lean_post(line, asked):
    """The same in a fifth of the time."""
    line.request("POST", PATH, asked["content"], asked["headers"])
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


def storm(client, log, n):
    """Hostile requests with honest ones among them."""
    honest, reasons = 0, Counter()
    line = HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    for i, (asked, right) in enumerate(hostile(n)):
        big = len(asked["content"]) > 200_000  # may be refused before all of it is sent
        status, answer = fat_post(client, asked) if big else lean_post(line, asked)
        assert status in right, (asked, answer)
        assert STATUS[answer["reason"]] == status and answer["detail"]
        reasons[answer["reason"]] += 1
        if i % 50 == 0:
            honest += lean_post(line, signed(batch(event(10**6 + i))))[1]["accepted"]
    line.close()
    assert (
        len(reasons) >= 15 and client.get("/v1/health").json()["counts"].items() >= reasons.items()
    )
    assert honest == (n + 49) // 50
    assert {e["video_id"] for e in held(log, "events")} == set(range(10**6, 10**6 + n, 50))


def test_a_thousand_hostile_requests_do_no_harm(client, log):
    storm(client, log, 1_000)


@pytest.mark.slow
def test_ten_thousand_hostile_requests_do_no_harm(client, log):
    storm(client, log, 10_000)


def test_bytes_that_are_not_http_do_no_harm(client):
    host, port = client.base_url.host, client.base_url.port
    for raw in (b"\0" * 500, b"GET\r\n\r\n", b"POST /v1/events HTTP/1.1\r\n", b"\x16\x03\x01" * 99):
        with socket.create_connection((host, port), timeout=5) as line:
            line.sendall(raw)
    assert client.get("/nowhere").status_code == 404
    assert client.get(PATH).status_code == 405
    assert client.post(PATH, **signed(batch(event(1)))).status_code == 200


def test_while_the_log_is_down_nothing_is_acknowledged_and_repeating_mends_it(tmp_path, log):
    server = RedisServer()
    path = tmp_path / "s"
    path.symlink_to(server.socket)  # a fixed address for servers that come and go
    fragile = open_log(f"unix://{path}", namespace="fragile")
    with gate(fragile, kv=KV(namespace="sturdy")) as gateway:
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            assert client.post(PATH, **signed(batch(event(1)))).status_code == 200
            os.kill(server.pid, signal.SIGKILL)
            server._process.wait()
            for _ in range(2):
                answer = client.post(PATH, **signed(batch(event(2))))
                assert (answer.status_code, answer.json()["reason"]) == (503, "log_down")
                assert answer.headers["retry-after"] == "1" and answer.json()["accepted"] == 0
            assert client.get("/v1/health").json()["log"] == "down"
            server.stop()
            server.start()
            path.unlink()
            path.symlink_to(server.socket)
            assert client.post(PATH, **signed(batch(event(2)))).json()["accepted"] == 1
            assert client.get("/v1/health").json()["log"] == "up"
            assert [e["video_id"] for e in held(fragile, "events")] == [2]
    fragile.close()
    server.stop()


def test_a_failure_in_the_middle_releases_the_claims(log, monkeypatch):
    with gate(log) as gateway, httpx.Client(base_url=gateway.url) as client:
        append = log.append

        def broken(topic, *rest):
            raise StoreDown("gone")

        monkeypatch.setattr(log, "append", broken)
        assert client.post(PATH, **signed(batch(event(1)))).status_code == 503
        monkeypatch.setattr(log, "append", append)
        assert client.post(PATH, **signed(batch(event(1)))).json()["accepted"] == 1


READER = """
import sys, json
from reclab.stores.event_log import ConsumerConfig, open_log
log = open_log(sys.argv[1], namespace=sys.argv[2])
with log.consumer("events", "g", ConsumerConfig(session_ms=1000, heartbeat_ms=100)) as consumer:
    while True:
        entries = consumer.read(20, wait_ms=50)
        for entry in entries:
            print(json.loads(entry.value)["video_id"], flush=True)
        consumer.commit()
"""


def test_a_killed_consumer_loses_nothing(client, log):
    sent = threading.Event()

    def send() -> None:
        for start in range(0, 1_000, 20):
            body = batch(*[event(i) for i in range(start, start + 20)])
            assert client.post(PATH, **signed(body)).json()["accepted"] == 20
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    done: set[int] = set()
    for stop_after in (50, 200, 10**9):
        where = [own_server().address, log.kv.namespace]
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, *where], stdout=subprocess.PIPE, text=True
        )
        try:
            for n, line in enumerate(reader.stdout):
                done.add(int(line))
                if n >= stop_after or done == set(range(1_000)):
                    break
        finally:
            reader.kill()
            rest, _ = reader.communicate()
            done |= {int(line) for line in rest.splitlines() if line}
    sender.join()
    assert sent.is_set() and done == set(range(1_000))


def test_the_page_and_the_description_need_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert "POST /v1/events" in page and "event_id" in page and "too_fast" in page
    assert "src=" not in page and "https://" not in page
    paths = client.get("/openapi.json").json()["paths"]
    operation = paths["/v1/events"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert "event_id" in schema["properties"]["events"]["items"]["required"]
    assert {str(s) for s in STATUS.values()} <= operation["responses"].keys()


def test_a_port_that_is_taken_and_bad_settings_are_named(log):
    with gate(log) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        with pytest.raises(ReclabError, match="did not start"):
            run_gateway(log, KEYS, FREE, KV(namespace="x"), port=port)
    with pytest.raises(ConfigError, match="key of 'app' must have >= 16 bytes"):
        Gateway(log, {"app": b"short"})
    with pytest.raises(ConfigError, match="keys must name at least one app"):
        Gateway(log, {})
    with pytest.raises(ConfigError, match="window_ms must be >= age_ms"):
        GatewayConfig(window_ms=1000)
    with pytest.raises(ConfigError, match="RateConfig.burst must be >= EventLimits.most_events"):
        GatewayConfig(rate=RateConfig(burst=10))


def test_dead_letters_of_long_garbage_are_cut(client, log):
    body = json.dumps(
        {"device_id": "d7a3b2c1", "events": [{"x": "猫" * 100_000}]}, ensure_ascii=False
    )
    assert client.post(PATH, **signed(body.encode())).json()["reason"] == "event_too_large"
    (letter,) = held(log, "dead_letters")
    assert len(letter["event"]) == 4_000


@pytest.mark.slow
def test_on_kafka_it_is_the_same_gateway():
    cluster = Cluster()
    with open_log(cluster.address) as log, gate(log, kv=KV(namespace="on-kafka")) as gateway:
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            answers = [
                client.post(PATH, **signed(batch(*[event(i) for i in numbers], 7))).json()
                for numbers in (range(0, 20), range(10, 30))
            ]
            assert [(a["accepted"], a["duplicates"]) for a in answers] == [(20, 0), (10, 10)]
            assert sorted(e["video_id"] for e in held(log, "events")) == list(range(30))
            assert len(held(log, "dead_letters")) == 2
    cluster.stop()


GATEWAY = """
import sys, time
from reclab.offline_online.gateway.gateway import GatewayConfig, run_gateway
from reclab.offline_online.gateway.rate_limit import RateConfig
from reclab.stores.event_log import open_log
from reclab.stores.kv import KV
from tests.offline_online.posts import KEYS, NOW
address, namespace = sys.argv[1:]
log, kv = open_log(address, namespace=namespace), KV(address, namespace + "-seen")
free = GatewayConfig(rate=RateConfig(per_s=1e9, burst=1e9, slots=1000))
with run_gateway(log, KEYS, free, kv, now_ms=lambda: NOW) as gateway:
    print(gateway.url, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_what_a_killed_gateway_had_acknowledged_is_in_the_log_and_the_rest_may_be_repeated(log):
    where = [own_server().address, log.kv.namespace]
    waiting = [list(range(start, start + 10)) for start in range(0, 600, 10)]
    acknowledged: set[int] = set()
    n_kills = 0
    for left_at_kill in (50, 30, -1):
        child = subprocess.Popen(
            [sys.executable, "-c", GATEWAY, *where], stdout=subprocess.PIPE, text=True
        )
        killer = threading.Timer(0.003, child.kill)
        with httpx.Client(base_url=child.stdout.readline().strip(), timeout=30) as client:
            try:
                while waiting:
                    if len(waiting) == left_at_kill and killer.ident is None:
                        killer.start()
                    answer = client.post(PATH, **signed(batch(*[event(i) for i in waiting[0]])))
                    if answer.status_code == 200:
                        acknowledged.update(waiting.pop(0))
                    else:  # claimed by the one that was killed, for some seconds
                        assert answer.json()["reason"] == "under_way"
                        time.sleep(0.1)
            except httpx.TransportError:
                n_kills += 1
        kept = {e["video_id"] for e in held(log, "events")}
        assert acknowledged <= kept
        child.kill()
        child.communicate()
    kept = [e["video_id"] for e in held(log, "events")]
    assert set(kept) == acknowledged == set(range(600)) and n_kills == 2
    assert len(kept) - 600 <= 20  # a batch under way at each kill may be there twice
