"""One module per credential format: from a decided credential to the bytes the HSM signs."""
