"""A bare ASGI application that sends a body back: what the HTTP server itself costs."""

from typing import Any

_TYPE = (b"content-type", b"application/json")


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send the request's body back."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    headers = [_TYPE, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
