"""The engine: recovery at the start, the loop that serves, and the way to the HSM."""

from appliance.engine.loop import Engine

__all__ = ["Engine"]
