"""One worker process as its parent sees it: exec it with nothing, ask it, and end it without fail."""

import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from coldcred.canonical import Json, b64u_encode
from coldcred.errors import Malformed
from coldcred.record import Record
from hsm import environment as environments
from hsm import messages
from hsm.errors import HsmError, WorkerLost, WorkerTimeout
from hsm.frames import Channel, ChannelClosed, ChannelError, ChannelTimeout, FrameInvalid

COMMAND = (sys.executable, "-I", "-m", "hsm.worker")
"""What is exec'd; the descriptor's number is the one argument that follows."""

_T = TypeVar("_T")
_CLOSING = 2.0
_LEAST = 0.001  # seconds: no time left still is a time-out, and no error of the socket
_POLL_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class WorkerProcess:
    """A running worker and the one socket to it; one thread at a time."""

    def __init__(self, environment: Mapping[str, str], *, command: Sequence[str] = COMMAND) -> None:
        """Start `command` with `environment` and no descriptor but its end of the socket; raises `WorkerLost`."""
        environments.check(environment)
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        try:
            # A session of its own: the terminal's interrupt is for the engine, not for a batch in the token.
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command and a number
                (*command, str(theirs.fileno())),
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._channel.close()
            raise WorkerLost(f"the worker process cannot be started: {error.strerror}") from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process runs and its end of the socket is open."""
        if self._process.poll() is not None:
            return False
        poll = select.poll()
        poll.register(self._channel.fileno(), _POLL_GONE)
        return not poll.poll(0)

    def ask(self, request: dict[str, Json], *secrets: bytearray, timeout: float) -> Json:
        """Send a request, and secrets after it, and give the worker's answer.

        Raises what the worker reports, or `WorkerLost` or `WorkerTimeout`; after these two it is ended. `timeout` is
        seconds for all of it, the reading of the answer too.
        """

        def converse(left: Callable[[], float]) -> tuple[Json, HsmError | None]:
            self._channel.send(request, timeout=left())
            for secret in secrets:
                self._channel.send_secret(secret, timeout=left())
            return _read_answer(self._channel.receive(timeout=left()))

        value, failure = self._held_to(timeout, converse)
        if failure is not None:
            raise failure
        return value

    def sign(self, key_id: bytes, inputs: Sequence[bytes], *, timeout: float) -> list[bytes | HsmError]:
        """Send a batch to sign and give its answers, in order; raises as `ask`."""

        def converse(left: Callable[[], float]) -> list[bytes | HsmError] | HsmError:
            self._channel.send_bytes({"do": "sign", "key_id": b64u_encode(key_id)}, inputs, timeout=left())
            value, failure = _read_answer(self._channel.receive(timeout=left()))
            if failure is not None:
                return failure
            return messages.read_answers(value, self._channel.receive_bytes(timeout=left()), len(inputs))

        answers = self._held_to(timeout, converse)
        if isinstance(answers, HsmError):
            raise answers
        return answers

    def _held_to(self, timeout: float, converse: Callable[[Callable[[], float]], _T]) -> _T:
        """Hold a conversation, which is told how many seconds are left; whatever breaks it ends the process."""
        end = time.monotonic() + timeout
        try:
            return converse(lambda: max(end - time.monotonic(), _LEAST))
        except ChannelTimeout as error:
            self.kill()
            raise WorkerTimeout(f"the worker gave no answer within {timeout:g} s and was ended") from error
        except (ChannelClosed, FrameInvalid, Malformed) as error:
            raise WorkerLost(f"the worker process is gone ({self._ended()}: {error})") from error
        except BaseException:
            self.kill()  # half a conversation: the next answer would be the one to this request
            raise

    def close(self) -> None:
        """Let the worker log out and stop the module, then make sure that it ended."""
        try:
            with suppress(ChannelError, subprocess.TimeoutExpired):
                self._channel.send({"do": "close"}, timeout=_CLOSING)
                self._process.wait(_CLOSING)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process now, whatever it does, and wait for it."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING / 4)
        ended_itself = self._process.returncode is not None
        self.kill()
        status = self._process.returncode
        if not ended_itself:
            return "it was ended after an answer that makes no sense"
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _read_answer(frame: Json) -> tuple[Json, HsmError | None]:
    record = Record.of(frame, "answer")
    failed = record.has("error")
    value = record.value("error" if failed else "ok")
    record.done()
    return (None, messages.read_error(value)) if failed else (value, None)
