"""A command of WASI 0.2 in Python, over its standard library. See ../README.md for its arguments.

There is no import system when it runs: what it needs is imported here, as that is done when it is built. `connect HOST
PORT` sends a line to a server and prints what comes back, `gather N` has N tasks that sleep at once. Both are by
asyncio as it is, which makes a connection to itself at 127.0.0.1, and would look names up in a thread, which can't be
had.
"""

# ruff: noqa: T201
import asyncio
import encodings.idna  # noqa: F401 - what socket looks host names up with
import os
import socket
import sys
import time

from wit_world import exports


def run(verb: str = "", *args: str) -> None:
    match verb, *args:
        case "arguments", *_:
            print(*sys.argv, sep="\n")
        case "variable", name:
            print(os.environ[name])
        case ("upper",):
            for line in sys.stdin:
                print(line.upper(), end="", flush=True)
        case "lines", count:
            for number in range(int(count)):
                print(number)
        case "sleep", milliseconds:
            time.sleep(int(milliseconds) / 1000)
            print("slept")
        case "copy", source, target:
            with open(source) as read, open(target, "w") as write:
                write.write(read.read().upper())
        case "list", path:
            print(*sorted(os.listdir(path)), sep="\n")
        case "status", status:
            sys.exit(int(status))
        case "connect", host, port:
            asyncio.run(connect(host, int(port)))
        case "gather", count:
            asyncio.run(gather(int(count)))
        case _:
            sys.exit("no such verb")


async def connect(host: str, port: int) -> None:
    *_, (address, *_) = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0]
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"hello\n")
    writer.write_eof()
    print((await reader.read()).decode(), end="")
    writer.close()


async def gather(count: int) -> None:
    async def sleep(index: int) -> None:
        await asyncio.sleep(index / 10)
        print(index)

    await asyncio.gather(*(sleep(index) for index in range(count, 0, -1)))


class Run(exports.Run):
    def run(self) -> None:
        try:
            run(*sys.argv[1:])
        except (OSError, KeyError) as error:
            sys.exit(repr(error))
