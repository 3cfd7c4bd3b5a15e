"""`coldcredctl`: the appliance from a terminal or a script. It holds no rules; they are the engine's."""

from appliance.cli.app import main

__all__ = ["main"]
