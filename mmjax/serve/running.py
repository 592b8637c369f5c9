"""The server as a process: its socket, and how it ends."""

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from mmjax.serve.limits import Limits
from mmjax.serve.line import Line


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to; ValueError where there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"--host={host} --port={port}: {reason}") from error


def address(where: socket.socket) -> str:
    """What a browser reaches it by."""
    host, port = where.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Ends on SIGTERM and SIGINT: the running batch is finished, what waits refused.

    The second signal ends it at once.
    """

    def __init__(self, app: Starlette, line: Line, limits: Limits):
        config = uvicorn.Config(
            app, loop="asyncio", http="h11", ws="none", lifespan="on", log_config=None,
            log_level="error", access_log=False, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=max(1, int(limits.seconds)),
        )  # fmt: skip
        super().__init__(config)
        self._line = line

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._line.close()  # meanwhile clients still connect, and are told why
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # else they were raised again at the end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        sys.stderr.write(f"\nmmjax: {signal.Signals(sig).name}: ending\n")
        super().handle_exit(sig, frame)
