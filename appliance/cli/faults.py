"""What is said where the HSM, a card, the home, its disk or the way to it failed: what happened, and what to do next.

By the state that things are in then. `appliance.cli.messages` has the refusals, and all of it by id.
"""

from collections.abc import Mapping
from types import MappingProxyType

FAULTS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "the attempt is in the log; nothing unsigned left the appliance": {
            "hsm-fault": ("the HSM did not sign", "see that the token is there, then make a new request"),
        },
        "the appliance has stopped signing; what was acknowledged is on the disk": {
            "storage-fault": ("the log cannot be written", "see to the disk, then start the appliance again"),
        },
        "nothing is signed while the clock is behind the log": {
            "clock-fault": ("the clock went back", "set the clock right"),
        },
        "nothing was begun": {
            "clock-unusable": ("the clock stands where no clock is right", "set the clock right, then run it again"),
        },
        "the appliance did not start; its log and keys are as they were": {
            "home-unreadable": ("the home cannot be read", "run this as the user who owns the home"),
            "home-read-only": ("the home cannot be written", "mount it writable, or mend its owner and mode"),
            "settings-invalid": ("the settings are not valid", "mend settings.toml in the home"),
            "founding-invalid": ("the founding cannot be read", "bring back founding.json; its bytes never change"),
            "module-open": (
                "others could change the PKCS#11 module",
                "have it and its folders belong to root or to the appliance's user, and writable by nobody else",
            ),
            "other-home": ("this is the log of something else", "check --home"),
            "clock-behind-log": ("the clock is behind the log", "set the clock right, then start again"),
            "hsm-content": ("the token does not hold what the log says", "see that the right token is attached"),
            "socket-in-use": ("something else answers on the socket", "stop the other server first"),
        },
        "nothing is signed from this home; its log, and what the token keeps, are as they were": {
            "home-behind-token": (
                "another home, or a newer state of this one, used the token since",
                "serve the newest home and no other; if it is lost, do not go on with this: see docs/threat-model.md",
            ),
        },
        "the appliance does not start on a damaged log; nothing was signed": {
            "log-damaged": (
                "the log is damaged",
                "keep a copy of the home as it is, then compare it with the newest export",
            ),
        },
        "nothing is signed that cannot be logged; what was acknowledged is on the disk": {
            "disk-full": ("the disk is full", "make room on the disk of the home, then start again"),
        },
        "the command may have been carried out": {
            "connection-lost": (
                "the answer did not arrive",
                "look at `coldcredctl log show`; the same request file is never carried out twice",
            ),
            "not-understood": ("the answer was not understood", "look at the log"),
            "outcome-unknown": (
                "this run ended before the answer was there",
                "look at `coldcredctl log show`; the same request file is never carried out twice",
            ),
            "interrupted-unknown": (
                "interrupted before the answer was there",
                "look at `coldcredctl log show`; the same request file is never carried out twice",
            ),
        },
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
        "the act was carried out and is in the log; its file is lost": {
            "output-lost": (
                "what was made could not be written",
                "make room, ask anew, and revoke the lost credential",
            ),
        },
        "the appliance took it, and its log says how it stands": {
            "report-lost": (
                "what became of it could not be written",
                "`coldcredctl log show` has it; nothing needs to be sent again",
            ),
        },
        "the record stands in the log; files are not kept": {
            "told-once": ("this was done before, and its file was given then", "ask anew with a new request"),
        },
        "nothing was sent": {
            "interrupted": ("interrupted", "run the same line again"),
        },
        "what was acknowledged is in the log; nothing else is": {
            "defect": ("a defect in the appliance stopped it", "run `coldcredctl log verify`, then start it again"),
            "unexpected": (
                "a defect in this program stopped it",
                "run `coldcredctl log verify`, then report what is said above",
            ),
        },
        "no decision follows the tables": {
            "tables-differ": (
                "the reading tables are not what the log says",
                "find out who wrote to the database, then `coldcredctl log rebuild`",
            ),
        },
    }
)
"""By the state, and by the id of the fault: what happened, and the advice."""
