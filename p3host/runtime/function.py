"""Calls into a guest and out of it (CanonicalABI.md, "canon lift" and "canon lower").

What is known when a component is linked is compiled once (`LiftedType`, `LoweredFunc`); what belongs to one instance is
bound to it (`LiftedFunc`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from ..abi.layout import MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, flatten_count
from ..abi.lift import compile_lift, compile_lift_result, takes_memory
from ..abi.lower import compile_lower, compile_lower_result
from ..abi.options import AbiOptions
from ..errors import TooManyCalls, Trap, trap_if
from ..types import BorrowType, FuncType, FutureType, OwnType, StreamType, contains
from .options import CanonicalOptions
from .owning import all_or_nothing, pass_all_or_nothing
from .task import Call, OnCancel, Subtask, SubtaskState, Task, TaskState, failed_call, too_many_tasks
from .thread import FREEZE, CoreFunc, Routine, Thread
from .waitable import NO_EVENT, TASK_CANCELLED, WaitableSet

if TYPE_CHECKING:
    from .instance import ComponentInstance
    from .task import FuncInst


class CallbackCode(IntEnum):
    EXIT = 0
    YIELD = 1
    WAIT = 2


EXIT: Final = CallbackCode.EXIT


HANDLE_TYPES = (OwnType, BorrowType, StreamType, FutureType)


class LiftedType:
    """A lifted function's converters: how its arguments are lowered, and a sync lift's core result lifted."""

    __slots__ = ("borrows", "gives_handles", "is_async", "lift_result", "lower_params", "type")

    def __init__(self, t: FuncType, abi: AbiOptions, is_async: bool) -> None:
        self.type = t
        self.is_async = is_async
        self.borrows = any(contains(param, BorrowType) for param in t.param_types)
        self.gives_handles = any(contains(param, HANDLE_TYPES) for param in t.param_types)
        self.lower_params: Callable[[Any, Sequence[Any]], Sequence[int | float]]
        self.lower_params = compile_lower(t.param_types, abi, MAX_FLAT_PARAMS, tuple(label for label, _ in t.params))
        self.lift_result: Callable[[Any, Sequence[int | float]], Any] | None = None
        if not is_async:
            self.lift_result = all_or_nothing(compile_lift_result(t.result, abi, MAX_FLAT_RESULTS), (t.result,))


class LiftedFunc:
    """A guest's function in one instance, as something to call."""

    __slots__ = ("callback", "core_func", "inst", "lifted", "name", "needs_exclusive", "options", "type")

    def __init__(self, name: str, lifted: LiftedType, options: CanonicalOptions) -> None:
        assert options.core_func is not None
        self.name = name
        self.lifted = lifted
        self.type = lifted.type
        self.options = options
        self.inst = options.inst
        self.core_func: CoreFunc = options.core_func
        self.callback = options.callback
        self.needs_exclusive = not options.is_async or options.callback is not None

    def __call__(self, call: Call, caller: ComponentInstance | None) -> OnCancel:
        inst = self.inst
        store = inst.store
        entered = inst.enter_from(caller)
        task = Task(self, call)
        thread = task.implicit_thread = Thread(task, run_implicit_thread(task))
        thread.run(None)
        if not self.type.is_async and task.state is not TaskState.RESOLVED:
            run_until_resolved(task)
        if store.frozen:
            store.when_thawed_leave(entered)
        else:
            for instance in entered:
                instance.may_enter = True
        return task.request_cancellation


def run_until_resolved(task: Task) -> None:
    """A function of a type that isn't async may block only as long as other threads of its instance can go on."""
    store = task.inst.store
    while task.state is not TaskState.RESOLVED:
        if store.frozen:
            store.frozen.append(lambda: run_until_resolved(task))
            return
        thread = store.next_ready_in(task.inst)
        trap_if(
            thread is None,
            f"cannot block: {task.describe()} is not of an async type, and no other thread of its instance can go on",
        )
        assert thread is not None
        thread.resume()


def run_implicit_thread(task: Task) -> Routine[None]:
    func = task.func
    assert isinstance(func, LiftedFunc)
    inst = task.inst
    lifted = func.lifted
    thread = task.implicit_thread
    if task.is_kept_out() and not (yield from task.wait_to_enter()):
        return
    store = inst.store
    # Calls of a type that is not async end before their callers go on: nesting bounds them.
    if len(store.threads) >= store.max_tasks and func.type.is_async:
        inst.offer_exclusive()
        task.state = TaskState.RESOLVED
        task.call.on_fail(TooManyCalls(too_many_tasks(store)))
        return
    task.enter()
    options = func.options.with_scope(task) if lifted.borrows else func.options
    call = task.call
    passer = call.func.passer if type(call) is Subtask else None
    if lifted.gives_handles and passer is None:
        store.lowered = []
    try:
        flat_args = lifted.lower_params(options, task.start()) if passer is None else task.start_passing(options)
    except (TypeError, ValueError) as error:
        task.state = TaskState.RESOLVED
        options.take_back()
        task.num_borrows = 0
        task.give_back()
        task.exit()
        store.lowered = None
        task.call.on_fail(error)
        return
    if lifted.gives_handles:
        store.lowered = None
    result = yield func.core_func.fiber(flat_args)

    if lifted.lift_result is not None:
        flat_results = () if result is None else (result,)
        if task.num_borrows:
            task.check_borrows()
        if passer is not None:
            task.return_((options, passer.take_result(options, flat_results)))
            if options.post_return is not None:
                options.enter_without_leave(options.post_return, flat_results)
        else:
            value = lifted.lift_result(options, flat_results)
            # Before the caller gets the result, which nobody can tell from after it, unless post-return traps.
            if options.post_return is not None:
                options.enter_without_leave(options.post_return, flat_results)
            task.return_(value)
        task.exit()
        return

    callback = func.callback
    if callback is not None:
        while result != EXIT:
            code = result & 0xF
            inst.release_exclusive()
            if code == CallbackCode.WAIT:
                waitable_set = inst.handles.get(result >> 4)
                if not isinstance(waitable_set, WaitableSet):
                    raise Trap(f"handle index {result >> 4} is no waitable set")
                event = yield from waitable_set.wait_for_event(thread, True, wants_exclusive=True)
            elif code == CallbackCode.YIELD:
                cancelled = yield from thread.yield_(True, wants_exclusive=True)
                event = TASK_CANCELLED if cancelled else NO_EVENT
            elif code == CallbackCode.EXIT:
                inst.exclusive_thread = thread
                break
            else:
                raise Trap(f"unsupported callback code {code}")
            inst.exclusive_thread = thread
            result = yield callback.fiber(event)
    task.exit()


class LoweredFunc:
    """A lowered import's converters, on the caller's side. `out_index` tells where an out pointer stands.

    Where the callee is a guest's function too, given as how it was `lifted`, values pass by a `passer` from one memory
    to the other, and `lift_params` and `lower` are not used.
    """

    __slots__ = ("borrows", "is_async", "lift_params", "lower", "name", "out_index", "passer", "takes_memory", "type")

    def __init__(
        self,
        name: str,
        t: FuncType,
        abi: AbiOptions,
        is_async: bool,
        lifted: tuple[AbiOptions, bool] | None = None,
    ) -> None:
        self.name = name
        self.type = t
        self.is_async = is_async
        self.borrows = any(contains(param, BorrowType) for param in t.param_types)
        self.takes_memory = takes_memory(t.param_types)
        max_params = MAX_FLAT_ASYNC_PARAMS if is_async else MAX_FLAT_PARAMS
        max_results = 0 if is_async else MAX_FLAT_RESULTS
        count = flatten_count(t.param_types, abi.pointer, max_params)
        results = () if t.result is None else (t.result,)
        spills = flatten_count(results, abi.pointer, max_results) > max_results
        self.out_index = (1 if count > max_params else count) if spills else None
        self.passer = None if lifted is None else Passer(t, abi, is_async, *lifted)
        if lifted is not None:
            return
        lift = all_or_nothing(compile_lift(t.param_types, abi, max_params), t.param_types)
        self.lift_params: Callable[[Any, Sequence[int | float]], Sequence[Any]] = lift
        self.lower = compile_lower_result(t.result, abi, max_results)
        if self.out_index is not None:  # the out pointer stands after the arguments
            self.lift_params = lambda context, flat_args: lift(context, flat_args[: self.out_index])

    def lower_result(self, options: CanonicalOptions, result: Any, flat_args: Sequence[int | float]) -> Any:
        """The single core result, or None where there is none or it went to the out pointer. From a passer's callee
        the result is its options and what was taken."""
        out_pointer = None if self.out_index is None else int(flat_args[self.out_index])
        if self.passer is None:
            flat = self.lower(options, result, out_pointer)
        else:
            callee_options, taken = result
            flat = self.passer.give_result(callee_options, options, taken, out_pointer)
        return flat[0] if flat else None


class Passer:
    """How the values of a call pass from guest to guest: `pass_params(caller's options, callee's options, core
    arguments)` makes the callee's core arguments of the caller's; `take_result` and `give_result` are those of
    `ResultPasser`."""

    __slots__ = ("give_result", "pass_params", "take_result")

    def __init__(
        self, t: FuncType, lowered_abi: AbiOptions, lowered_async: bool, lifted_abi: AbiOptions, lifted_async: bool
    ) -> None:
        from ..abi.passing import compile_pass, compile_pass_result  # only composed components need it

        max_params = MAX_FLAT_ASYNC_PARAMS if lowered_async else MAX_FLAT_PARAMS
        pass_params = compile_pass(t.param_types, lowered_abi, lifted_abi, max_params)
        self.pass_params = pass_all_or_nothing(pass_params, t.param_types)
        take_result, self.give_result = compile_pass_result(
            t.result,
            lifted_abi,
            MAX_FLAT_PARAMS if lifted_async else MAX_FLAT_RESULTS,
            lowered_abi,
            0 if lowered_async else MAX_FLAT_RESULTS,
        )
        self.take_result = all_or_nothing(take_result, (t.result,))


def canon_lower_sync(
    func: LoweredFunc, options: CanonicalOptions, callee: FuncInst, thread: Thread, flat_args: Sequence[Any]
) -> Routine[Any]:
    """A sync lower: the caller's thread blocks until the callee has resolved. Where the type isn't async, a callee of
    the host that needs time holds the whole store instead."""
    inst = options.inst
    store = inst.store
    inst.check_may_leave()
    subtask = Subtask(func, options, thread, flat_args)
    subtask.on_cancel = callee(subtask, inst)
    if store.frozen:
        yield FREEZE
    if not subtask.resolved and subtask.failure is None:
        if not isinstance(callee, LiftedFunc):
            subtask.keep_arguments()
        if func.type.is_async:
            yield from thread.wait_until(lambda: subtask.resolved or subtask.failure is not None, False, subtask)
        else:
            store.hold(subtask)
            yield FREEZE
    if subtask.failure is not None:
        raise failed_call(func.name, subtask.failure)
    subtask.deliver_resolve()
    return subtask.flat_result


def canon_lower_async(
    func: LoweredFunc, options: CanonicalOptions, callee: FuncInst, thread: Thread, flat_args: Sequence[Any]
) -> Routine[int]:
    inst = options.inst
    inst.check_may_leave()
    subtask = Subtask(func, options, thread, flat_args)
    subtask.on_cancel = callee(subtask, inst)
    if inst.store.frozen:
        yield FREEZE
    return finish_async_lower(subtask)


def start_async_lower(
    func: LoweredFunc, options: CanonicalOptions, callee: FuncInst, thread: Thread, flat_args: Sequence[Any]
) -> int:
    """An async lower of a callee that never runs guest code, so the caller can't be frozen by it."""
    options.inst.check_may_leave()
    subtask = Subtask(func, options, thread, flat_args)
    subtask.on_cancel = callee(subtask, options.inst)
    if not subtask.resolved:
        subtask.keep_arguments()
    return finish_async_lower(subtask)


def finish_async_lower(subtask: Subtask) -> int:
    if subtask.failure is not None:
        raise failed_call(subtask.func.name, subtask.failure)
    if subtask.resolved:
        subtask.deliver_resolve()
        return SubtaskState.RETURNED
    store = subtask.options.store
    if store.num_pending_subtasks >= store.max_tasks:
        raise Trap(f"more than {store.max_tasks} calls of imports are in progress")
    store.num_pending_subtasks += 1
    subtask.index = subtask.options.inst.handles.add(subtask)
    subtask.since = store.now()
    return subtask.state | subtask.index << 4
