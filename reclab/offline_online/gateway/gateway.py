"""Tracking gateway (埋点网关): the app's reports come in over HTTP, and leave in the event log.

POST /v1/events: size → type → signature (鉴权) → the steps of ``intake``. Requests that arrive
while others are being stored wait together and are stored together: nobody waits for a timer, and
under load each round trip carries more.
Reference: chapter 2.3.1, figure 2.3; group commit: Gray, Reuter, Transaction Processing (1993).

Simplified: one process without TLS; industry runs many behind a load balancer, which also cuts off
clients that send their bytes too slowly.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import ClientDisconnect

from reclab.core.errors import ReclabError, check, check_int
from reclab.offline_online.gateway.event_check import EventLimits
from reclab.offline_online.gateway.intake import STATUS, Answer, Intake, Post
from reclab.offline_online.gateway.page import BODY_SCHEMA, RESPONSES, page
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from reclab.offline_online.gateway.seen_events import SeenEvents
from reclab.offline_online.gateway.signature import check_keys, check_signature
from reclab.offline_online.gateway.tracking_schema import Fault, Refused
from reclab.stores.event_log import EventLog, TopicConfig
from reclab.stores.kv import KV
from reclab.stores.redis_server import StoreDown

START_S = 20.0


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class GatewayConfig:
    """``topic`` and ``dead_topic``: where events and rejections go, each of ``partitions``;
    ``body_bytes``: of a request (100 000-2 000 000); ``good_ms``: a signature is good for so long
    (60 000-600 000); ``window_ms``: how long an event is known by its id, at least as long as one
    may be late; ``most_waiting``: requests that wait to be stored (100-10 000)."""

    topic: str = "events"
    dead_topic: str = "dead_letters"
    partitions: int = 4
    body_bytes: int = 500_000
    good_ms: int = 300_000
    window_ms: int = 86_520_000
    most_waiting: int = 2_000
    limits: EventLimits = field(default_factory=EventLimits)
    rate: RateConfig = field(default_factory=RateConfig)

    def __post_init__(self) -> None:
        check_int("GatewayConfig.body_bytes", self.body_bytes, 100, 10**8, "500000")
        check_int("GatewayConfig.good_ms", self.good_ms, 1_000, 10**9, "300000")
        check_int("GatewayConfig.most_waiting", self.most_waiting, 1, 10**6, "2000")
        least = self.limits.age_ms + self.limits.ahead_ms
        rule = f"be >= age_ms + ahead_ms ({least}), or an event could enter twice"
        check(self.window_ms >= least, "GatewayConfig.window_ms", self.window_ms, rule, str(least))
        fits = self.rate.burst >= self.limits.most_events
        check(fits, "RateConfig.burst", self.rate.burst, "be >= EventLimits.most_events", "1000")


class Gateway:
    """The service, apart from the server that runs it: ``app`` is its ASGI application."""

    def __init__(
        self,
        log: EventLog,
        keys: Mapping[str, bytes],
        config: GatewayConfig | None = None,
        kv: KV | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        check_keys(keys)
        self.log, self.keys, self.config, self.now_ms = (
            log,
            dict(keys),
            config or GatewayConfig(),
            now_ms,
        )
        own = self.config
        self._kv, self._own_kv = kv or KV(namespace="gateway"), kv is None
        seen = SeenEvents(self._kv, own.window_ms / 1000)
        topics = (own.topic, own.dead_topic)
        self.intake = Intake(log, seen, TokenBuckets(own.rate), own.limits, topics)
        self._create_topics()
        self._down = False
        self.app = self._routes()

    @property
    def counts(self) -> dict[str, int]:
        """Requests by reason ("ok" for 200), and events accepted, duplicates, rejected."""
        return dict(self.intake.counts)

    def _create_topics(self) -> None:
        for name in (self.config.topic, self.config.dead_topic):
            if name not in self.log.topics():
                self.log.create(name, TopicConfig(partitions=self.config.partitions))

    def _routes(self) -> FastAPI:
        app = FastAPI(title="Tracking gateway", version="1", lifespan=self._live, docs_url=None)
        body: dict[str, Any] = {"requestBody": BODY_SCHEMA, "responses": RESPONSES}
        app.post("/v1/events", openapi_extra=body, response_model=None)(self.post_events)
        app.get("/v1/health", response_model=None)(self.health)

        @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
        def docs() -> str:
            return page(app.openapi())

        return app

    # -- requests -----------------------------------------------------------------------------

    async def post_events(self, request: Request) -> JSONResponse:
        """Report events. 200: what is called accepted is in the log, and what was rejected is
        listed. 4xx: nothing entered; do not repeat it unchanged. 429, 503: send it again later."""
        try:
            body = await self._body(request)
            limits = (self.now_ms(), self.config.good_ms)
            app = check_signature(request.headers, body, self.keys, *limits)
        except Refused as refused:
            self.intake.counts[refused.fault.reason] += 1
            return _reply(_refusal(refused.fault))
        if self._queue.full():
            self.intake.counts["too_busy"] += 1
            return _reply(_refusal(Fault("too_busy", "too many requests wait: send it again")))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((Post(app, body), answer))
        return _reply(await answer)

    async def _body(self, request: Request) -> bytes:
        """The body, read no further than its limit."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if kind != "application/json" or coding != "identity":
            raise Refused("unsupported_type", "send plain application/json")
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self.config.body_bytes:
                    raise Refused("too_large", f"at most {self.config.body_bytes} bytes a request")
        except ClientDisconnect:
            raise Refused("not_a_batch", "the client left") from None
        return bytes(body)

    async def health(self) -> dict[str, Any]:
        """Whether the log answered last time, and the counts so far."""
        return {"log": "down" if self._down else "up", "counts": self.counts}

    # -- storing together ---------------------------------------------------------------------

    @asynccontextmanager
    async def _live(self, app: FastAPI) -> AsyncIterator[None]:
        self._queue: asyncio.Queue[tuple[Post, asyncio.Future[Answer]]]
        self._queue = asyncio.Queue(self.config.most_waiting)
        storing = asyncio.create_task(self._store_for_ever())
        try:
            yield
        finally:
            storing.cancel()

    async def _store_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "gateway") as thread:
            while True:
                together = [await self._queue.get()]
                while not self._queue.empty() and len(together) < 64:
                    together.append(self._queue.get_nowait())
                posts = [post for post, _ in together]
                try:
                    answers = await loop.run_in_executor(thread, self.store, posts)
                except Exception as error:  # a fault of ours must not end the service: 500
                    for _, waiting in together:
                        if not waiting.done():
                            waiting.set_exception(error)
                    continue
                for (_, waiting), answer in zip(together, answers, strict=True):
                    if not waiting.done():
                        waiting.set_result(answer)

    def store(self, posts: list[Post]) -> list[Answer]:
        """Signed requests -> answers; after a failure the log is first looked for again."""
        if self._down:
            self._reconnect()
        answers = self.intake.take(posts, self.now_ms())
        self._down = any(answer.reason == "log_down" for answer in answers)
        return answers

    def _reconnect(self) -> None:
        for find in (self.log.reconnect, self._kv.reconnect, self._create_topics):
            try:
                find()
            except StoreDown:
                return  # intake meets it again and says 503

    def close(self) -> None:
        """Let go of what it opened itself."""
        if self._own_kv:
            self._kv.close()


class run_gateway:
    """``with run_gateway(log, {"app": key}) as gateway: gateway.url``: the service on a free port
    of this machine, in a thread. ``gateway.docs`` is its page. Raises ``ReclabError`` if the port
    is taken."""

    def __init__(
        self,
        log: EventLog,
        keys: Mapping[str, bytes],
        config: GatewayConfig | None = None,
        kv: KV | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        port: int = 0,
    ) -> None:
        self.gateway = Gateway(log, keys, config, kv, now_ms)
        quiet: dict[str, Any] = {"log_level": "critical", "access_log": False, "ws": "none"}
        settings = uvicorn.Config(
            self.gateway.app, "127.0.0.1", port, timeout_graceful_shutdown=2, **quiet
        )
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()
        self._await_start()

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:
            pass  # how uvicorn says that it could not start; `_await_start` tells

    def _await_start(self) -> None:
        until = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise ReclabError("the gateway did not start: is its port free? (0 takes any)")
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.docs = f"{self.url}/docs"

    @property
    def counts(self) -> dict[str, int]:
        """Requests by reason, events by what became of them."""
        return self.gateway.counts

    def close(self) -> None:
        """Answer what is under way, and stop."""
        self._server.should_exit = True
        self._thread.join(10)
        self.gateway.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _refusal(fault: Fault) -> Answer:
    return Answer(STATUS[fault.reason], fault.reason, fault.detail)


def _reply(answer: Answer) -> JSONResponse:
    later = {429: {"retry-after": "1"}, 503: {"retry-after": "1"}}
    return JSONResponse(vars(answer), answer.status, headers=later.get(answer.status))
