"""img402.dev, paid over x402: the host, its options, buying, the journal, the wire and the wallet.

This file loads nothing: a warm build reads options and host, and `imghost status` the journal alone.
"""
