"""`p3host serve`: servers for ASGI applications, processes that work side by side, a log of requests and metrics."""
