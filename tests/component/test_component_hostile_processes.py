"""What can only be seen from outside: that the process lives, and ends as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import asyncio, gc, os, sys
sys.path.append(sys.argv[1])
import anyio
from guest_text import behaviours, component_text, load, sync_export
from p3host import Trap

async def wait(ms):
    await anyio.sleep(ms / 1000)
    return ms

async def nap():
    async with behaviours().instantiate({"wait": wait}) as instance:
        return await instance.exports.nap(1)
"""


def run(script: str, status: int = 0) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", PRELUDE + script, str(Path(__file__).parent.parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == status, result.stderr
    assert "Exception ignored" not in result.stderr
    assert "Fatal" not in result.stderr
    return result.stdout.split()


def test_forked_child_runs_and_compiles_guests() -> None:
    script = """
print(anyio.run(nap), flush=True)
child = os.fork()
if child == 0:
    print(anyio.run(nap))
    five = '(func (export "five") (result i32) (i32.const 5))'
    text = component_text(code=five, exports=sync_export("five", "", "u32"))
    async def five():
        async with load(text).instantiate() as instance:
            return await instance.exports.five()
    print(anyio.run(five), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(anyio.run(nap, backend="trio"))
"""
    assert run(script) == ["1", "1", "5", "1"]


def test_faulthandler_that_comes_too_late_is_refused_before_a_trap_can_kill() -> None:
    script = """
import faulthandler
text = component_text(code='(func (export "far") (drop (i32.load (i32.const -5))))', exports=sync_export("far"))
component = load(text)
faulthandler.enable()
async def far():
    async with component.instantiate() as instance:
        await instance.exports.far()
try:
    anyio.run(far)
except RuntimeError as error:
    print(str(error).split()[0])
faulthandler.disable()
try:
    anyio.run(far)
except Trap as trap:
    print("Trap")
"""
    assert run(script) == ["faulthandler.enable()", "Trap"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", ["block", "host function"])
def test_process_can_be_left_from_within(backend: str, where: str) -> None:
    script = f"""
async def leave(ms):
    sys.exit(7)
async def main():
    async with behaviours().instantiate({{"wait": wait}}) as instance, anyio.create_task_group() as group:
        group.start_soon(instance.exports.nap, 60_000)
        await anyio.sleep(0.01)
        if {where == "block"}:
            sys.exit(7)
        async with behaviours().instantiate({{"wait": leave}}) as other:
            await other.exports.nap(1)
anyio.run(main, backend={backend!r})
"""
    run(script, status=7)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_interrupt_reaches_the_program_and_ends_the_instance(backend: str) -> None:
    script = f"""
import signal
async def interrupt(ms):
    await anyio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    await anyio.sleep(60)
    return ms
async def main():
    async with behaviours().instantiate({{"wait": interrupt}}) as instance:
        await instance.exports.nap(1)
try:
    anyio.run(main, backend={backend!r})
except KeyboardInterrupt:
    print("KeyboardInterrupt", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(anyio.run(nap))
"""
    assert run(script) == ["KeyboardInterrupt", "True", "1"]


@pytest.mark.parametrize("how", ["the loop stops", "the block is never left", "it is forgotten"])
def test_instance_that_is_alive_when_the_interpreter_ends(how: str) -> None:
    script = f"""
async def main():
    instance = behaviours().instantiate({{"wait": wait}})
    await instance.__aenter__()
    if {how == "it is forgotten"}:
        del instance
        gc.collect()
        return
    globals()["kept"] = instance
    task = asyncio.ensure_future(instance.exports.nap(60_000))
    await asyncio.sleep(0.01)
    if {how == "the loop stops"}:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)
if {how == "the loop stops"}:
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    loop.run_forever()
else:
    asyncio.run(main())
print("end")
"""
    assert run(script) == ["end"]


def test_memory_that_a_traceback_looks_at_is_no_danger_to_the_collector() -> None:
    """The trap comes while a list is loaded, and its traceback is a part of a cycle."""
    script = """
text = component_text(
    imports='(type $l (list string)) (import "take" (func $take (param "l" $l)))',
    canons={"take": ("lower (func $take) (memory $memory)", "(param i32 i32)")},
    code='(func (export "give") (i32.store (i32.const 8) (i32.const -1)) (call $take (i32.const 0) (i32.const 100)))',
    exports=sync_export("give"),
)
async def main():
    async with load(text).instantiate({"take": print}) as instance:
        try:
            await instance.exports.give()
        except Trap as trap:
            trap.itself = trap
for _ in range(20):
    anyio.run(main)
gc.collect()
print("alive")
"""
    assert run(script) == ["alive"]
