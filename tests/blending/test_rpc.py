"""One contract for both roads, in-process and gRPC: answers, deadlines, cancelling, errors."""

import threading
import time

import grpc
import numpy as np
import pytest

from reclab.blending.blending_pb2_grpc import BusinessStub, add_BusinessServicer_to_server
from reclab.blending.contract import CallFailed, CallLate, Deadline, Offers, no_offers
from reclab.blending.messages import encode_ask
from reclab.blending.rpc import Client, Local, Remote, Servicer, call
from reclab.blending.serve import start_server
from reclab.core.errors import ConfigError
from reclab.core.types import Request
from tests.blending.small import Small

REQUESTS = [Request(3, 500, req_id=9, n=7, network=2, history=(10_000, 10_007)), Request(4, 501)]


class Patient(Small):
    """Works until the caller has given up, and remembers when it noticed."""

    noticed: threading.Event

    def offer(self, requests, k, deadline: Deadline) -> Offers:
        self.noticed = threading.Event()
        until = time.monotonic() + 5
        while not deadline.over and time.monotonic() < until:
            time.sleep(0.002)
        if deadline.over:
            self.noticed.set()
        return no_offers(len(requests))


class Raises(Small):
    """Fails."""

    def offer(self, requests, k, deadline):
        raise ZeroDivisionError("no users")


@pytest.fixture(params=["in-process", "gRPC"])
def connect(request):
    """A function from a business to a client of it."""
    opened = []

    def open_client(business) -> Client:
        if request.param == "in-process":
            opened.append(Local(business))
            return opened[-1]
        server, port = start_server(business)
        opened.append(Remote(business.name, f"127.0.0.1:{port}"))
        servers.append(server)
        return opened[-1]

    servers = []
    yield open_client
    for client in opened:
        client.close()
    for server in servers:
        server.stop(0).wait()


def wait_for(condition, within_s=2.0):
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


def test_an_answer_is_what_the_business_says(connect):
    business = Small("live")
    got = call(connect(business), REQUESTS, 15, 5000)
    said = business.offer(REQUESTS, 15, Deadline(1000))
    assert business.asked[0] == REQUESTS
    for name in ("counts", "item_id", "score"):
        assert getattr(got, name).tolist() == getattr(said, name).tolist()
    np.testing.assert_allclose(got.columns["p_click"], said.columns["p_click"], rtol=1e-6)


def test_an_empty_answer_and_10_000_candidates_travel(connect):
    class Many(Small):
        def offer(self, requests, k, deadline):
            return Offers(np.array([10_000]), np.arange(10_000), np.ones(10_000, np.float32))

    class Nothing(Small):
        def offer(self, requests, k, deadline):
            return no_offers(len(requests))

    assert len(call(connect(Many("live")), REQUESTS[:1], 5, 5000).item_id) == 10_000
    assert call(connect(Nothing("ad")), REQUESTS, 5, 5000).counts.tolist() == [0, 0]


def test_the_deadline_travels(connect):
    business = Small("live")
    call(connect(business), REQUESTS, 5, 2000)
    assert 0 < business.left_ms[0] <= 2000


def test_a_late_answer_is_late_and_the_business_knows(connect):
    business = Patient("live")
    began = time.monotonic()
    with pytest.raises(CallLate, match="live"):
        call(connect(business), REQUESTS, 5, 80)
    assert time.monotonic() - began < 2
    assert business.noticed.wait(2)


def test_cancelling_reaches_the_business(connect):
    business = Patient("live")
    client, came = connect(business), threading.Event()
    cancel = client.begin(encode_ask(REQUESTS, 5), 4000, lambda read: came.set())
    assert wait_for(lambda: hasattr(business, "noticed"))
    cancel()
    assert business.noticed.wait(2) and came.wait(2)


def test_work_that_nobody_awaits_is_not_begun(connect):
    business = Small("live", ms=150)
    client = connect(business)
    done = [threading.Event() for _ in range(8)]
    for event in done:  # four threads: the second four wait for 150 ms, longer than their deadline
        client.begin(encode_ask(REQUESTS, 5), 100, lambda read, event=event: event.set())
    assert all(event.wait(3) for event in done)
    time.sleep(0.2)
    assert len(business.asked) == 4


def test_an_error_of_the_business_is_told(connect):
    with pytest.raises(CallFailed, match="live.*ZeroDivisionError: no users"):
        call(connect(Raises("live")), REQUESTS, 5, 5000)


def test_a_message_of_another_version_is_refused_on_both_sides(connect):
    client, came = connect(Small("live")), []
    ask = encode_ask(REQUESTS, 5)
    ask.version = 9
    client.begin(ask, 5000, came.append)
    assert wait_for(lambda: came)
    with pytest.raises(CallFailed, match="speaks version 9 .* this side version 1"):
        came[0]()


def test_an_answer_of_another_version_is_refused():
    class Future(Servicer):
        def Offer(self, request, context):
            answer = super().Offer(request, context)
            answer.version = 2
            return answer

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1))
    add_BusinessServicer_to_server(Future(Small("live")), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Remote("live", f"127.0.0.1:{port}")
    with pytest.raises(CallFailed, match="business 'live' speaks version 2"):
        call(client, REQUESTS, 5, 5000)
    client.close()
    server.stop(0).wait()


def test_a_caller_of_the_plain_interface_hears_what_was_wrong():
    server, port = start_server(Small("live"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = encode_ask(REQUESTS, 5)
        ask.time_ms.append(3)
        with pytest.raises(grpc.RpcError) as caught:
            BusinessStub(channel).Offer(ask)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "different lengths" in caught.value.details()
        assert BusinessStub(channel).Offer(encode_ask(REQUESTS, 5)).count == [5, 5]
    server.stop(0).wait()


def test_nobody_at_the_address_is_a_failure_at_once():
    client = Remote("live", "127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(CallFailed, match="live.* at 127.0.0.1:1: unavailable"):
        call(client, REQUESTS, 5, 5000)
    assert time.monotonic() - began < 3
    client.close()


def test_several_addresses_take_turns():
    one, two = Small("live"), Small("live")
    servers = [start_server(business) for business in (one, two)]
    client = Remote("live", *(f"127.0.0.1:{port}" for _, port in servers))
    for _ in range(4):
        call(client, REQUESTS, 5, 5000)
    assert len(one.asked) == len(two.asked) == 2
    client.close()
    for server, _ in servers:
        server.stop(0).wait()
    with pytest.raises(ConfigError, match="addresses"):
        Remote("live")


def test_a_hung_business_in_this_process_is_late():
    began = time.monotonic()
    with pytest.raises(CallLate, match="'live': no answer in 50 ms"):
        call(Local(Small("live", ms=1500)), REQUESTS, 5, 50)
    assert time.monotonic() - began < 1.4
