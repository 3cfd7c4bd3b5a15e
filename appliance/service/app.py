"""The closed list of what can be asked over the socket, and how each answer looks.

Whatever became of a command is an answer of status 200; a status of 400 and above says that nothing was taken up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from appliance.engine import Engine
from appliance.engine.batching import BatchStream
from appliance.errors import Refusal, Refused
from appliance.outcome import EXPORTED, Export, Outcome
from appliance.rules import rule_of
from appliance.service.connection import Connection
from coldcred.canonical import Json, b64u_decode, dumps, loads, sha256_hex
from coldcred.errors import Malformed
from coldcred.jose import MAX_TOKEN
from coldcred.record import Record

MAX_BODY = 8 * 1024 * 1024
MAX_BATCH_BODY = 16 * 1024 * 1024
MAX_WORKLOAD_BODY = 96 * 1024
PIECE = 100
"""Rows of a list that are written at once."""

MAX_APPROVALS = 32
MAX_ATTACHMENTS = 64

Answer: TypeAlias = Callable[[Request], Awaitable[Json]]

_STATUS: Mapping[Refusal, int] = {Refusal.BUSY: 503, Refusal.STOPPING: 503}


class TooLarge(Exception):
    """A request's body is larger than anything we read."""


def application(engine: Engine, complain: Callable[[Exception], None]) -> Starlette:
    """Give the ASGI application for `engine`; `complain` is told of a defect, whose cause the client never sees."""

    async def about(_: Request) -> Json:
        return engine.standing.authority.summary()

    async def commands(request: Request) -> Response:
        body = Record.of(await _body(request), "request")
        token = body.text("command", max_chars=MAX_TOKEN)
        attachments = _attachments(body.optional_record("attachments"))
        approvals = _approvals(body)
        body.done()
        source = _connection(request).source
        return _outcome(engine, await engine.submit_command(token, attachments, approvals, source, whole=False))

    async def batches(request: Request) -> Response:
        body = Record.of(await _body(request, MAX_BATCH_BODY), "request")
        token = body.text("command", max_chars=MAX_TOKEN)
        attachments = _attachments(body.optional_record("attachments"))
        approvals = _approvals(body)
        body.done()
        stream = await engine.submit_batch(token, attachments, approvals, _connection(request).source)
        return StreamingResponse(_lines(stream), media_type="application/jsonl")

    async def approvals(request: Request) -> Response:
        body = Record.of(await _body(request), "request")
        token = body.text("approval", max_chars=MAX_TOKEN)
        body.done()
        return _outcome(engine, await engine.submit_approval(token, _connection(request).source, whole=False))

    async def open_reading(request: Request) -> Json:
        body = Record.of(await _body(request), "request")
        token = body.text("command", max_chars=MAX_TOKEN)
        body.done()
        connection = _connection(request)
        connection.reader = await engine.open_reading(token, connection.source)
        return {"reading": True}

    async def read(request: Request) -> Json:
        reader = _connection(request).reader
        if reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "this connection has not opened reading", "R12 reading")
        answer: Json = await reader.read(request.path_params["name"], dict(request.query_params))
        return answer

    async def preview(request: Request) -> Json:
        reader = _connection(request).reader
        if reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "this connection has not opened reading", "R12 reading")
        body = Record.of(await _body(request), "request")
        act, args = body.text("act"), body.record("args")
        attachments = _attachments(body.optional_record("attachments"))
        body.done()
        return await reader.preview(act, args, attachments)

    async def why(request: Request) -> Json:
        reader = _connection(request).reader
        if reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "this connection has not opened reading", "R12 reading")
        body = Record.of(await _body(request), "request")
        attachments = _attachments(body.optional_record("attachments"))
        return await reader.why(body, attachments)

    def route(path: str, method: str, answer: Answer) -> Route:
        return Route(path, _answering(answer, complain), methods=[method])

    return Starlette(
        routes=[
            route("/v1/appliance", "GET", about),
            Route("/v1/commands", _guarded(commands, complain), methods=["POST"]),
            Route("/v1/batches", _guarded(batches, complain), methods=["POST"]),
            Route("/v1/approvals", _guarded(approvals, complain), methods=["POST"]),
            route("/v1/read", "POST", open_reading),
            route("/v1/read/preview", "POST", preview),
            route("/v1/read/why", "POST", why),
            route("/v1/read/{name}", "GET", read),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
    )


def workload_application(engine: Engine, complain: Callable[[Exception], None]) -> Starlette:
    """Give the ASGI application of the workloads' socket: which appliance it is, and one verb."""

    async def about(_: Request) -> Json:
        authority = engine.standing.authority
        return {"appliance": authority.founding.appliance_id, "epoch": authority.epoch}

    async def commands(request: Request) -> Json:
        body = Record.of(await _body(request, MAX_WORKLOAD_BODY), "request")
        token = body.text("command", max_chars=MAX_TOKEN)
        body.done()
        connection = _connection(request)
        outcome = await engine.submit_command(token, source=connection.source, peer=connection.peer)
        return outcome.as_json()

    return Starlette(
        routes=[
            Route("/v1/appliance", _answering(about, complain), methods=["GET"]),
            Route("/v1/commands", _answering(commands, complain), methods=["POST"]),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
    )


def _answering(answer: Answer, complain: Callable[[Exception], None]) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        return _told(await answer(request))

    return _guarded(respond, complain)


def _guarded(
    answer: Callable[[Request], Awaitable[Response]], complain: Callable[[Exception], None]
) -> Callable[[Request], Awaitable[Response]]:
    """Turn whatever goes wrong before an answer has begun into an answer."""

    async def respond(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refused:
            return _error(_STATUS.get(refused.reason, 403), refused.id, refused.detail, rule_of(refused))
        except Malformed as malformed:
            return _error(400, malformed.id, str(malformed))
        except TooLarge as large:
            return _error(413, "too-large", str(large))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001  # the guard: a defect is one line in our log and no text to a client
            complain(error)
            return _error(500, "internal", "the appliance could not answer; its own log says why")

    return respond


def _outcome(engine: Engine, outcome: Outcome) -> Response:
    """Answer with an outcome, behind which an export follows if it gives one."""
    if outcome.export is None:
        return _json(200, outcome.as_json())
    return StreamingResponse(_exported(engine, outcome, outcome.export), media_type=EXPORTED)


async def _exported(engine: Engine, outcome: Outcome, export: Export) -> AsyncIterator[bytes]:
    """Give an outcome as a line, an empty line now and then while the log is gone through, and then the export."""
    yield dumps(outcome.as_json()) + b"\n"
    async for page in engine.pages(export):
        yield page or b"\n"


async def _lines(stream: BatchStream) -> AsyncIterator[bytes]:
    """Give the outcomes of a batch as JSONL, and its own as the last line, `{"end":...}`."""
    try:
        while (lines := await stream.chunk()) is not None:
            yield lines
        try:
            end: Json = stream.outcome().as_json()
        except Refused as refused:
            end = {"error": refused.id, "detail": refused.detail, "rule": rule_of(refused)}
        yield dumps({"end": end}) + b"\n"
    finally:
        stream.abandon()


async def _body(request: Request, most: int = MAX_BODY) -> Json:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise TooLarge(f"a request of over {most} bytes")
    return loads(bytes(body), max_bytes=most)


def _attachments(record: Record | None) -> dict[str, bytes]:
    """Read attachments by their SHA-256, which each must have."""
    if record is None:
        return {}
    members = record.members()
    if len(members) > MAX_ATTACHMENTS:
        raise Malformed(f"{len(members)} attachments where at most {MAX_ATTACHMENTS} are read")
    attachments: dict[str, bytes] = {}
    for name, value in members.items():
        data = b64u_decode(value) if isinstance(value, str) else None
        if data is None or sha256_hex(data) != name:
            raise Malformed("an attachment that is not base64url with the SHA-256 it is named by")
        attachments[name] = data
    return attachments


def _approvals(body: Record) -> tuple[str, ...]:
    if not body.has("approvals"):
        return ()
    items = body.array("approvals", most=MAX_APPROVALS)
    return tuple(item for item in items if isinstance(item, str) and len(item) <= MAX_TOKEN)


def _connection(request: Request) -> Connection:
    connection = request.state.connection
    if not isinstance(connection, Connection):
        raise TypeError("the server gave no connection")
    return connection


def _told(value: Json) -> Response:
    """Answer; a long list in pieces, since writing it all at once would hold up everybody else."""
    if isinstance(value, list) and len(value) > PIECE:
        return StreamingResponse(_pieces(value), media_type="application/json")
    return _json(200, value)


async def _pieces(rows: list[Json]) -> AsyncIterator[bytes]:
    for first in range(0, len(rows), PIECE):
        yield (b"[" if first == 0 else b",") + dumps(rows[first : first + PIECE])[1:-1]
        await asyncio.sleep(0)
    yield b"]"


def _json(status: int, value: Json) -> Response:
    return Response(dumps(value), status_code=status, media_type="application/json")


def _error(status: int, name: str, detail: str, rule: str | None = None) -> Response:
    said: dict[str, Json] = {"error": name, "detail": detail}
    return _json(status, said if rule is None else {**said, "rule": rule})


async def _not_found(_request: Request, _error_found: Exception) -> Response:
    return _error(404, "unknown-question", "nothing is answered under this name")
