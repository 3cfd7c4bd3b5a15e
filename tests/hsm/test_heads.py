"""The head of a log that its token keeps (R33): signed only as it grows, by whichever process, and through kills."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

import pytest

from coldcred.charter import Purpose
from coldcred.log.tree import consistency_proof, root_of
from hsm.ckr import BY_CODE
from hsm.errors import HeadRefused, HsmError, TokenFault, TokenMissing, WorkerLost
from hsm.heads import KeptHead, label, read
from hsm.keystore import KeyStore
from hsm.process import COMMAND
from tests.support.fake_keystore import FakeKeyStore, MemoryToken, NoData
from tests.support.hsm_inputs import CASES, LEAVES, admitted, keep, log_input, sign, signatures, tree_input
from tests.support.softhsm import SoftHsm, kill_worker
from tests.support.strace import Point

KEY = b"0123456789abcdef"

MAKERS: dict[str, Callable[[SoftHsm], KeyStore]] = {
    "fake": lambda _: FakeKeyStore(),
    "softhsm": lambda softhsm: softhsm.store(),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, softhsm: SoftHsm) -> KeyStore:
    """Return an empty key store of each implementation."""
    return MAKERS[request.param](softhsm)


def head(size: int) -> KeptHead:
    """Give the head of the first `size` of `LEAVES`."""
    return KeptHead(size, root_of(LEAVES[:size]))


def test_a_checkpoint_is_signed_as_the_head_that_was_kept_last(store: KeyStore) -> None:
    """The log key signs what was kept last and nothing that nobody had kept before, grown or not."""
    public = admitted(store, Purpose.LOG)
    assert store.kept(KEY) is None
    assert isinstance(store.sign(KEY, [tree_input(3)])[0], HeadRefused)
    for size in (3, 7, 8, 8):
        assert keep(store, KEY, tree_input(size)) is True
        assert store.kept(KEY) == head(size)
        public.verify(signatures(store.sign(KEY, [tree_input(size)]))[0], tree_input(size))
        assert isinstance(store.sign(KEY, [tree_input(size + 1)])[0], HeadRefused)


FORKS: dict[str, tuple[bytes, Sequence[bytes]]] = {
    "shorter": (tree_input(4), ()),
    "another root": (log_input(5, root=b"x" * 32), ()),
    "no proof": (tree_input(9), ()),
    "another proof": (tree_input(9), consistency_proof(LEAVES[:9], 4)),
    "proof of another root": (log_input(9, root=b"x" * 32), consistency_proof(LEAVES[:9], 5)),
}


@pytest.mark.parametrize("fork", FORKS)
def test_a_head_that_has_not_grown_is_refused(store: KeyStore, fork: str) -> None:
    """Whoever asks, also an engine that lies: the kept head stays, and nothing but that is signed."""
    admitted(store, Purpose.LOG)
    signatures(sign(store, KEY, [tree_input(5)]))
    text, proof = FORKS[fork]
    with pytest.raises(HeadRefused):
        store.keep(KEY, text, proof)
    assert store.kept(KEY) == head(5)
    assert isinstance(store.sign(KEY, [text])[0], HsmError)
    signatures(sign(store, KEY, [tree_input(9)]))


def test_the_head_outlives_its_process(softhsm: SoftHsm) -> None:
    """A new worker, and a new store that was told nothing, find the head in the token, and no foreign object."""
    store = softhsm.store()
    public = admitted(store, Purpose.LOG)
    for size in (5, 6):
        signatures(sign(store, KEY, [tree_input(size)]))
    kill_worker(store)
    assert store.kept(KEY) == head(6)
    store.close()
    later = softhsm.store()
    later.admit(KEY, CASES[Purpose.LOG].charter, public)
    assert later.kept(KEY) == head(6)
    with pytest.raises(HeadRefused):
        later.keep(KEY, tree_input(5), ())
    found = later.inventory()
    assert (found.foreign, found.heads) == ((), (KEY,))


def test_two_processes_on_one_token_find_each_other(softhsm: SoftHsm) -> None:
    """What one keeps binds the other at once: of two histories the second is not signed."""
    one, two = softhsm.store(), softhsm.store()
    public = admitted(one, Purpose.LOG)
    two.admit(KEY, CASES[Purpose.LOG].charter, public)
    signatures(sign(one, KEY, [tree_input(5)]))
    signatures(sign(two, KEY, [tree_input(6)]))
    signatures(sign(one, KEY, [tree_input(8)]))
    with pytest.raises(HeadRefused):
        two.keep(KEY, log_input(9, root=b"x" * 32), consistency_proof(LEAVES[:9], 6))


def test_a_token_without_data_objects_leaves_the_head_to_the_worker() -> None:
    """`keep` says so, checkpoints are signed, and while the worker lives it takes nothing back."""
    store = FakeKeyStore(NoData())
    admitted(store, Purpose.LOG)
    assert keep(store, KEY, tree_input(5)) is False
    signatures(store.sign(KEY, [tree_input(5)]))
    with pytest.raises(HeadRefused):
        store.keep(KEY, tree_input(4), ())


class OutOfMemory(MemoryToken):
    """A token whose module has no memory left for as many calls that ask for its head."""

    def __init__(self, short: int) -> None:
        super().__init__()
        self.short = short

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the head, once there is memory."""
        if self.short:
            self.short -= 1
            raise BY_CODE[0x002].error("the module has no memory left")
        return super().kept(key_id)


def test_a_passing_fault_is_not_taken_for_a_token_that_keeps_nothing() -> None:
    """A new worker whose module cannot say now what the token keeps signs nothing older, and later goes on."""
    token = OutOfMemory(1)
    public = admitted(FakeKeyStore(token), Purpose.LOG)
    token.heads[KEY] = head(5)
    store = FakeKeyStore(token)
    store.admit(KEY, CASES[Purpose.LOG].charter, public)
    with pytest.raises(TokenFault):
        store.keep(KEY, tree_input(4), ())
    assert isinstance(store.sign(KEY, [tree_input(4)])[0], HeadRefused)
    assert keep(store, KEY, tree_input(7)) is True
    assert token.kept(KEY) == head(7)


def test_a_label_is_read_as_it_is_written() -> None:
    """Every head has one label, and nothing else is read as one."""
    for size in (0, 1, 2**53 - 1):
        assert read(label(KEY, KeptHead(size, b"\x01" * 32))) == (KEY, KeptHead(size, b"\x01" * 32))
    for other in ("", "log-head", label(KEY, head(3)) + "0", label(KEY, head(3)).replace("-3-", "-03-")):
        assert read(other) is None


@pytest.mark.parametrize("left", [0, 30, 200])
def test_a_head_that_was_cut_short_leaves_the_one_before(softhsm: SoftHsm, left: int) -> None:
    """Whichever of the two objects a power cut spoils, the other is read, nothing is foreign, and the log goes on."""
    store = softhsm.store()
    public = admitted(store, Purpose.LOG)
    before = set(softhsm.object_files())
    signatures(sign(store, KEY, [tree_input(5), tree_input(6)]))
    store.close()
    heads = [path for path in softhsm.object_files() if path not in before]
    assert len(heads) == 2
    sound = softhsm.folder / "sound"
    shutil.copytree(softhsm.tokens, sound)
    kept = set()
    for path in heads:
        path.write_bytes(path.read_bytes()[:left])
        with closing(softhsm.store()) as again:
            assert again.inventory().foreign == ()
            again.admit(KEY, CASES[Purpose.LOG].charter, public)
            kept.add(again.kept(KEY))
            signatures(sign(again, KEY, [tree_input(9), tree_input(12)]))
            assert again.inventory().foreign == ()
        shutil.rmtree(softhsm.tokens)
        shutil.copytree(sound, softhsm.tokens)
    assert kept == {head(5), head(6)}


def killed_in_keeping(softhsm: SoftHsm, sizes: Sequence[int], numbers: Sequence[int]) -> int:
    """Kill the worker at each of these writes while it keeps heads of `sizes`; gives how often it came so far."""
    with closing(softhsm.store()) as first:
        public = admitted(first, Purpose.LOG)
        if sizes[0] > 1:
            signatures(sign(first, KEY, [tree_input(1), tree_input(2)]))
    sound, kills = softhsm.folder / "sound", 0
    shutil.copytree(softhsm.tokens, sound)
    for number in numbers:
        command = (*Point("write", number).kill(), *COMMAND)
        with closing(softhsm.store(command=command)) as store, suppress(HsmError):
            store.admit(KEY, CASES[Purpose.LOG].charter, public)
            for size in sizes:
                keep(store, KEY, tree_input(size))
        with closing(softhsm.store()) as again:
            try:
                found = again.inventory()
            except TokenMissing:  # killed in the login, which SoftHSM notes in the token itself
                shutil.rmtree(softhsm.tokens)
                shutil.copytree(sound, softhsm.tokens)
                continue
            again.admit(KEY, CASES[Purpose.LOG].charter, public)
            kept = again.kept(KEY)
            kills += kept != head(sizes[-1])
            least = 0 if sizes[0] == 1 else 2
            assert kept is None or least <= kept.size <= sizes[-1], (number, kept)
            assert (kept is not None) or least == 0, (number, found)
            # SoftHSM names a file before it writes what it is: such an object nobody can tell from a key cut short.
            assert found.foreign == () or "no class" in found.foreign[0], (number, found)
            if found.foreign == ():
                signatures(sign(again, KEY, [tree_input(20), tree_input(21)]))
                assert again.inventory().foreign == ()
        shutil.rmtree(softhsm.tokens)
        shutil.copytree(sound, softhsm.tokens)
    return kills


def test_a_kill_while_a_head_is_kept_leaves_a_head_that_is_behind_the_log(softhsm: SoftHsm) -> None:
    """SIGKILL at writes of the worker: the token has one of the heads it was given, and goes on from there."""
    assert killed_in_keeping(softhsm, (4, 6, 9), range(3, 6)) > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sizes", [(1, 2, 3), (4, 6, 9)])
def test_a_kill_at_each_write_of_a_head_leaves_a_head_that_is_behind_the_log(
    softhsm: SoftHsm, sizes: Sequence[int]
) -> None:
    """The long form: every write, also of the first heads."""
    assert killed_in_keeping(softhsm, sizes, range(1, 40)) > 2


def test_a_worker_that_dies_between_head_and_signature_goes_on_from_the_head(softhsm: SoftHsm) -> None:
    """The head is there before the token signs, so what may have been signed binds the next worker."""
    store, _ = softhsm.spied_store("kill@1", "once")
    admitted(store, Purpose.LOG)
    assert isinstance(sign(store, KEY, [tree_input(5)])[0], WorkerLost)
    assert store.kept(KEY) == head(5)
    signatures(sign(store, KEY, [tree_input(6)]))
