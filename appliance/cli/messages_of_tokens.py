"""What is said of tokens and cards when something is not done: by the state it leaves, the id; what, and what next."""

from collections.abc import Mapping
from types import MappingProxyType

TOKENS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "nothing was signed; the log says what was begun": {
            "module-missing": (
                "the PKCS#11 module cannot be loaded",
                "check its path: --module, or settings.toml in the home",
            ),
            "token-missing": ("the token is not there", "attach it, or check `coldcredctl token list`"),
            "token-ambiguous": ("several tokens fit", "name its serial in settings.toml; none is guessed"),
            "pin-missing": ("the token was not opened", "give its PIN at the prompt or with --pin-fd N"),
            "pin-locked": ("the token takes no PIN any more", "unlock it with its security officer's PIN"),
            "key-missing": ("a key is not in the token", "see that the right token is attached"),
            "key-ambiguous": ("two keys answer to one id", "somebody put an object in the token: find out who"),
            "key-exists": ("a key of that id exists", "start again; the appliance adopts or destroys it"),
            "key-exposed": ("a key could leave the token", "take the key out of service; it was not born here"),
            "key-unfit": (
                "a key is not as it was made",
                "find out what changed it; it cannot leave the token, and yet it signs nothing",
            ),
            "key-mismatch": ("a key is not the one the log pins", "treat the token as replaced or damaged"),
            "key-remains": ("a destroyed key is still there", "treat the token as faulty"),
            "mechanism-missing": (
                "the token cannot do that",
                "take a token that has it, or found with what it has: the log key may be ES256",
            ),
            "charter-refused": ("the key's charter refused it", "see `coldcredctl key list`"),
            "head-refused": (
                "the log has not grown from the head that the token keeps",
                "see that no other copy of this home is served, then start again",
            ),
            "signature-wrong": ("the token gave a wrong signature", "treat the token as damaged"),
            "worker-lost": ("the process with the HSM ended", "run the command again; a new one starts"),
            "worker-timeout": ("the HSM did not answer in time", "see that it is attached, then try again"),
            "token-fault": ("the token reports a fault", "see that it is attached and healthy, then try again"),
            "foreign-object": (
                "the token holds an object nobody ordered",
                "find out whose it is; the token is declared exclusive",
            ),
        },
        "nothing was signed, and the PIN is not tried again": {
            "pin-incorrect": ("the PIN is wrong", "try again with care: tokens count"),
            "card-wrong-pin": ("the PIN of your card is wrong", "try again with care: cards count"),
            "card-pin-locked": ("your card takes no PIN any more", "unlock it with the PIN of its security officer"),
        },
        "nothing was signed with your card": {
            "card-uri": (
                "the card is not named as it must be",
                'write it as --as "pkcs11:token=NAME?module-path=/usr/lib/MODULE.so"',
            ),
            "card-module": ("the module of your card cannot be loaded", "check module-path= in the URI of the card"),
            "card-module-open": (
                "others could change the module of your card",
                "have it and its folders belong to root or to you, and writable by nobody else",
            ),
            "card-module-new": (
                "the module of your card is from nowhere known",
                "install it under /usr/lib or /opt, or run this at a terminal and vouch for it",
            ),
            "card-missing": (
                "your card is not there",
                "attach it, compare its name with `coldcredctl token list`, and set what its module finds it by",
            ),
            "card-ambiguous": ("several cards fit", "name one by serial= in the URI; none is guessed"),
            "card-no-key": (
                "there is no key of yours on this card",
                "see that it is the right one, or make a key: `coldcredctl operator keygen FILE --card URI`",
            ),
            "card-many-keys": ("several keys on the card fit", "name one by id= in the URI; none is guessed"),
            "card-has-key": ("there is a key on the card already", "use it, or name another by id= in the URI"),
            "card-key-exposed": (
                "the key on the card could leave it, or was not born there",
                "make another with `coldcredctl operator keygen FILE --card URI`, and have that enrolled",
            ),
            "card-key-unfit": (
                "the key on the card is not as `keygen` makes it",
                "make another with `coldcredctl operator keygen FILE --card URI`, and have that enrolled",
            ),
            "card-of-appliance": ("this token is an appliance's, and no card of yours", "take a card of your own"),
            "card-unable": ("the card cannot do that", "choose the other --algorithm, or another card"),
            "card-refused": (
                "this is nothing that an operator's key signs",
                "sign with the key that it takes: the root of trust takes a custodian's",
            ),
            "card-damaged": ("the card gave a wrong signature", "treat the card as damaged; have your key replaced"),
            "card-lost": ("the card went away, or did not answer", "attach it and run the command again"),
            "card-fault": ("the card reports a fault", "see that it is attached and healthy, then try again"),
        },
    }
)
