"""A PIN that the service manager hands over: one file for each daily token in `$CREDENTIALS_DIRECTORY`.

systemd unseals it there for the service alone (`LoadCredentialEncrypted=`), as a file of root or of the service's user.
"""

import os
import stat
import struct
from pathlib import Path

from appliance.cli import secret_input
from appliance.cli.secret_input import SecretError, SecretFault

_PREFIX = "coldcred.pin."
_ACL = "system.posix_acl_access"
_ACL_HEAD, _ACL_ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER, _GROUP_OBJ, _GROUP = 0x02, 0x04, 0x08


def path(directory: Path, label: str) -> Path:
    """Give the file that holds the PIN of the token `label`."""
    return directory / f"{_PREFIX}{label}"


def named(directory: Path) -> list[str]:
    """Give the names in a credential directory that are those of PINs; what is there beside them is not ours."""
    try:
        return sorted(file.name for file in directory.iterdir() if file.name.startswith(_PREFIX))
    except OSError as error:
        raise SecretError(SecretFault.CREDENTIAL, f"{directory}: {error.strerror}") from error


def read(file: Path) -> bytearray:
    """Read a PIN; raises `SecretError` for a file that others can read, or that is not one."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise SecretError(SecretFault.CREDENTIAL, f"{file}: {error.strerror}") from error
    try:
        if fault := _fault(descriptor):
            raise SecretError(SecretFault.CREDENTIAL, f"{file} {fault}")
        return secret_input.from_descriptor(descriptor, f"PIN in {file.name}")
    finally:
        os.close(descriptor)


def _fault(descriptor: int) -> str | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if status.st_uid not in {0, os.geteuid()}:
        return f"belongs to user {status.st_uid}, neither to root nor to the service's user"
    # With an access list the group's bits are its mask: systemd lets the service's user in by such a list.
    open_to_group = status.st_mode & stat.S_IRWXG and not _is_for_us_alone(descriptor)
    if status.st_mode & stat.S_IRWXO or open_to_group:
        return f"can be used by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def _is_for_us_alone(descriptor: int) -> bool:
    """Whether there is an access list that lets in nobody but its owner, root and us."""
    try:
        listed = os.getxattr(descriptor, _ACL)
    except OSError:
        return False
    for tag, allowed, who in _ACL_ENTRY.iter_unpack(listed[_ACL_HEAD.size :]):
        others = tag in {_GROUP_OBJ, _GROUP} or (tag == _USER and who not in {0, os.geteuid()})
        if allowed and others:
            return False
    return True
