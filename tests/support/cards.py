"""People's own PKCS#11 cards for tests: SoftHSM tokens apart from the appliance's, each with its own PIN."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.softhsm import MODULE, SoftHsm


@dataclass(frozen=True)
class Cards:
    """A folder with cards."""

    folder: Path

    @property
    def hsm(self) -> SoftHsm:
        """The SoftHSM configuration of the folder."""
        return SoftHsm(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the module finds the cards."""
        return self.hsm.environment

    def add(self, name: str) -> str:
        """Make a card of this name, whose PIN is `pin(name)`, and give its URI."""
        hsm = SoftHsm(self.folder, label=name)
        hsm.configure()
        hsm.tool("initialise", pin=self.pin(name))
        return self.uri(name)

    @staticmethod
    def pin(name: str) -> str:
        """Give the PIN of a card."""
        return f"canary-{name}-7181"

    @staticmethod
    def uri(name: str, path: str = "") -> str:
        """Give the URI of a card, `path` being more attributes of it."""
        return f"pkcs11:token={name}{path}?module-path={MODULE}"
