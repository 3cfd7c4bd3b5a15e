"""The log: entries in a hash chain, the Merkle tree over them, signed checkpoints. Pure: bytes in, values out."""
