"""What a person is shown before they sign: by meaning, whole, and so that nothing in it can look like something else.

Pure. The lines of a rendering do not depend on who looks, when, or how wide their screen is, so their SHA-256 can be
signed; only `frame.rows` lays them out.
"""
