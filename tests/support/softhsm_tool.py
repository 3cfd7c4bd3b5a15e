"""What the fixtures ask of a token behind the product's back: `python -I softhsm_tool.py MODULE TASK`, by PyKCS11.

A process of its own, because unloading PyKCS11 finalises the module for everybody in the process, and because a
damaged token may crash it. Reads one JSON object from standard input and writes one to standard output.
"""

import json
import sys
from collections.abc import Callable

import PyKCS11
from PyKCS11 import LowLevel

Task = dict[str, str]
BOOLEANS = (
    "TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "MODIFIABLE",
    "COPYABLE", "SIGN", "DECRYPT", "UNWRAP", "DERIVE",
)  # fmt: skip


def initialise(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """Make a token. The label is padded here: PyKCS11 does not, and SoftHSM would store NULs."""
    slot = library.getSlotList(tokenPresent=True)[-1]
    library.initToken(slot, task["so_pin"], task["label"].ljust(32))
    session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    session.login(task["so_pin"], PyKCS11.CKU_SO)
    session.initPin(task["pin"])
    session.logout()
    session.closeSession()
    return library.getTokenInfo(slot).serialNumber.strip()


def _session(library: PyKCS11.PyKCS11Lib, task: Task) -> PyKCS11.Session:
    for slot in library.getSlotList(tokenPresent=True):
        if library.getTokenInfo(slot).label.strip("\0 ") == task["label"]:
            session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
            session.login(task["pin"])
            return session
    raise LookupError(task["label"])


def objects(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """List every object with its class, label, CKA_ID and boolean attributes."""
    session = _session(library, task)
    found = []
    for item in session.findObjects([]):
        row: dict[str, object] = {}
        for name in ("CLASS", "LABEL", "ID", *BOOLEANS):
            (value,) = session.getAttributeValue(item, [getattr(PyKCS11, f"CKA_{name}")])
            row[name] = bytes(value).hex() if name == "ID" and value is not None else value
        row["CLASS"] = PyKCS11.CKO[row["CLASS"]]
        found.append(row)
    return found


def generate(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """Make a P-256 key pair whose private attributes are the product's but for `wrong`, names joined by commas."""
    session = _session(library, task)
    key_id, label = bytes.fromhex(task["key_id"]), task["key_label"]
    wrong = set(filter(None, task.get("wrong", "").split(",")))
    common = [(PyKCS11.CKA_LABEL, label), (PyKCS11.CKA_ID, key_id), (PyKCS11.CKA_TOKEN, True)]
    private = {
        "PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": False, "MODIFIABLE": False, "COPYABLE": False,
        "SIGN": True, "DECRYPT": False, "UNWRAP": False, "DERIVE": False,
    }  # fmt: skip
    curve = [(PyKCS11.CKA_EC_PARAMS, bytes.fromhex("06082a8648ce3d030107"))]
    session.generateKeyPair(
        [*common, *curve, (PyKCS11.CKA_VERIFY, True), (PyKCS11.CKA_MODIFIABLE, False),
         (PyKCS11.CKA_ENCRYPT, False), (PyKCS11.CKA_WRAP, False), (PyKCS11.CKA_PRIVATE, False)],
        [*common, *((getattr(PyKCS11, f"CKA_{name}"), value ^ (name in wrong)) for name, value in private.items())],
        mecha=PyKCS11.Mechanism(LowLevel.CKM_EC_KEY_PAIR_GEN),
    )  # fmt: skip
    return None


def put_data(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """Store a data object."""
    template = [
        (PyKCS11.CKA_CLASS, PyKCS11.CKO_DATA),
        (PyKCS11.CKA_TOKEN, True),
        (PyKCS11.CKA_LABEL, task["object_label"]),
        (PyKCS11.CKA_VALUE, b"left behind"),
    ]
    _session(library, task).createObject(template)
    return None


def destroy_data(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """Destroy all data objects."""
    session = _session(library, task)
    for found in session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_DATA)]):
        session.destroyObject(found)
    return None


def extract(library: PyKCS11.PyKCS11Lib, task: Task) -> object:
    """Try to read and to wrap each private key; gives the names of the errors."""
    session = _session(library, task)
    names = []
    wrapping = session.generateKey(
        [(PyKCS11.CKA_VALUE_LEN, 32), (PyKCS11.CKA_WRAP, True), (PyKCS11.CKA_TOKEN, False)],
        mecha=PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_GEN),
    )
    for key in session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)]):
        (value,) = session.getAttributeValue(key, [PyKCS11.CKA_VALUE])
        names.append("hidden" if value is None else "readable")
        try:
            session.wrapKey(wrapping, key, PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_WRAP_PAD))
            names.append("wrapped")
        except PyKCS11.PyKCS11Error as error:
            names.append(PyKCS11.CKR[error.value])
    return names


TASKS: dict[str, Callable[[PyKCS11.PyKCS11Lib, Task], object]] = {
    "initialise": initialise,
    "objects": objects,
    "generate": generate,
    "put-data": put_data,
    "destroy-data": destroy_data,
    "extract": extract,
}


def main(module: str, task: str) -> None:
    """Do one task."""
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    json.dump(TASKS[task](library, json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
