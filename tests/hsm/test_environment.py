"""Which variables reach a PKCS#11 module, and from where their paths are seen."""

import pytest

from hsm.environment import NAMES, PREFIXES, absolute, check, is_known

REFUSED = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PATH", "HOME", "OPENSSL_CONF", "GCONV_PATH",
           "PKCS11SPY", "softhsm2_conf", "SOFTHSM2_CONF2", "XNSS_", "", "TPM2_PKCS11")  # fmt: skip


@pytest.mark.parametrize("name", [*sorted(NAMES), *(f"{prefix}X" for prefix in PREFIXES)])
def test_what_modules_read_is_given(name: str) -> None:
    """Each name and each beginning of the list."""
    assert is_known(name)
    check({name: "value"})


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_is_given(name: str) -> None:
    """What loads code, what nobody reads, and a name that is nearly one; the sentence names all that there are."""
    assert not is_known(name)
    with pytest.raises(ValueError, match="is not among those") as caught:
        check({"SOFTHSM2_CONF": "/c", name: "value"})
    assert all(known in str(caught.value) for known in (*NAMES, *PREFIXES))


@pytest.mark.parametrize(("name", "value"), [("NSS_X", "a\0b"), ("NSS_=X", "v"), ("NSS_\u00e9", "v")])
def test_what_no_process_can_be_given_is_refused(name: str, value: str) -> None:
    """A NUL, an equals sign in a name, a letter beyond ASCII."""
    with pytest.raises(ValueError, match="cannot be given"):
        check({name: value})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("SOFTHSM2_CONF", "softhsm2.conf", "/here/softhsm2.conf"),
        ("SOFTHSM2_CONF", "/etc/softhsm2.conf", "/etc/softhsm2.conf"),
        ("KRYOPTIC_CONF", "../k.conf", "/k.conf"),
        ("CS_PKCS11_R3_CFG", "cs.cfg", "/here/cs.cfg"),
        ("PRIMUS_HOME", "primus", "/here/primus"),
        ("TPM2_PKCS11_STORE", "store", "/here/store"),
        ("ChrystokiConfigurationPath", ".", "/here"),
        ("ET_PTKC_X", "./x", "/here/x"),
        ("TPM2_PKCS11_TCTI", "swtpm:path=s", "swtpm:path=/here/s"),
        ("TPM2_PKCS11_TCTI", "swtpm:path=/s", "swtpm:path=/s"),
        ("TPM2_PKCS11_TCTI", "device:/dev/tpmrm0", "device:/dev/tpmrm0"),
        ("P11_KIT_SERVER_ADDRESS", "unix:path=run/p11", "unix:path=/here/run/p11"),
        ("NSS_LIB_PARAMS", "configdir='sql:db' certPrefix=''", "configdir='sql:/here/db' certPrefix=''"),
        ("NSS_LIB_PARAMS", "configDir=/db", "configDir=/db"),
        ("TSS2_LOG", "all+NONE", "all+NONE"),
        ("CKNFAST_LOADSHARING", "1", "1"),
    ],
)
def test_paths_are_absolute_before_they_are_kept(name: str, value: str, found: str) -> None:
    """A whole value, or a path inside one, is seen from the folder of whoever gave it; the rest stays as it is."""
    assert absolute({name: value}, "/here") == {name: found}
