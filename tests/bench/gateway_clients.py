"""Clients that send tracking events at a given rate: a process of its own, as lean as it can be.

Requests are signed and laid out before the clock starts, and go over plain sockets, so that the
machine's cores are left to the gateway. A request is sent when it is due, whatever became of the
others of other clients; its latency counts from that moment, so waiting behind a slow answer
counts too. Without a rate each client sends its next request when the last one was answered.

``python -m tests.bench.gateway_clients URL CLIENTS REQUESTS SIZE RATE`` prints one line of JSON.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

from tests.offline_online.posts import PATH, batch, event, signed


def laid_out(host: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    headers = {"host": host, "content-length": str(len(body)), **signed(body)["headers"]}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> int:
    """Events accepted, of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
    return int(json.loads(await reader.readexactly(length))["accepted"])


async def work(
    where: tuple[str, int], asked: list[bytes], due: list[float], took: list[tuple[float, int]]
) -> None:
    """One client on one connection; ``due`` in seconds from now, empty: at once."""
    reader, writer = await asyncio.open_connection(*where)
    origin = time.perf_counter()
    for at, request in enumerate(asked):
        began = time.perf_counter()
        if due:
            began = origin + due[at]
            await asyncio.sleep(began - time.perf_counter())
        writer.write(request)
        n = await answer(reader)
        took.append((time.perf_counter() - began, n))
    writer.close()


async def main(url: str, n_clients: int, n_requests: int, size: int, rate: float) -> None:
    """Send, and print seconds, CPU seconds and (seconds, accepted) of each request."""
    parts = urlsplit(url)
    asked, due = [], []
    for client in range(n_clients):
        first = [(client * n_requests + i) * size for i in range(n_requests)]
        bodies = [batch(*[event(at + j) for j in range(size)]) for at in first]
        asked.append([laid_out(parts.netloc, body) for body in bodies])
        turns = [i * n_clients + client for i in range(n_requests)] if rate else []
        due.append([turn * size / rate for turn in turns])
    took: list[tuple[float, int]] = []
    where = str(parts.hostname), int(parts.port or 80)
    began, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*[work(where, a, d, took) for a, d in zip(asked, due, strict=True)])
    seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    print(json.dumps([seconds, cpu, took]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])))
