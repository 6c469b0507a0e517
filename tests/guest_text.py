"""Guests in component text, for the tests of the embedding API.

`component_text` puts a component together out of one core module, its built-ins and its exports. The core module finds
`realloc` (a bump allocator) and the memory, and calls each built-in by its name in `canons`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
from anyio.lowlevel import checkpoint

from p3host.abi.layout import MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, flatten_types
from p3host.component import Component
from p3host.types import FuncType

ALLOCATOR = """(core module $Memory
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow
          (i32.sub (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)) (memory.size))))))
      (memory.copy (local.get $at) (local.get 0) (local.get 1))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $memory))
  (alias core export $memory "realloc" (core func $realloc))"""

MEMORY = "(memory $memory) (realloc $realloc)"

Canons = Mapping[str, tuple[str, str]]


def component_text(
    *, code: str, exports: str = "", imports: str = "", canons: Canons | None = None, arguments: str = ""
) -> str:
    """`canons` gives for each built-in its definition and its core signature, `arguments` what else the core module is
    instantiated with."""
    canons = canons or {}
    definitions = "\n".join(f"  (core func ${name} (canon {text}))" for name, (text, _) in canons.items())
    core_imports = "\n".join(f'    (import "" "{name}" (func ${name} {sig}))' for name, (_, sig) in canons.items())
    given = " ".join(f'(export "{name}" (func ${name}))' for name in canons)
    return f"""(component
  {imports}
  {ALLOCATOR}
{definitions}
  (core module $Main
    (import "memory" "memory" (memory 4))
    (import "memory" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
{core_imports}
{code})
  (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "" (instance {given}))
    {arguments}))
{exports})"""


def sync_export(name: str, params: str = "", result: str = "", options: str = "") -> str:
    t = f"{params} (result {result})" if result else params
    return f'  (func (export "{name}") {t} (canon lift (core func $main "{name}") {options}))'


def callback_export(name: str, params: str = "", result: str = "", options: str = "") -> str:
    """The callback of `name` is the core export `name-event`."""
    t = f"{params} (result {result})" if result else params
    callback = f'(callback (core func $main "{name}-event"))'
    return f'  (func (export "{name}") async {t} (canon lift (core func $main "{name}") async {callback} {options}))'


def stackful_export(name: str, params: str = "", result: str = "", options: str = "") -> str:
    t = f"{params} (result {result})" if result else params
    return f'  (func (export "{name}") async {t} (canon lift (core func $main "{name}") async {options}))'


def passing_on(types: str, params: str, result: str) -> str:
    """A component whose export `echo` calls its import `host`, both of the same type, and returns what that returns."""
    probe = f'(component {types} (import "host" (func {params} {result})))'
    t = imported_func(probe)
    core_params = [*flatten_types(t.param_types, "i32")]
    if len(core_params) > MAX_FLAT_PARAMS:
        core_params = ["i32"]
    core_results = [*flatten_types(() if t.result is None else (t.result,), "i32")]
    spilled = len(core_results) > MAX_FLAT_RESULTS
    sig = f"(param {' '.join(core_params)})" if core_params else ""
    args = " ".join(f"(local.get {i})" for i in range(len(core_params)))
    if spilled:
        host_sig, export_sig = f"(param {' '.join([*core_params, 'i32'])})", f"{sig} (result i32)"
        body = f"(call $host {args} (i32.const 1024)) (i32.const 1024)"
    else:
        host_sig = export_sig = f"{sig} (result {core_results[0]})" if core_results else sig
        body = f"(call $host {args})"
    return component_text(
        imports=f'{types} (import "host" (func $host {params} {result}))',
        canons={"host": (f"lower (func $host) {MEMORY}", host_sig)},
        code=f'(func (export "echo") {export_sig} {body})',
        exports=f'(func (export "echo") {params} {result} (canon lift (core func $main "echo") {MEMORY}))',
    )


def imported_func(text: str) -> FuncType:
    func = Component.load(text).type.imports["host"]
    assert isinstance(func, FuncType)
    return func


# A task's record: +0 the import's result, +4 the waitable set, +8 the subtask. Core function `$begin` calls the import
# `wait` and gives the callback code; the task's context points to the record.
BEHAVIOUR_CANONS: Canons = {
    "wait": ("lower (func $wait) async (memory $memory)", "(param i32 i32) (result i32)"),
    "wait-sync": ("lower (func $wait)", "(param i32) (result i32)"),
    "return": ("task.return (result u32)", "(param i32)"),
    "cancel": ("task.cancel", ""),
    "subtask-cancel": ("subtask.cancel", "(param i32) (result i32)"),
    "subtask-drop": ("subtask.drop", "(param i32)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "set-wait": ("waitable-set.wait (memory $memory)", "(param i32 i32) (result i32)"),
    "set-drop": ("waitable-set.drop", "(param i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "yield": ("thread.yield", "(result i32)"),
    "get": ("context.get i32 0", "(result i32)"),
    "set": ("context.set i32 0", "(param i32)"),
    "backpressure-inc": ("backpressure.inc", ""),
    "backpressure-dec": ("backpressure.dec", ""),
}

BEHAVIOUR_CODE = """
    (global $counter (mut i32) (i32.const 0))
    (func $code-wait (result i32)
      (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (call $get)) (i32.const 4))))
    (func $begin (param $ms i32) (result i32) (local $record i32) (local $status i32)
      (local.set $record (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16)))
      (call $set (local.get $record))
      (local.set $status (call $wait (local.get $ms) (local.get $record)))
      (i32.store offset=4 (local.get $record) (call $set-new))
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $finish))))
      (i32.store offset=8 (local.get $record) (i32.shr_u (local.get $status) (i32.const 4)))
      (call $join (i32.load offset=8 (local.get $record)) (i32.load offset=4 (local.get $record)))
      (call $code-wait))
    (func $finish (result i32)
      (call $return (i32.load (call $get)))
      (call $set-drop (i32.load offset=4 (call $get)))
      (i32.const 0))
    ;; an event of the subtask: the code to wait on with, or the end
    (func $event (param $p2 i32) (result i32)
      (if (i32.ne (local.get $p2) (i32.const 2)) (then (return (call $code-wait))))
      (call $subtask-drop (i32.load offset=8 (call $get)))
      (call $finish))
    ;; cancels the subtask, and gives the state in which it ended
    (func $stop (result i32) (local $state i32)
      (call $join (i32.load offset=8 (call $get)) (i32.const 0))
      (local.set $state (call $subtask-cancel (i32.load offset=8 (call $get))))
      (call $subtask-drop (i32.load offset=8 (call $get)))
      (local.get $state))
    (func $spin (loop $on (br $on)))

    ;; nap: acknowledges a cancellation, or returns the value that the import gave all the same
    (func (export "nap") (param i32) (result i32) (call $begin (local.get 0)))
    (func (export "nap-event") (param $code i32) (param $p1 i32) (param $p2 i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const 6)) (then (return (call $event (local.get $p2)))))
      (if (i32.eq (call $stop) (i32.const 2)) (then (return (call $finish))))
      (call $cancel) (call $set-drop (i32.load offset=4 (call $get))) (i32.const 0))
    ;; nap-anyway: answers a cancellation with a result
    (func (export "nap-anyway") (param i32) (result i32) (call $begin (local.get 0)))
    (func (export "nap-anyway-event") (param $code i32) (param $p1 i32) (param $p2 i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const 6)) (then (return (call $event (local.get $p2)))))
      (drop (call $stop)) (i32.store (call $get) (i32.const 99)) (call $finish))
    ;; nap-then-spin: answers a cancellation with an endless computation
    (func (export "nap-then-spin") (param i32) (result i32) (call $begin (local.get 0)))
    (func (export "nap-then-spin-event") (param $code i32) (param $p1 i32) (param $p2 i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const 6)) (then (return (call $event (local.get $p2)))))
      (call $spin) (unreachable))
    ;; nap-deaf: is blocked in a synchronous call, and so can't be told of a cancellation
    (func (export "nap-deaf") (param i32) (result i32) (call $return (call $wait-sync (local.get 0))) (i32.const 0))
    (func (export "nap-deaf-event") (param i32 i32 i32) (result i32) (unreachable))
    ;; nap-stackful: waits in the middle of its stack
    (func (export "nap-stackful") (param i32) (call $return (call $wait-sync (local.get 0))))
    ;; nap-alone: no other call is let in meanwhile
    (func (export "nap-alone") (param i32) (result i32) (call $backpressure-inc) (call $begin (local.get 0)))
    (func (export "nap-alone-event") (param $code i32) (param $p1 i32) (param $p2 i32) (result i32) (local $next i32)
      (local.set $next (call $event (local.get $p2)))
      (if (i32.eqz (local.get $next)) (then (call $backpressure-dec)))
      (local.get $next))
    ;; forever: waits for a set that has no members
    (func (export "forever") (result i32)
      (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))
    (func (export "forever-event") (param $code i32) (param i32 i32) (result i32)
      (call $cancel) (i32.const 0))
    (func (export "forever-stackful") (drop (call $set-wait (call $set-new) (i32.const 16))))
    ;; yielding: has a turn again and again until it is cancelled
    (func (export "yielding") (result i32) (i32.const 1))
    (func (export "yielding-event") (param $code i32) (param i32 i32) (result i32)
      (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
      (if (i32.ne (local.get $code) (i32.const 6)) (then (return (i32.const 1))))
      (call $cancel) (i32.const 0))
    (func (export "spin") (result i32) (call $spin) (unreachable))
    (func (export "spin-event") (param i32 i32 i32) (result i32) (unreachable))
    (func (export "spin-sync") (result i32) (call $spin) (unreachable))
    (func (export "count") (param $n i32) (result i32) (local $i i32)
      (loop $on
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $i) (local.get $n))))
      (call $return (local.get $i)) (i32.const 0))
    (func (export "count-event") (param i32 i32 i32) (result i32) (unreachable))
    (func (export "counter") (result i32) (global.get $counter))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "trap") (unreachable))
    (func $recurse (export "recurse") (call $recurse) (call $recurse))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
"""

MS = '(param "ms" u32)'

BEHAVIOURS = component_text(
    imports=f'(import "wait" (func $wait async {MS} (result u32)))',
    canons=BEHAVIOUR_CANONS,
    code=BEHAVIOUR_CODE,
    exports="\n".join(
        [
            *(
                callback_export(name, MS, "u32")
                for name in ("nap", "nap-anyway", "nap-then-spin", "nap-deaf", "nap-alone", "count")
            ),
            stackful_export("nap-stackful", MS, "u32"),
            *(callback_export(name, "", "u32") for name in ("forever", "yielding", "spin")),
            stackful_export("forever-stackful", "", "u32"),
            sync_export("spin-sync", "", "u32"),
            sync_export("counter", "", "u32"),
            sync_export("add", '(param "a" u32) (param "b" u32)', "u32"),
            sync_export("trap"),
            sync_export("recurse"),
            sync_export("grow", '(param "pages" u32)', "s32"),
        ]
    ),
)
"""A component that imports `wait: async func(ms: u32) -> u32`; each of its exports misbehaves, or not, in its way."""

loaded: dict[str, Component] = {}


def load(text: str) -> Component:
    """The component of a text, compiled once in a run of the tests."""
    if text not in loaded:
        loaded[text] = Component.load(text)
    return loaded[text]


def behaviours() -> Component:
    return load(BEHAVIOURS)


async def let_others_run() -> None:
    """Until the tasks that were just started wait for something."""
    for _ in range(5):
        await checkpoint()


FAR = 1_000_000  # ms: nobody waits that long
SECONDS = 60  # for what takes no time on a machine that has nothing else to do


class Waits:
    """The import `wait`, and what became of its calls. One that is cancelled takes some turns of the loop to unwind, or
    if it is `stubborn` returns 55."""

    def __init__(self, *, stubborn: bool = False, turns_to_unwind: int = 0) -> None:
        self.started = 0
        self.cancelled = 0
        self.ended = 0
        self.stubborn = stubborn
        self.turns_to_unwind = turns_to_unwind
        self.released = anyio.Event()
        self.changed = anyio.Event()

    async def __call__(self, ms: int) -> int:
        self.started += 1
        self.change()
        try:
            with anyio.move_on_after(ms / 1000):
                await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            if self.stubborn:
                return 55
            with anyio.CancelScope(shield=True):
                for _ in range(self.turns_to_unwind):
                    await checkpoint()
            raise
        finally:
            self.ended += 1
            self.change()
        return ms

    def release(self) -> None:
        """Ends all calls, as if their time had come."""
        self.released.set()
        self.released = anyio.Event()

    def change(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what has become of the calls fulfils a condition."""
        with anyio.fail_after(SECONDS):
            while not condition():
                await self.changed.wait()

    async def begun(self, count: int = 1) -> None:
        """Waits until so many calls have begun."""
        await self.until(lambda: self.started >= count)
