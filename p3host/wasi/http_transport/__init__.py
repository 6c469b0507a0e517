"""HTTP/1.1 over the network: what `Http` grants, and the connections that carry it."""
