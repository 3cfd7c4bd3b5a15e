"""The test suite. It may import everything; nothing imports it."""
