"""Keys inside a PKCS#11 token, in a process of their own: the only floor that knows an HSM exists."""
