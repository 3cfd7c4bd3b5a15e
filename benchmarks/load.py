"""A lean load generator: pre-signed commands over kept-alive connections, one request at a time on each.

    python -m benchmarks.load SOCKET CONNECTIONS REQUESTS

REQUESTS is a file of commands, one a line. Prints one JSON object: seconds, latencies, and the tokens as base64url.
"""

import json
import selectors
import socket
import sys
import time
from pathlib import Path

_HEAD = (
    b"POST /v1/commands HTTP/1.1\r\nhost: appliance\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
)


class Caller:
    """One connection with the requests that it sends."""

    def __init__(self, path: str, requests: list[bytes]) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.requests = requests
        self.sent_at = 0.0
        self.latencies: list[float] = []
        self.answers: list[bytes] = []
        self._read = b""

    def send(self) -> bool:
        """Send the next request; False when there is none."""
        if not self.requests:
            return False
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.requests.pop())
        return True

    def take(self) -> bool:
        """Read what came; True when the answer is whole."""
        self._read += self.socket.recv(65536)
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return False
        self.latencies.append(time.perf_counter() - self.sent_at)
        self.answers.append(body)
        self._read = b""
        return True


def main() -> None:
    """Drive all connections from one thread until every request is answered."""
    path, connections, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    bodies = [b'{"command":"%s"}' % line for line in file.read_bytes().split()]
    requests = [_HEAD % (len(body), body) for body in bodies]
    callers = [Caller(path, requests[place::connections]) for place in range(connections)]
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    for caller in callers:
        selector.register(caller.socket, selectors.EVENT_READ, caller)
        caller.send()
    left = len(callers)
    while left:
        for key, _ in selector.select():
            caller = key.data
            if caller.take() and not caller.send():
                selector.unregister(caller.socket)
                left -= 1
    seconds = time.perf_counter() - began
    outcomes = [json.loads(answer) for caller in callers for answer in caller.answers]
    print(
        json.dumps(
            {
                "seconds": seconds,
                "latencies": sorted(latency for caller in callers for latency in caller.latencies),
                "tokens": [found["files"]["token"] for found in outcomes if found["state"] == "done"],
            }
        )
    )


if __name__ == "__main__":
    main()
