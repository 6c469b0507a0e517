"""What stdin, stdout and stderr can be."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st

from p3host.wasi.byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource
from p3host.wasi.stdio import (
    STDERR,
    STDOUT,
    FileSource,
    PollableSink,
    PollableSource,
    Stdio,
    ThreadSink,
    input_source,
    is_pollable,
    is_terminal,
    output_sink,
)

pytestmark = pytest.mark.anyio


async def read_all(source: ByteSource, max_count: int = PIECE) -> bytes:
    data = b""
    while True:
        piece = source.take(max_count)
        if piece is None:
            await source.wait()
        elif piece:
            data += piece
        else:
            return data


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    close(*ends)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    close(*ends)


def close(*fds: int) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass  # the test closed it


@pytest.mark.parametrize("grant", [None, b"", b"some input", bytearray(b"bytes"), memoryview(b"view")])
async def test_bytes_are_read_to_their_end(grant: Any) -> None:
    source = input_source(grant)
    assert source.ready()
    assert await read_all(source, 3) == bytes(grant or b"")
    assert source.take(1) == b""


@pytest.mark.parametrize("grant", ["text", 0, io.StringIO(), object()])
def test_a_grant_that_cannot_be_read_is_refused(grant: Any) -> None:
    with pytest.raises(TypeError, match="stdin must be"):
        input_source(grant)


@pytest.mark.parametrize("grant", ["text", b"bytes", 1, io.StringIO(), object()])
def test_a_grant_that_cannot_be_written_is_refused(grant: Any) -> None:
    with pytest.raises(TypeError, match="stdout and stderr must be"):
        output_sink(grant, STDOUT)


async def test_a_pipe_is_read_as_data_comes(pipe: tuple[int, int]) -> None:
    source = PollableSource(pipe[0])
    assert not source.ready()
    assert source.take(10) is None
    os.write(pipe[1], b"hello")
    await source.wait()
    assert source.take(3) == b"hel"
    assert source.take(10) == b"lo"
    assert source.take(10) is None
    os.close(pipe[1])
    await source.wait()
    assert source.take(10) == b""


async def test_waiting_for_a_pipe_leaves_the_loop_running_and_can_be_cancelled(pipe: tuple[int, int]) -> None:
    source = PollableSource(pipe[0])
    with anyio.move_on_after(0.02) as scope:
        await source.wait()
    assert scope.cancelled_caught
    os.write(pipe[1], b"x")
    await source.wait()
    assert source.take(1) == b"x"


async def test_two_readers_of_one_pipe_share_what_comes(pipe: tuple[int, int]) -> None:
    got: list[bytes] = []

    async def reader() -> None:
        got.append(await read_all(PollableSource(pipe[0]), 1))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            tasks.start_soon(reader)
            for byte in b"abcdef":
                await anyio.wait_all_tasks_blocked()
                os.write(pipe[1], bytes([byte]))
            os.close(pipe[1])
    assert sorted(b"".join(got)) == list(b"abcdef")


@pytest.fixture(params=[True, False], ids=["cached", "cold"])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the kernel has the files at hand."""
    if not request.param:

        def nothing_at_hand(*arguments: object) -> int:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(os, "preadv", nothing_at_hand)
    return bool(request.param)


async def test_a_file_is_read_at_once_or_in_a_thread(tmp_path: Path, cached: bool) -> None:
    data = os.urandom(2 * LARGE_PIECE + 5)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        assert not is_pollable(file.fileno())
        source = FileSource(file.fileno())
        assert source.ready() is cached
        first = source.take(1)
        assert first == (data[:1] if cached else None)
        assert (first or b"") + await read_all(source, 10_000) == data
        assert source.take(1) == b""


async def test_a_cached_file_is_read_no_further_than_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first line\nsecond")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert FileSource(file.fileno()).take(11) == b"first line\n"
        assert file.read() == b"second"


async def test_what_a_thread_reads_of_a_file_stays_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    begun, go_on = threading.Event(), threading.Event()

    def slow_read(fd: int, size: int) -> bytes:
        begun.set()
        go_on.wait(5)
        return read(fd, size)

    read = os.read
    monkeypatch.setattr(os, "read", slow_read)
    with (tmp_path / "file").open("rb") as file:
        source = FileSource(file.fileno())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.wait)
            await anyio.to_thread.run_sync(begun.wait)
            assert not source.ready()
            assert source.take(1) is None
            go_on.set()
        assert await read_all(source) == b"abc"


def use_up_own_threads() -> None:
    """Takes all worker threads that are the application's."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    for number in range(int(limiter.total_tokens)):
        limiter.acquire_on_behalf_of_nowait(number)


def is_not_at_hand(*arguments: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "the disk has to be read")


async def test_a_file_is_read_while_the_applications_own_threads_are_all_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    monkeypatch.setattr(os, "preadv", is_not_at_hand)
    use_up_own_threads()
    with (tmp_path / "file").open("rb") as file, anyio.fail_after(10):
        assert await read_all(FileSource(file.fileno())) == b"hello"


async def test_a_far_file_is_written_while_the_applications_own_threads_are_all_in_use(tmp_path: Path) -> None:
    use_up_own_threads()
    with (tmp_path / "file").open("wb") as file, anyio.fail_after(10):
        await ThreadSink(file.fileno()).write(b"hello")
    assert (tmp_path / "file").read_bytes() == b"hello"


async def test_a_directory_as_stdin_is_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        source = FileSource(fd)
        await source.wait()
        for _ in range(2):
            with pytest.raises(IsADirectoryError):
                source.take(1)
    finally:
        os.close(fd)


async def test_dev_null_is_read_and_written() -> None:
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        assert not is_pollable(fd)
        assert await read_all(FileSource(fd)) == b""
    finally:
        os.close(fd)


async def test_a_pipe_is_written_without_blocking(pipe: tuple[int, int]) -> None:
    sink = PollableSink(pipe[1])
    data = os.urandom(1 << 20)
    assert 0 < sink.room() <= PIECE
    done = sink.write_now(data)
    assert 0 < done < len(data)
    assert sink.room() == 0
    assert sink.write_now(b"x") == 0
    got = bytearray()

    def reader() -> None:
        while len(got) < len(data):
            got.extend(os.read(pipe[0], PIECE))

    thread = threading.Thread(target=reader)
    thread.start()
    with anyio.fail_after(5):
        await sink.write(data[done:])
    await anyio.to_thread.run_sync(thread.join)
    assert got == data


def test_an_empty_pipe_has_room_for_all_it_holds(pipe: tuple[int, int]) -> None:
    sink = PollableSink(pipe[1])
    assert sink.room() == fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
    os.write(pipe[1], b"xx")
    os.read(pipe[0], 1)
    assert select.PIPE_BUF < sink.room() < PIECE


@given(st.lists(st.integers(-20_000, 20_000) | st.sampled_from([1, 2048, 2049, 4095, 4096, 4097, -4096]), max_size=80))
def test_a_pipe_takes_at_once_what_it_has_room_for(moves: list[int]) -> None:
    """Whatever was written before, and (what is negative) read."""
    readable, writable = os.pipe()
    try:
        os.set_blocking(readable, False)
        sink = PollableSink(writable)
        for count in moves:
            if count < 0:
                with suppress(BlockingIOError):
                    os.read(readable, -count)
            else:
                sink.write_now(bytes(count))
        room = sink.room()
        assert sink.write_now(bytes(room)) == room
    finally:
        close(readable, writable)


async def test_a_kernel_without_unblocking_writes_is_served_in_small_pieces(pipe: tuple[int, int]) -> None:
    sink = PollableSink(pipe[1])
    sink.has_nowait = False
    assert os.get_blocking(pipe[1])
    filled = sink.write_now(bytes(1 << 20))
    assert filled >= 4096
    assert sink.write_now(b"x") == 0
    os.read(pipe[0], filled)
    assert sink.write_now(b"x") == 1


async def test_a_full_pipe_can_be_waited_for_and_cancelled(pipe: tuple[int, int]) -> None:
    sink = PollableSink(pipe[1])
    filled = sink.write_now(bytes(1 << 20))
    with anyio.move_on_after(0.02) as scope:
        await sink.wait()
    assert scope.cancelled_caught
    os.read(pipe[0], filled)
    await sink.wait()
    assert sink.room()


async def test_a_pipe_without_reader_is_an_error(pipe: tuple[int, int]) -> None:
    sink = PollableSink(pipe[1])
    sink.write_now(bytes(1 << 20))
    os.close(pipe[0])
    await sink.wait()
    assert sink.room()
    with pytest.raises(BrokenPipeError):
        sink.write_now(b"x")


async def test_two_writers_can_wait_for_one_pipe(pipe: tuple[int, int]) -> None:
    sink, other = PollableSink(pipe[1]), PollableSink(pipe[1])
    filled = sink.write_now(bytes(1 << 20))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.write, b"one")
            tasks.start_soon(other.write, b"two")
            await anyio.wait_all_tasks_blocked()
            os.read(pipe[0], filled)
    assert sorted([os.read(pipe[0], 3), os.read(pipe[0], 3)]) == [b"one", b"two"]


async def test_a_socket_is_read_and_written_without_blocking() -> None:
    left, right = socket.socketpair()
    with left, right:
        sink, source = PollableSink(left.fileno()), PollableSource(right.fileno())
        done = sink.write_now(bytes(1 << 24))
        assert 0 < done < 1 << 24
        left.shutdown(socket.SHUT_WR)
        assert len(await read_all(source)) == done


async def test_a_terminal_is_read_by_lines_and_goes_on_after_its_end(terminal: tuple[int, int]) -> None:
    source = PollableSource(terminal[1])
    os.write(terminal[0], b"li")
    assert source.take(10) is None
    os.write(terminal[0], b"ne\n\x04")
    await source.wait()
    assert source.take(10) == b"line\n"
    assert source.take(10) == b""
    os.write(terminal[0], b"more\n")
    await source.wait()
    assert source.take(10) == b"more\n"


async def test_a_terminal_that_nobody_reads_blocks_nothing(terminal: tuple[int, int]) -> None:
    sink = PollableSink(terminal[1])
    assert sink.fd != terminal[1]
    assert os.get_blocking(terminal[1])
    assert sink.write_now(b"x") == 1
    assert os.read(terminal[0], 10) == b"x"
    done = sink.write_now(bytes(1 << 20))
    assert done < 1 << 20
    with anyio.move_on_after(0.02) as scope:
        await sink.write(bytes(1 << 20))
    assert scope.cancelled_caught


def test_a_terminals_own_descriptor_is_closed(terminal: tuple[int, int]) -> None:
    sink = PollableSink(terminal[1])
    fd = sink.fd
    os.fstat(fd)
    del sink
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def redirected(fd: int, to: int, body: Any) -> Any:
    saved = os.dup(fd)
    os.dup2(to, fd)
    try:
        return await body()
    finally:
        os.dup2(saved, fd)
        os.close(saved)


@pytest.mark.parametrize("fd", [STDOUT, STDERR])
async def test_the_processs_own_output_is_seen_as_it_is_written(fd: int, pipe: tuple[int, int]) -> None:
    async def body() -> None:
        sink = output_sink(Stdio.PROCESS, fd)
        await sink.write(b"out")
        assert os.read(pipe[0], 10) == b"out"
        assert not is_terminal(Stdio.PROCESS, fd)

    await redirected(fd, pipe[1], body)


async def test_the_processs_own_output_goes_to_a_file(tmp_path: Path) -> None:
    async def body() -> None:
        await output_sink(Stdio.PROCESS, STDOUT).write(bytes(PIECE + 1))

    with (tmp_path / "out").open("wb") as file:
        await redirected(STDOUT, file.fileno(), body)
    assert (tmp_path / "out").read_bytes() == bytes(PIECE + 1)


async def test_output_to_a_full_device_is_an_error() -> None:
    async def body() -> None:
        with pytest.raises(OSError, match="No space left"):
            await output_sink(Stdio.PROCESS, STDOUT).write(b"x")

    full = os.open("/dev/full", os.O_WRONLY)
    try:
        await redirected(STDOUT, full, body)
    finally:
        os.close(full)


async def test_the_processs_own_input_is_read(pipe: tuple[int, int]) -> None:
    async def body() -> None:
        os.write(pipe[1], b"in")
        os.close(pipe[1])
        assert await read_all(input_source(Stdio.PROCESS)) == b"in"

    await redirected(0, pipe[0], body)


async def test_closed_streams_of_the_process_are_empty_or_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "__stdin__", "__stdout__", "__stderr__":
        monkeypatch.setattr(sys, name, None)
    assert await read_all(input_source(Stdio.PROCESS)) == b""
    for fd in STDOUT, STDERR:
        with pytest.raises(OSError, match="Bad file descriptor"):
            output_sink(Stdio.PROCESS, fd).write_now(b"x")


def test_what_is_closed_is_not_pollable_and_fails_when_used() -> None:
    fd = os.dup(1)
    os.close(fd)
    assert not is_pollable(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        PollableSource(fd).take(1)


async def test_nothing_granted_discards() -> None:
    assert output_sink(None, STDOUT).write_now(b"abc") == 3


async def test_a_binary_file_is_flushed_after_each_write(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        sink = output_sink(file, STDOUT)
        await sink.write(b"abc")
        assert (tmp_path / "out").read_bytes() == b"abc"
    with pytest.raises(OSError, match="closed"):
        sink.write_now(b"x")


class Partial:
    """Takes three bytes at a time."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data[:3]
        return len(data[:3])


class Stuck:
    def write(self, data: bytes) -> int:
        return 0


async def test_a_writer_may_take_a_part() -> None:
    writer = Partial()
    await output_sink(writer, STDOUT).write(b"0123456789")
    assert writer.data == b"0123456789"


async def test_a_writer_that_takes_nothing_leaves_the_loop_running() -> None:
    with anyio.move_on_after(0.02) as scope:
        await output_sink(Stuck(), STDOUT).write(b"x")
    assert scope.cancelled_caught


def test_a_raw_file_that_would_block_has_taken_nothing(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with open(writer, "wb", buffering=0, closefd=False) as file:
        sink = output_sink(file, STDOUT)
        while sink.write_now(bytes(PIECE)):
            pass
        os.read(reader, PIECE)
        assert sink.write_now(b"x") == 1


async def test_writers_count_and_collect() -> None:
    collected = io.BytesIO()
    lines: list[bytes] = []

    class Lines:
        write = staticmethod(lines.append)

    await output_sink(collected, STDOUT).write(b"abc")
    await output_sink(Lines(), STDOUT).write(b"def")
    assert collected.getvalue() == b"abc"
    assert lines == [b"def"]


async def test_an_anyio_stream_is_stdin() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    source = input_source(receive)
    assert source.take(1) is None
    for piece in b"abcdef", b"", b"gh":
        await send.send(piece)
    await source.wait()
    assert source.take(4) == b"abcd"
    assert source.take(4) == b"ef"
    assert source.take(4) is None
    await source.wait()
    assert source.take(4) == b"gh"
    await send.aclose()
    assert await read_all(source) == b""
    receive.close()


async def test_an_anyio_byte_stream_is_stdin() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    await send.send(b"abc")
    await send.aclose()
    async with BufferedByteReceiveStream(receive) as stream:
        assert await read_all(input_source(stream)) == b"abc"


async def test_a_broken_anyio_stream_is_an_error() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    receive.close()
    source = input_source(receive)
    await source.wait()
    with pytest.raises(OSError, match="broken") as raised:
        source.take(1)
    assert raised.value.errno == errno.EIO
    with pytest.raises(BrokenPipeError):
        await output_sink(send, STDOUT).write(b"x")
    send.close()


async def test_two_waits_for_one_stream_fetch_once() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    source = input_source(receive)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.wait)
        tasks.start_soon(source.wait)
        await anyio.wait_all_tasks_blocked()
        await send.send(b"a")
        await send.send(b"b")
    assert source.take(10) == b"a"
    assert source.take(10) is None
    send.close()
    receive.close()


async def test_an_anyio_stream_is_stdout() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    sink: ByteSink = output_sink(send, STDOUT)
    assert sink.room() == PIECE
    assert sink.write_now(b"x") == 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.write, b"one")
        tasks.start_soon(sink.write, b"two")
        assert sorted([await receive.receive(), await receive.receive()]) == [b"one", b"two"]
    send.close()
    receive.close()
