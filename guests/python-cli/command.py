"""A command of WASI 0.3 in Python: its arguments and its standard streams by WASI 0.3, all at once. What else Python's
standard library does goes by WASI 0.2.

Prints its arguments, sleeps three times at once, then copies standard input to standard output in upper case.
"""

import asyncio

import wit_world
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import environment, monotonic_clock, stdin, stdout

MILLISECOND = 1_000_000  # nanoseconds


async def sleep(milliseconds: int) -> bytes:
    await monotonic_clock.wait_for(milliseconds * MILLISECOND)
    return f"slept {milliseconds} ms\n".encode()


class Run(exports.Run):
    async def run(self) -> None:
        writer, reader = wit_world.byte_stream()
        written = stdout.write_via_stream(reader)
        with writer:
            await writer.write_all(" ".join(environment.get_arguments()).encode() + b"\n")
            for slept in asyncio.as_completed([sleep(30), sleep(20), sleep(10)]):
                await writer.write_all(await slept)
            source, _ = stdin.read_via_stream()
            with source:
                while not source.writer_dropped:
                    await writer.write_all((await source.read(4096)).upper())
        if isinstance(await written.read(), Err):
            raise Err(None)
