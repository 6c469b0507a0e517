"""What the command of c/throughput.h does, in plain Python: plain_copies.py (OPERATION WHERE TOTAL PIECE)..."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from time import perf_counter_ns


def write_all(fd: int, total: int, piece: int) -> None:
    view = memoryview(bytes(piece))
    while total:
        rest = view[: min(piece, total)]
        total -= len(rest)
        while rest:
            rest = rest[os.write(fd, rest) :]


def read_all(fd: int, total: int, piece: int) -> None:
    while total:
        data = os.read(fd, min(piece, total))
        if not data:
            raise EOFError(f"{total} bytes are missing")
        total -= len(data)


def stdout(where: str, total: int, piece: int) -> None:
    write_all(1, total, piece)


def stdin(where: str, total: int, piece: int) -> None:
    read_all(0, total, piece)


def splice(where: str, total: int, piece: int) -> None:
    while total:
        data = memoryview(os.read(0, min(piece, total)))
        if not data:
            raise EOFError(f"{total} bytes are missing")
        total -= len(data)
        while data:
            data = data[os.write(1, data) :]


def write(path: str, total: int, piece: int) -> None:
    with open(path, "wb", buffering=0) as file:
        write_all(file.fileno(), total, piece)


def read(path: str, total: int, piece: int) -> None:
    with open(path, "rb", buffering=0) as file:
        read_all(file.fileno(), total, piece)


def send(port: str, total: int, piece: int) -> None:
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        write_all(connection.fileno(), total, piece)


def receive(port: str, total: int, piece: int) -> None:
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        read_all(connection.fileno(), total, piece)


OPERATIONS: dict[str, Callable[[str, int, int], None]] = {
    function.__name__: function for function in (stdout, stdin, splice, write, read, send, receive)
}


def main(words: list[str]) -> None:
    for name, where, total, piece in zip(*[iter(words)] * 4, strict=True):
        started = perf_counter_ns()
        OPERATIONS[name](where, int(total), int(piece))
        sys.stderr.write(f"{name} {piece} {perf_counter_ns() - started}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
