"""Raw `C_Sign` on a token: `python -m benchmarks.raw_sign MODULE LABEL`, the PIN on standard input.

Prints signatures a second of one thread and of two.
"""

import json
import sys

from pkcs11 import Attribute, Mechanism, ObjectClass

from benchmarks.limits import sign_by_threads
from coldcred.canonical import sha256
from coldcred.keys import Algorithm
from hsm import cryptoki
from hsm.mechanisms import MECHANISMS
from hsm.uri import TokenUri

KEY = b"coldcred-bench"


def main() -> None:
    """Measure and print."""
    module, label = sys.argv[1:]
    token = cryptoki.open_token(module, TokenUri(token=label))
    token.login(bytearray(sys.stdin.buffer.read()))
    token.generate(KEY, "bench", Algorithm.ES256)
    query = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: KEY}
    signers: list[object] = [next(iter([*session.get_objects(query)])) for session in token._sessions[-2:]]  # noqa: SLF001 - its own sessions
    mechanism = Mechanism(MECHANISMS[Algorithm.ES256].sign)
    digest = sha256(b"bench")
    sign_by_threads(signers[:1], digest, mechanism)
    rates = [max(sign_by_threads(signers[:count], digest, mechanism) for _ in range(3)) for count in (1, 2)]
    token.destroy(KEY)
    print(json.dumps(rates))
    token.close()


if __name__ == "__main__":
    main()
