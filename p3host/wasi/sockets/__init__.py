"""TCP, UDP and name lookup, as far as both versions of `wasi:sockets` have them in common."""
