"""The key store of an appliance: starts the worker, logs it in, and replaces it when it dies, hangs or goes blind.

What a caller may rely on:

- A batch in hand when the worker ends, or is ended after `timeout` seconds, is answered `WorkerLost` or
  `WorkerTimeout` and is never sent again: nobody knows what the token did. The next call has a new worker, logged in
  and with every charter admitted anew; starting one takes well under three seconds.
- Any fault that calls for a new login or a new start of the module ends the worker, so the next call begins afresh.
  A token that was taken away and put back is served again without a restart.
- A refused PIN is not tried again, by nobody's retry, until `provide_pin` gives another.
- `sign` verifies every signature under the pinned public key; `sign_unverified` leaves that to its caller.

Thread-safe; calls are served one after the other and block. The engine keeps the PIN, not this module: `PinSource` is
asked at each login and its buffer wiped after use.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from coldcred.canonical import Json, b64u_encode
from coldcred.charter import KeyCharter, Purpose
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from hsm import charter as charters
from hsm import environment as environments
from hsm import messages
from hsm.errors import (
    CharterRefused,
    HsmError,
    KeyRemains,
    PinIncorrect,
    PinLocked,
    PinMissing,
    Reaction,
    SignatureWrong,
    WorkerLost,
    WorkerTimeout,
)
from hsm.frames import MAX_SECRET
from hsm.heads import KeptHead
from hsm.keystore import (
    NOTHING_SIGNED,
    CharterMemory,
    Inventory,
    KeyOrder,
    check_batch,
    check_key_id,
    verified,
)
from hsm.process import COMMAND, WorkerProcess
from hsm.uri import TokenUri

PinSource = Callable[[], bytearray]
"""Gives the PIN in a buffer of its own, which is wiped after use; may raise `PinMissing`."""

TIMEOUT = 10.0
"""Seconds a worker has for one request, its start included."""

_T = TypeVar("_T")
_SOUND = frozenset({Reaction.REFUSE, Reaction.RETRY})
_REMEMBERING = frozenset({Purpose.LOG, Purpose.BUNDLE})


class WorkerEvent(StrEnum):
    """What an observer is told. Logins, refused PINs and workers that were lost, timed out or replaced are logged."""

    STARTED = "worker-started"
    LOGGED_IN = "logged-in"
    PIN_REFUSED = "pin-refused"
    LOST = "worker-lost"
    TIMED_OUT = "worker-timed-out"
    REPLACED = "worker-replaced"
    STOPPED = "worker-stopped"


Observer = Callable[[WorkerEvent, str], None]
"""Called with an event and a sentence, in the thread of the call that met it; must return soon and not call back."""


@dataclass(slots=True)
class _Admission:
    charter: KeyCharter
    public: PublicKey
    memory: CharterMemory
    until: int | None = None
    failure: HsmError | None = None


class WorkerKeyStore:
    """A `KeyStore` whose keys live in a token behind a worker process."""

    def __init__(
        self,
        module: str,
        token: TokenUri,
        pin: PinSource,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        observer: Observer | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start nothing yet: the first call does.

        `module` is the absolute path of the PKCS#11 library, `environment` the variables it is given (a closed list
        of names, `hsm.environment`), `timeout` seconds for one request, `command` what is exec'd in the
        worker's place. Misuse is a `ValueError`.
        """
        check_module(module, token)
        self._environment = dict(environment or {})
        environments.check(self._environment)
        self._module = module
        self._token = token
        self._pin = pin
        self._timeout = timeout
        self._observer = observer
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._admitted: dict[bytes, _Admission] = {}
        self._worker: WorkerProcess | None = None
        self._fresh = False
        self._halted: HsmError | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"WorkerKeyStore({self._token.format()}, worker={self.worker_pid})"

    @property
    def worker_pid(self) -> int | None:
        """Process id of the present worker, or None."""
        worker = self._worker
        return None if worker is None else worker.pid

    def provide_pin(self, pin: PinSource) -> None:
        """Take another source of the PIN, and try again whatever had called for a person (`Reaction.STOP`)."""
        with self._held():
            self._pin = pin
            self._halted = None

    def inventory(self) -> Inventory:
        """Read the token anew, in a new worker: a running one does not notice changed, added or damaged files."""
        with self._held():
            if not self._fresh:
                self._retire(WorkerEvent.REPLACED, "the token is read anew")
            return self._decoded(messages.read_inventory, self._ask({"do": "inventory"}))

    def generate(self, order: KeyOrder) -> PublicKey:
        """Make a key pair; see `KeyStore.generate`."""
        request: dict[str, Json] = {
            "do": "generate",
            "key_id": b64u_encode(order.key_id),
            "charter": order.charter.as_json(),
        }
        with self._held():
            return self._decoded(PublicKey.from_jwk, self._ask(request))

    def admit(
        self,
        key_id: bytes,
        charter: KeyCharter,
        public: PublicKey,
        memory: CharterMemory = NOTHING_SIGNED,
        until: int | None = None,
    ) -> None:
        """Let a key sign within its charter, now and in every later worker; see `KeyStore.admit`."""
        check_key_id(key_id)
        with self._held():
            known = self._admitted.get(key_id)
            if known is not None:
                memory = charters.merge(known.memory, memory)
            admission = _Admission(charter, public, memory, until)
            self._ask(_admit_request(key_id, admission))
            self._admitted[key_id] = admission

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the head that is kept beside a log key; see `KeyStore.kept`."""
        check_key_id(key_id)
        with self._held():
            return self._decoded(messages.read_head, self._ask({"do": "kept", "key_id": b64u_encode(key_id)}))

    def keep(self, key_id: bytes, checkpoint: bytes, proof: Sequence[bytes]) -> bool:
        """Keep a head; see `KeyStore.keep`."""
        check_key_id(key_id)
        request: dict[str, Json] = {
            "do": "keep",
            "key_id": b64u_encode(key_id),
            "checkpoint": b64u_encode(checkpoint),
            "proof": [b64u_encode(node) for node in proof],
        }
        with self._held():
            return self._ask(request) is True

    def sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign a batch; see `KeyStore.sign`."""
        answers = self.sign_unverified(key_id, inputs)
        admission = self._admitted.get(key_id)
        if admission is not None:
            answers = verified(admission.public, inputs, answers)
        if any(isinstance(answer, SignatureWrong) for answer in answers):
            self.signed_wrongly()
        return answers

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign a batch for a caller that verifies; see `KeyStore.sign_unverified`."""
        check_batch(inputs)
        try:
            with self._held():
                return self._sign(key_id, inputs)
        except HsmError as error:
            return [error for _ in inputs]

    def signed_wrongly(self) -> None:
        """Replace a worker whose signature does not verify: the key it holds may be damaged."""
        with self._held():
            self._follow(SignatureWrong("a signature does not verify under the pinned key"))

    def destroy(self, key_id: bytes) -> None:
        """Destroy a key pair, then look for it in a new worker: SoftHSM can report success and keep the file."""
        check_key_id(key_id)
        encoded = b64u_encode(key_id)
        with self._held():
            self._ask({"do": "destroy", "key_id": encoded})
            self._admitted.pop(key_id, None)
            self._retire(WorkerEvent.REPLACED, "a key was destroyed; the token is read anew")
            if self._ask({"do": "holds", "key_id": encoded}) is not False:
                raise KeyRemains(f"key {key_id.hex()} was destroyed and is there again in the token read anew")

    def close(self) -> None:
        """Log out, end the worker and answer no more; a forked child's call does nothing."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closed = True
            self._retire(WorkerEvent.STOPPED, "the key store was closed")

    def _held(self) -> threading.Lock:
        if os.getpid() != self._owner:
            # A forked child shares the socket: it must not speak on it, and the lock may be held for ever there.
            raise WorkerLost("this process did not open the key store; a child never signs with its parent's login")
        return self._lock

    def _sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        admission = self._admitted.get(key_id)
        if not inputs:
            return []
        worker = self._ready()
        if admission is None:
            raise CharterRefused(f"key {key_id.hex()} was not admitted with a charter")
        if admission.failure is not None:
            self._follow(admission.failure)
            raise _again(admission.failure)
        self._fresh = False
        self._remember(admission, inputs)
        try:
            answers = worker.sign(key_id, inputs, timeout=self._timeout)
        except HsmError as error:
            self._follow(error)
            raise
        fault = next((item for item in answers if isinstance(item, HsmError) and item.reaction not in _SOUND), None)
        if fault is not None:
            self._follow(fault)
        return answers

    def _remember(self, admission: _Admission, inputs: Sequence[bytes]) -> None:
        # Before sending: a worker that dies may have signed, and its successor must know at least as much.
        if admission.charter.purpose not in _REMEMBERING:
            return
        for data in inputs:
            try:
                admission.memory = charters.check(
                    admission.charter, data, admission.memory, kid=admission.public.thumbprint
                )
            except CharterRefused:
                continue  # the worker says so in its answer

    def _ask(self, request: dict[str, Json]) -> Json:
        worker = self._ready()
        self._fresh = False
        return self._exchange(worker, request)

    def _exchange(self, worker: WorkerProcess, request: dict[str, Json], *secrets: bytearray) -> Json:
        try:
            return worker.ask(request, *secrets, timeout=self._timeout)
        except HsmError as error:
            self._follow(error)
            raise

    def _decoded(self, read: Callable[[Json], _T], value: Json) -> _T:
        try:
            return read(value)
        except (Malformed, ValueError) as error:
            message = f"the worker's answer makes no sense: {error}"
            lost = WorkerLost(message)
            self._follow(lost)
            raise lost from error

    def _ready(self) -> WorkerProcess:
        if self._closed:
            raise WorkerLost("the key store is closed")
        if self._halted is not None:
            raise _again(self._halted)
        if self._worker is not None and not self._worker.alive():
            self._retire(WorkerEvent.LOST, "the worker process ended between two requests")
        return self._start() if self._worker is None else self._worker

    def _start(self) -> WorkerProcess:
        worker = self._worker = WorkerProcess(self._environment, command=self._command)
        try:
            self._tell(WorkerEvent.STARTED, f"worker process {worker.pid}")
            self._exchange(worker, {"do": "open", "module": self._module, "token": self._token.format()})
            self._login(worker)
            self._admit_again(worker)
        except BaseException:
            # Whatever it was, no call may meet a worker that is ready by half.
            self._retire(WorkerEvent.REPLACED, "the worker did not become ready")
            raise
        self._fresh = True
        return worker

    def _admit_again(self, worker: WorkerProcess) -> None:
        for key_id, admission in self._admitted.items():
            admission.failure = None
            try:
                worker.ask(_admit_request(key_id, admission), timeout=self._timeout)
            except HsmError as error:
                admission.failure = error
                if isinstance(error, WorkerLost | WorkerTimeout):
                    self._follow(error)
                    raise

    def _login(self, worker: WorkerProcess) -> None:
        pin = self._pin()
        try:
            if not 0 < len(pin) <= MAX_SECRET:
                raise PinMissing(f"a PIN of 1 to {MAX_SECRET} bytes is needed; {len(pin)} were given")
            self._exchange(worker, {"do": "login"}, pin)
        finally:
            pin[:] = bytes(len(pin))
        self._tell(WorkerEvent.LOGGED_IN, f"worker process {worker.pid} is logged in")

    def _follow(self, error: HsmError) -> None:
        """Do what a fault calls for."""
        if error.reaction is Reaction.STOP:
            self._halted = error
        if isinstance(error, PinIncorrect | PinLocked):
            self._tell(WorkerEvent.PIN_REFUSED, error.detail)
        if isinstance(error, WorkerTimeout):
            self._retire(WorkerEvent.TIMED_OUT, error.detail)
        elif isinstance(error, WorkerLost):
            self._retire(WorkerEvent.LOST, error.detail)
        elif error.reaction not in _SOUND:
            self._retire(WorkerEvent.REPLACED, str(error))

    def _retire(self, event: WorkerEvent, detail: str) -> None:
        worker, self._worker, self._fresh = self._worker, None, False
        if worker is None:
            return
        if event in {WorkerEvent.LOST, WorkerEvent.TIMED_OUT}:
            worker.kill()
        else:
            worker.close()
        self._tell(event, detail)

    def _tell(self, event: WorkerEvent, detail: str) -> None:
        if self._observer is not None:
            self._observer(event, detail)


def check_module(module: str, token: TokenUri) -> None:
    """Refuse a relative path, and a URI that names another library (`ValueError`)."""
    if not module.startswith("/"):
        raise ValueError("the path of the PKCS#11 module is absolute")
    if token.module not in {None, module}:
        raise ValueError("the token's URI names another PKCS#11 module than the settings")


def _admit_request(key_id: bytes, admission: _Admission) -> dict[str, Json]:
    until: dict[str, Json] = {} if admission.until is None else {"until": admission.until}
    return {
        "do": "admit",
        "key_id": b64u_encode(key_id),
        "charter": admission.charter.as_json(),
        "public": admission.public.jwk(),
        "memory": messages.write_memory(admission.memory),
        **until,
    }


def _again(error: HsmError) -> HsmError:
    """Give a remembered error anew, without the traceback of its first time."""
    return type(error)(error.detail, ckr=error.ckr, reaction=error.reaction)
