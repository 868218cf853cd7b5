"""RPC (RPC 调用): one interface, blending.proto's, over two roads.

    Local     the business runs in this process, on threads of its own
    Remote    the business runs in another process, behind gRPC; several addresses are replicas

Both speak the same messages through the same ``answer``. The deadline travels with the call: the
server sees how much is left, and does not begin what nobody awaits any more. So does cancelling.
Reference: gRPC, guides on deadlines and cancellation.

Simplified: industry adds TLS, load balancing and service discovery; here addresses are given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from threading import Event
from typing import Protocol

import grpc

from reclab.blending.blending_pb2 import Ask, Clicked, Heard, Offered
from reclab.blending.blending_pb2_grpc import BusinessServicer, BusinessStub
from reclab.blending.contract import (
    Business,
    CallFailed,
    CallLate,
    CallRefused,
    Deadline,
    Listener,
    Offers,
)
from reclab.blending.guard import Workers
from reclab.blending.messages import (
    VERSION,
    decode_ask,
    decode_clicks,
    decode_offers,
    encode_ask,
    encode_offers,
)
from reclab.core.errors import DataError, check_int
from reclab.core.types import Request

Told = Callable[[CallFailed | None], None]
"""called when a report has been heard, or with what went wrong"""
Read = Callable[[], Offers]
"""reads an answer that has come; raises ``CallFailed`` or ``CallLate`` when it is none"""
OPTIONS = (
    ("grpc.max_receive_message_length", 8 << 20),
    # gRPC's own pause between two attempts to connect grows to two minutes; the breaker decides.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # despite its name: how long one attempt may take
    # two processes on one port would share its calls
    ("grpc.so_reuseport", 0),
)


class Client(Protocol):
    """Calls a business. ``begin`` returns at once, with a function that cancels the call; ``done``
    is called from another thread when the answer has come or the deadline has passed. ``tell``
    reports clicks in the same way."""

    name: str

    def begin(
        self, ask: Ask, left_ms: float, done: Callable[[Read], None]
    ) -> Callable[[], object]: ...

    def tell(self, clicked: Clicked, left_ms: float, done: Told) -> None: ...

    def close(self) -> None: ...


def answer(business: Business, ask: Ask, deadline: Deadline) -> Offered:
    """What a business says to a message; raises ``CallLate`` when the time is up before or after
    the work, ``DataError`` for a message that cannot be used."""
    requests, k = decode_ask(ask, f"the caller of {business.name!r}")
    if deadline.over:
        raise CallLate(f"business {business.name!r}: the deadline passed before it began")
    offers = business.offer(requests, k, deadline)
    if deadline.over:
        raise CallLate(f"business {business.name!r}: the deadline passed while it worked")
    return encode_offers(offers)


def hear(business: Business, clicked: Clicked) -> Heard:
    """A report has come; businesses that do not listen have heard it too."""
    clicks = decode_clicks(clicked, f"the caller of {business.name!r}")
    n_new = business.hear(clicks) if isinstance(business, Listener) else 0
    return Heard(version=VERSION, n_new=n_new)


def _decoded(offered: Offered, n: int, name: str) -> Offers:
    try:
        return decode_offers(offered, n, f"business {name!r}")
    except DataError as error:
        raise CallFailed(str(error)) from error


# ---- in this process -----------------------------------------------------------------------


@dataclass
class Local:
    """A business on ``workers`` threads of this process (1-16)."""

    business: Business
    workers: int = 4
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.business.name
        self._threads = Workers(self.workers, f"business {self.name!r}")

    def begin(self, ask: Ask, left_ms: float, done: Callable[[Read], None]) -> Callable[[], object]:
        """Put the call into the queue of the threads."""
        given_up = Event()
        deadline = Deadline(left_ms, given_up.is_set)

        def job() -> None:
            done(self._call(ask, deadline))

        self._threads.put(job)
        return given_up.set

    def _call(self, ask: Ask, deadline: Deadline) -> Read:
        try:
            offered = answer(self.business, ask, deadline)
        except Exception as error:  # whatever a business raises stays the business's
            return _raises(_as_failure(error, self.name))
        return lambda: _decoded(offered, len(ask.user_id), self.name)

    def tell(self, clicked: Clicked, left_ms: float, done: Told) -> None:
        """Put the report into the queue of the threads."""

        def job() -> None:
            try:
                hear(self.business, clicked)
            except Exception as error:  # whatever a business raises stays the business's
                done(_as_failure(error, self.name))
            else:
                done(None)

        self._threads.put(job)

    def close(self) -> None:
        """Let the threads end when they are done."""
        self._threads.close()


def _as_failure(error: Exception, name: str) -> CallFailed:
    if isinstance(error, CallFailed):
        return error
    kind = CallRefused if isinstance(error, DataError) else CallFailed
    return kind(f"business {name!r} failed: {type(error).__name__}: {error}")


def _raises(error: CallFailed) -> Read:
    def read() -> Offers:
        raise error

    return read


# ---- in another process --------------------------------------------------------------------


class Servicer(BusinessServicer):
    """The server's side of the generated interface."""

    def __init__(self, business: Business) -> None:
        self.business = business

    def Offer(self, request: Ask, context: grpc.ServicerContext) -> Offered:
        """Answer one call; an error becomes a status that says what it was."""
        left_s = context.time_remaining()
        left_ms = 1e9 if left_s is None else 1000 * left_s
        deadline = Deadline(left_ms, lambda: not context.is_active())
        try:
            return answer(self.business, request, deadline)
        except CallLate as error:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
        except DataError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Exception as error:  # the server lives on, the caller hears what it was
            failure = _as_failure(error, self.business.name)
            context.abort(grpc.StatusCode.INTERNAL, str(failure))

    def Feedback(self, request: Clicked, context: grpc.ServicerContext) -> Heard:
        """Take a report of clicks."""
        try:
            return hear(self.business, request)
        except DataError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Exception as error:  # the server lives on, the caller hears what it was
            failure = _as_failure(error, self.business.name)
            context.abort(grpc.StatusCode.INTERNAL, str(failure))


class Remote:
    """A business behind gRPC at ``host:port``; a second call in a row goes to the next address."""

    def __init__(self, name: str, *addresses: str) -> None:
        check_int("number of Remote's addresses", len(addresses), 1, 1000, "1")
        self.name, self.addresses, self._turn = name, addresses, count()
        self._channels = [grpc.insecure_channel(address, OPTIONS) for address in addresses]
        self._stubs = [BusinessStub(channel) for channel in self._channels]

    def begin(self, ask: Ask, left_ms: float, done: Callable[[Read], None]) -> Callable[[], object]:
        """Send the call."""
        at, n = next(self._turn) % len(self._stubs), len(ask.user_id)
        future = self._stubs[at].Offer.future(ask, timeout=max(left_ms, 0.0) / 1000)
        future.add_done_callback(lambda call: done(lambda: self._read(call, n, at)))
        return future.cancel

    def _read(self, call: grpc.Future, n: int, at: int) -> Offers:
        where = f"business {self.name!r} at {self.addresses[at]}"
        if call.cancelled():
            raise CallFailed(f"{where}: the call was cancelled")
        error = call.exception()
        if error is None:
            return _decoded(call.result(), n, self.name)
        raise _failure(error, where)

    def tell(self, clicked: Clicked, left_ms: float, done: Told) -> None:
        """Send the report to the next address: replicas of a business share what they heard."""
        at = next(self._turn) % len(self._stubs)
        where = f"business {self.name!r} at {self.addresses[at]}"
        future = self._stubs[at].Feedback.future(clicked, timeout=max(left_ms, 0.0) / 1000)

        def ended(call: grpc.Future) -> None:
            if call.cancelled():
                return done(CallFailed(f"{where}: the call was cancelled"))
            error = call.exception()
            done(None if error is None else _failure(error, where))

        future.add_done_callback(ended)

    def close(self) -> None:
        """Close the connections; calls that are under way are cancelled."""
        for channel in self._channels:
            channel.close()


def _failure(error: grpc.RpcError, where: str) -> CallFailed:
    """A status as the contract knows it."""
    code, words = error.code(), error.details()
    kinds = {"DEADLINE_EXCEEDED": CallLate, "INVALID_ARGUMENT": CallRefused}
    return kinds.get(code.name, CallFailed)(f"{where}: {code.name.lower()}: {words}")


def call(client: Client, requests: Sequence[Request], k: int, timeout_ms: float) -> Offers:
    """One call, waited for: for lessons and tests. Raises ``CallFailed`` or ``CallLate``."""
    came: SimpleQueue[Read] = SimpleQueue()
    cancel = client.begin(encode_ask(requests, k), timeout_ms, came.put)
    try:
        # gRPC ends a call at its deadline; a business in this process may hang for longer
        read = came.get(timeout=timeout_ms / 1000 + 0.1)
    except Empty:
        raise CallLate(f"business {client.name!r}: no answer in {timeout_ms:g} ms") from None
    finally:
        cancel()
    return read()
