"""What is said to people when something is not done: what, in what state that leaves things, and what to do next.

The engine gives stable ids and a detail; every sentence of advice is here, those of tokens and cards beside it. The
texts follow the terminal manners of the rest: no capitals, no full stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from appliance.cli.messages_of_tokens import TOKENS


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence each: what happened, the state now, what to do next."""

    what: str
    state: str
    next: str


_BY_STATE = {
    "nothing was changed": {
        "malformed": (
            "something is not in the form it must have",
            "mend what is named above and run the command again",
        ),
        "unknown-signer": (
            "the key that signed this is not enrolled here",
            "sign with your operator key: --as KEYFILE",
        ),
        "bad-signature": (
            "a signature does not fit",
            "ask for the file anew; it was changed on its way, or signed by another key",
        ),
        "wrong-appliance": ("this was signed for another appliance", "check --home, then sign anew for this appliance"),
        "wrong-epoch": (
            "this was signed before the appliance was restored",
            "sign it anew; what is older does not count any more",
        ),
        "unknown-request": (
            "no such request waits here",
            "list what waits with `coldcredctl request list`; it may be done already",
        ),
        "policy-invalid": (
            "this is no policy that can be in force",
            "mend the line that is named above; `coldcredctl policy check FILE` reads it again",
        ),
        "policy-locks-out": (
            "under this policy people could not go on",
            "permit the act that is named above, then set it anew",
        ),
        "over-budget": (
            "answering that would keep the appliance from its work for too long",
            "ask about less: fewer workloads or credentials at once, or export the log and look there",
        ),
        "busy": ("the appliance has too much to do", "wait a moment and run the same command again"),
        "internal": (
            "the appliance met a defect of its own and ended this submission, and nothing else",
            "report the incident that is named above; an officer finds it in the log as `submission.failed`",
        ),
        "stopping": ("the appliance is stopping", "start it again and run the same command"),
        "quota-exceeded": (
            "you have asked for more than one signer may",
            "wait as long as it says, or see `coldcredctl request list` and have some of them approved or denied",
        ),
        "disk-reserve": (
            "the disk is almost full",
            "make room on the disk of the home; revoking, the bundle with it, suspending and reading go on",
        ),
        "pin-delayed": (
            "too many wrong PINs were tried",
            "wait as long as it says; meanwhile make sure of the PIN, since tokens count too",
        ),
        "home-missing": (
            "there is no appliance in this home",
            "check --home; a new one is made with `coldcredctl init`",
        ),
        "home-exists": ("this place is taken", "choose another --home; a home is never overwritten"),
        "home-version": (
            "the home is of another version",
            "use the program that wrote it, or the one that follows this one",
        ),
        "home-in-use": (
            "another process has this home open",
            "wait for it to end; `serve` is reached through its socket",
        ),
        "identity-exists": ("there is a key already", "choose another name; a key is never overwritten"),
        "identity-missing": ("there is no such key file", "check the path, or `coldcredctl operator keygen`"),
        "identity-unreadable": ("the key file cannot be read", "run this as the user who owns it"),
        "identity-unwritable": ("the key file cannot be written", "choose a folder that you can write"),
        "identity-too-open": ("others can read the key file", "chmod 600 on the key file"),
        "identity-not-a-key": ("this is not a key of ours", "name the file `operator keygen` made"),
        "identity-not-encrypted": ("the key has no passphrase", "give it one: ssh-keygen -p -f KEYFILE"),
        "identity-wrong-passphrase": ("the passphrase is wrong", "try again"),
        "identity-weak-passphrase": ("the passphrase is too weak", "take a longer one: four random words"),
        "signatures-missing": (
            "not everybody has signed",
            "have those who are named above run `coldcredctl init sign` with that key, then run this again with all",
        ),
        "founding-key-too-short": (
            "a key of this plan would end before the first trust does",
            "give the key a longer valid_for in the plan, or shorten horizons.window and horizons.grace",
        ),
        "founding-metadata-too-short": (
            "what custodians sign would end before trust does",
            "lengthen the horizon that is named above in the plan, or shorten window and grace",
        ),
        "founding-audience-without-key": (
            "no key could ever sign for an audience of this plan",
            "add the audience to the charter of a key in the plan, or leave it out",
        ),
        "founding-audience-without-site": (
            "an audience of a profile lives nowhere",
            "add it to the audiences of a site in the plan, or leave it out of the profile",
        ),
        "founding-kind-without-key": (
            "no key signs credentials of this profile's kind",
            "add a key for tokens of that kind to the plan, or change the profile",
        ),
        "founding-subject-without-key": (
            "no key could ever sign for a subject of this profile",
            "add the subject to the charter of a key in the plan, or change the profile",
        ),
        "founding-lifetime-too-long": (
            "no key may sign credentials that live as long as this profile says",
            "shorten the profile's lifetime, or lengthen that of the key's charter in the plan",
        ),
        "founding-quorum-unreachable": (
            "these people can never be as many as the plan asks for",
            "lower the number in the plan, or name more people, or give them other roles",
        ),
        "trust-unfounded": (
            "what is prepared does not follow from the founding, or from what was signed last",
            "sign nothing of it; ask who prepared it, and have it prepared anew with `coldcredctl trust prepare`",
        ),
        "not-a-custodian": ("somebody else signed", "use signatures by custodian keys of this appliance"),
        "too-few-custodians": ("too few custodians signed", "have more of them run `coldcredctl trust sign`"),
        "not-a-founder": ("this key has no place in the founding", "sign with a key that the founding names"),
        "no-terminal": ("there is no terminal to ask at", "use --passphrase-fd N or --pin-fd N before the verb"),
        "secret-descriptor": ("a descriptor cannot be used", "open it on the same line: N<FILE; `sudo` closes it"),
        "secret-empty": ("a secret is empty", "give it on one line, ended by a newline"),
        "secret-too-long": ("a secret is too long", "check what the descriptor reads from"),
        "secret-unusable": (
            "this cannot be a secret that somebody typed",
            "give it on a line of plain text; nothing was tried with it",
        ),
        "secret-differs": ("a new secret was typed differently", "run the command again"),
        "pin-part-unusable": ("this is no part of a PIN", "type 8 to 32 printable characters, without spaces"),
        "credential-unusable": (
            "the credential with the PIN cannot be used",
            "see that it is named after a token, and is root's or the service's own file, which nobody else can read",
        ),
        "credential-for-ceremony": (
            "the PIN of a ceremony's token lies in the service manager's care",
            "remove the credential and change the PIN: two people give it, in two parts",
        ),
        "memory-unguarded": (
            "the system refuses to guard this program's memory",
            "run it where setrlimit and prctl are allowed; no secret was read",
        ),
        "not-serving": (
            "the appliance cannot be reached",
            "start it with `coldcredctl serve`, as its user; with --pin-fd N this verb opens the home by itself",
        ),
        "service-busy": ("the appliance serves too many at once", "wait a moment and run it again"),
        "token-exists": ("there is a token of that label", "choose another label; none is overwritten"),
        "pin-unusable": ("the token does not take such a PIN", "choose 4 to 32 digits or letters"),
        "misuse": ("this is not how the verb is used", "`coldcredctl VERB --help` says how"),
        "output-unfit": (
            "a file that is to be written would take the place of another that is needed",
            "name another file for it",
        ),
        "file": ("a file cannot be read or written", "check the path and who may use it"),
        "log-rejected": ("the log does not hold", "keep a copy of the home as it is"),
    },
    "nothing was changed; the refusal is in the log": {
        "expired": ("the request has ended", "make a new request and have it approved anew"),
        "not-yet-valid": (
            "this was signed in the future of this machine",
            "compare the clocks of both machines, then sign anew",
        ),
        "not-allowed": (
            "you may not do this",
            "ask somebody whom the rule above lets do it; `coldcredctl policy show` has the policies",
        ),
        "denied": ("somebody denied the request", "talk to them; a denied request stays denied"),
        "unknown-workload": (
            "the workload is not enrolled",
            "enrol it with `coldcredctl workload enrol`, or check its SPIFFE ID",
        ),
        "unknown-profile": ("there is no such profile", "see `coldcredctl profile list`"),
        "unknown-site": (
            "no site answers for this audience",
            "see `coldcredctl site list`, or add one with `site add`",
        ),
        "unknown-person": ("there is no such person", "name somebody who is enrolled: `coldcredctl operator list`"),
        "unknown-credential": ("no such credential is alive here", "look for its jti in `coldcredctl log show`"),
        "nothing-to-revoke": (
            "nothing is left to revoke there",
            "see `coldcredctl log show`: it ended, or is revoked already",
        ),
        "unknown-key": ("there is no such key", "see `coldcredctl key list`, or `operator list` for people's keys"),
        "key-suspended": (
            "the signing key is suspended",
            "two people make it sign again with `coldcredctl key activate NAME --reason WHY`",
        ),
        "key-ended": (
            "the signing key has ended",
            "see `coldcredctl key list`; reading goes on, and exports up to the newest checkpoint",
        ),
        "not-suspended": ("nothing is suspended there", "see what stands; nothing is to be done"),
        "approval-void": (
            "the approval was given for something else than what stands now",
            "read the request as it is now and approve it anew",
        ),
        "already-approved": ("this person approved it already", "another person has to approve it"),
        "withdrawn": ("the request was withdrawn by whoever made it", "make a new request if it is needed after all"),
        "below-quorum": (
            "too few people would be left for some act",
            "first enrol somebody who can take the place, or give somebody else the role",
        ),
        "last-key": (
            "it is the person's last key",
            "enrol another one first, or let them go with `coldcredctl operator remove`",
        ),
        "already-exists": ("there is one of that name already", "choose another name, or see what stands"),
        "key-in-use": ("this key is known here in another place", "make a new key; one key stands for one thing only"),
        "review-overdue": (
            "the workload's review is overdue",
            "ask its owner; enrol it again under a new review date",
        ),
        "outside-profile": (
            "the request does not fit the profile",
            "see `coldcredctl profile list`, then ask for less or add what it requires",
        ),
        "workload-suspended": (
            "the workload is suspended",
            "find out why in `coldcredctl log show`; two people resume it",
        ),
        "owner-left": (
            "the workload's owner is enrolled no more",
            "somebody who is takes it over: `coldcredctl workload adopt ID --owner PERSON --reason WHY`",
        ),
        "review-missed": (
            "an access review was not confirmed by its date",
            "see `coldcredctl review show`; it goes on once somebody who may confirms it with `review confirm`",
        ),
        "review-open": (
            "an access review is open",
            "see `coldcredctl review show` for what is left to confirm",
        ),
        "unknown-review": ("no such access review is open", "see `coldcredctl review show`"),
        "too-few-people": (
            "not enough people signed for the request",
            "have somebody else approve it, then complete it again: `coldcredctl request list` says who signed",
        ),
        "toxic-combination": (
            "this workload, or its owner, holds what must not be held together",
            "see `coldcredctl inventory --toxic`; wait until the other credential ends, or revoke it",
        ),
        "charter-exceeded": (
            "the signing key may not sign this",
            "see `coldcredctl key list`; a charter cannot be widened",
        ),
        "no-trust": (
            "the custodians have not signed any trust yet",
            "`coldcredctl trust prepare`, `trust sign`, `trust submit`",
        ),
        "trust-refused": (
            "what the custodians signed does not fit this appliance",
            "begin again with `coldcredctl trust prepare`",
        ),
        "no-window": (
            "no published window covers that time",
            "have custodians sign the next window (`coldcredctl trust prepare --out FILE`), or ask for a shorter life",
        ),
        "no-bundle": (
            "no bundle was made for the site yet",
            "make one with `coldcredctl bundle create --site SITE --out FILE`",
        ),
        "list-full": (
            "the status list is full",
            "make the site's next bundle, which brings the next list",
        ),
        "key-not-ready": (
            "the signing key is not made yet, or its token is not open",
            "start the appliance with the token's PIN; it makes what is missing",
        ),
        "key-ends": (
            "a signing key ends before that",
            "no key is made anew yet: found another appliance before trust ends; `coldcredctl key list` says when",
        ),
    },
    "no bundle was made; the log and the site are as they were": {
        "log-forked": (
            "the site holds a checkpoint of another history than this log",
            "stop this appliance, whose home was put back or copied; give that checkpoint and an export to an auditor",
        ),
    },
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
    "nothing more is signed from this home; its log keeps all that stands in it, and the token its head": {
        "home-behind-token": (
            "another home, or a newer state of this one, used the token since",
            "serve the newest home and no other; if it is lost, do not go on with this one: see docs/threat-model.md",
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
    "the act was carried out and is in the log; its file is lost": {
        "output-lost": ("what was made could not be written", "make room, ask anew, and revoke the lost credential"),
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

MESSAGES: Mapping[str, Message] = MappingProxyType(
    {
        name: Message(what, state, advice)
        for state, messages in (*_BY_STATE.items(), *TOKENS.items())
        for name, (what, advice) in messages.items()
    }
)
"""Every message by the id of what happened; closed."""
