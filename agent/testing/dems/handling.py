"""What each protocol of an emulated DEMS does with a request: faults, locks, offsets that do not fit, lost links."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agent.testing.dems.inflow import Body
from agent.testing.dems.uploads import State
from agent.testing.dems.wire import RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agent.testing.dems.core import Core
    from agent.testing.dems.faults import Fault
    from agent.testing.dems.uploads import Door, Upload

__all__ = ["abort", "answered", "check_place", "go_on", "go_wrong", "locked", "no_hurry"]

_COMPARE_MAX: Final = 16 << 20


async def answered(
    core: Core,
    request: web.Request,
    method: str,
    serve: Callable[[web.Request, str, Fault | None], Awaitable[web.Response]],
    refuse: Callable[[RefusedRequest], web.Response],
) -> web.Response:
    """Answer one request, with the fault that is in force for it; `refuse` words a refusal in the protocol."""
    fault = core.faults.next(method)
    try:
        response = await serve(request, method, fault)
    except RefusedRequest as refused:
        response = refuse(refused)
        if request.can_read_body and not request.content.is_eof():
            response.force_close()  # what is left of the body is not worth reading
    except ConnectionAbortedError:
        abort(request)  # by the peer already, or here by a fault
        response = web.Response(status=400)  # nobody will see it
    if fault is not None and fault.what == "offset" and "Upload-Offset" in response.headers:
        response.headers["Upload-Offset"] = str(int(response.headers["Upload-Offset"]) + fault.at)
    if fault is not None and fault.what == "drop-answer":
        abort(request)
    return response


async def go_wrong(core: Core, fault: Fault | None, door: Door | None) -> None:
    """Do what a fault does before the request is looked at."""
    if fault is None:
        return
    if fault.what == "status":
        headers = {"Retry-After": f"{fault.seconds:.0f}"} if fault.seconds else {}
        raise RefusedRequest(fault.status, "A fault was asked for.", headers)
    if fault.what == "drop":
        raise ConnectionAbortedError
    if fault.what == "delay":
        await asyncio.sleep(fault.seconds)
    if door is not None and fault.what == "expire" and door.upload.state is State.OPEN:
        await core.store.end(door.upload, State.EXPIRED)
    if door is not None and fault.what == "corrupt":
        core.store.corrupt(door.upload, fault.at)


async def check_place(core: Core, request: web.Request, upload: Upload, offset: int) -> None:
    """Refuse a body that does not belong at the end of what is there, and complain where it would change that."""
    if upload.state is State.STORED and offset >= upload.length:
        sentence = "This upload is finished."
        await core.complain("finished-upload-written", upload.capture, sentence)
        raise RefusedRequest(403, sentence)
    if offset == upload.offset:
        return
    if offset < upload.offset and "Expect" not in request.headers:
        # The same bytes once more are a request that an earlier try of its own overtook; others are an alarm.
        again = await _read_some(core, request, upload, min(_COMPARE_MAX, upload.offset - offset))
        if again != await core.read(upload, offset, len(again)):
            sentence = f"Other bytes were sent for an offset below {upload.offset}, which is committed."
            await core.complain("committed-bytes-changed", upload.capture, sentence)
    raise RefusedRequest(409, f"The offset is {upload.offset}.", {"Upload-Offset": str(upload.offset)})


async def _read_some(core: Core, request: web.Request, upload: Upload, most: int) -> bytes:
    body, found = Body(request, core.options.patience), bytearray()
    while len(found) < most and isinstance(block := await body.block(), bytes):
        found += block
    upload.received += body.count
    return bytes(found[:most])


@contextmanager
def locked(upload: Upload) -> Iterator[None]:
    """Hold an upload's lock. Who finds it held is refused, and must come again."""
    if upload.busy:
        raise RefusedRequest(423, "Another request is writing to this upload.")
    upload.busy = True
    try:
        yield
    finally:
        upload.busy = False


async def no_hurry(_: web.Request) -> None:
    """Leave `100 Continue` to the handler, which says it once the request is known to be welcome."""


async def go_on(request: web.Request) -> None:
    """Say `100 Continue` to who waits for it."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def abort(request: web.Request) -> None:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()
