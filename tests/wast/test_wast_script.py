"""Directives of scripts, and what comes of them."""

from __future__ import annotations

import pytest

from p3host.wast import run_script, script, waivers
from p3host.wast.script import Outcome
from p3host.wast.waivers import RETURNS, Waiver, digest

pytestmark = pytest.mark.anyio

# `next` counts its calls; `check` returns an error for all arguments but 0
NUMBERS = """component $numbers
  (core module $M (global $count (mut i32) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))
    (func (export "next") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count))
    (func (export "nothing"))
    (func (export "identity") (param i32) (result i32) (local.get 0)))
  (core instance $m (instantiate $M))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add")))
  (func (export "divide") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "divide")))
  (func (export "next") (result u32) (canon lift (core func $m "next")))
  (func (export "check") (param "failed" u32) (result (result)) (canon lift (core func $m "identity")))
  (func (export "nothing") (canon lift (core func $m "nothing")))"""

INVALID = '(component (import "a" (func)) (import "a" (func)))'
TRAPS = "(component (core module $M (func $f unreachable) (start $f)) (core instance (instantiate $M)))"


async def run(text: str, path: str = "") -> list[Outcome]:
    return await run_script(text.encode(), path)


async def problems(text: str) -> list[tuple[int, str, str]]:
    return [(o.line, o.directive, o.problem) for o in await run(text) if o.problem is not None]


@pytest.mark.parametrize(
    "directives",
    [
        '(assert_return (invoke "add" (u32.const 2) (u32.const 3)) (u32.const 5))',
        '(assert_return (invoke $numbers "add" (u32.const 2) (u32.const 3)) (u32.const 5))',
        '(invoke "next") (assert_return (invoke "next") (u32.const 2))',
        '(assert_return (invoke "nothing"))',
        '(assert_return (invoke "check" (u32.const 0)) (result.ok))',
        '(assert_return (invoke "check" (u32.const 0)))',
        '(assert_return (invoke "check" (u32.const 1)) (result.err))',
        '(assert_trap (invoke "divide" (u32.const 1) (u32.const 0)) "integer divide by zero")',
        '(assert_trap (invoke "divide" (u32.const 1) (u32.const 0)) "integer divide by zero")'
        '(assert_trap (invoke "add" (u32.const 1) (u32.const 0)) "cannot enter component instance")',
        '(component (import "numbers" (instance (export "next" (func (result u32))))))',
        '(register "other") (component (import "other" (instance (export "next" (func (result u32))))))',
        '(component) (register "other" $numbers)'
        '(component (import "other" (instance (export "next" (func (result u32))))))',
    ],
)
async def test_directive_about_an_instance_passes(directives: str) -> None:
    outcomes = await run(f"({NUMBERS})\n{directives}")
    assert len(outcomes) > 1
    assert [outcome.problem for outcome in outcomes] == [None] * len(outcomes)


@pytest.mark.parametrize(
    "directive",
    [
        f'(assert_invalid {INVALID} "any message")',
        r'(assert_malformed (component binary "\00asm" "\0d\00\01\00" "\ff") "any message")',
        '(assert_malformed (component quote "(import" " \\"a\\")") "any message")',
        '(assert_unlinkable (component (import "missing" (func))) "any message")',
        f'(assert_trap {TRAPS} "unreachable")',
        r'(component binary "\00asm" "\0d\00\01\00")',
        '(component quote "(core module)" "(core module)")',
        '(assert_invalid (module (func (result i32))) "any message")',
    ],
)
async def test_directive_about_a_definition_passes(directive: str) -> None:
    (outcome,) = await run(directive)
    assert outcome.problem is None


@pytest.mark.parametrize(
    ("directive", "problem"),
    [
        ('(assert_return (invoke "next") (u32.const 2))', "returned 1, expected 2"),
        ('(assert_return (invoke "next"))', "returned 1, and nothing was expected"),
        ('(assert_return (invoke "nothing") (u32.const 2))', "the function has none"),
        ('(assert_return (invoke "check" (u32.const 1)))', "returned Err(None), and nothing was expected"),
        ('(assert_return (invoke "divide" (u32.const 1) (u32.const 0)) (u32.const 1))', "trapped: wasm trap: integer"),
        ('(assert_return (invoke "next" (u32.const 1)) (u32.const 1))', "takes 0 arguments, given 1"),
        ('(assert_return (invoke "add" (u8.const 1) (u32.const 1)) (u32.const 1))', "(u8.const) given where u32.const"),
        ('(assert_return (invoke "missing") (u32.const 1))', "exports no function 'missing'"),
        ('(assert_return (invoke $missing "next") (u32.const 1))', "there is no instance $missing"),
        ('(assert_return (get "next") (u32.const 1))', "expected an invocation, found (get)"),
        ("(assert_return invoke)", "expected a form in parentheses, found invoke"),
        ("(assert_return)", "malformed"),
        ("(invoke)", "malformed"),
        ("(register)", "malformed"),
        ('(register "x" "y")', "expected a name"),
        ('(assert_trap (invoke "next") "unreachable")', "did not trap, expected 'unreachable'"),
        (
            '(assert_trap (invoke "divide" (u32.const 1) (u32.const 0)) "unreachable")',
            "trapped with 'wasm trap: integer divide by zero', expected 'unreachable'",
        ),
        ('(assert_trap (component) "unreachable")', "did not trap"),
        ('(assert_invalid (component) "")', "was accepted"),
        ('(assert_malformed (component) "")', "was accepted"),
        ('(assert_unlinkable (component) "")', "was linked"),
        (f'(assert_unlinkable {TRAPS} "")', "trapped: wasm trap"),
        (INVALID, "import name `a` conflicts"),
        ('(component (import "missing" (func)))', "missing"),
        ('(component quote "\\ff")', "malformed UTF-8"),
        ("(component instance $a $missing)", "there is no definition $missing"),
        ("(component instance $a)", "there is no definition"),
        ("(wait $missing)", "there is no thread $missing"),
        ("(conjure)", "unknown directive"),
        ("()", "unknown directive"),
    ],
)
async def test_directive_fails_with_its_line_and_the_script_goes_on(directive: str, problem: str) -> None:
    failed = await problems(f"({NUMBERS})\n{directive}\n(component)")
    lines = NUMBERS.count("\n") + 2
    assert [line for line, _, _ in failed] == [lines]
    assert problem in failed[0][2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("(component", "a parenthesis that is never closed"), ("component", "expected a directive")],
)
async def test_script_that_cant_be_read_fails_as_one(text: str, problem: str) -> None:
    ((line, directive, found),) = await problems(f"\n{text}")
    assert (line, directive) == (2, "script")
    assert problem in found


async def test_script_has_to_be_utf8() -> None:
    (outcome,) = await run_script(b"(component) \xff")
    assert outcome.problem is not None
    assert "UTF-8" in outcome.problem


async def test_failed_component_leaves_no_current_instance() -> None:
    failed = await problems(f'({NUMBERS}){INVALID}(invoke "next")')
    assert [problem for _, _, problem in failed][1:] == ["there is no current instance"]


async def test_definition_is_instantiated_as_often_as_wanted() -> None:
    text = NUMBERS.replace("component $numbers", "component definition $numbers")
    assert not await problems(f"""({text})
      (component definition $empty)
      (component instance $a $numbers)
      (invoke "next")
      (component instance $b $numbers)
      (assert_return (invoke "next") (u32.const 1))
      (assert_return (invoke $a "next") (u32.const 2))
      (component instance $c)
      (assert_trap (invoke $b "divide" (u32.const 1) (u32.const 0)) "divide by zero")
      (assert_return (invoke $a "next") (u32.const 3))""")


async def test_core_modules_are_defined_instantiated_and_invoked() -> None:
    assert not await problems("""
      (module definition $doubler (func (export "twice as much") (param i32) (result i32)
        (i32.mul (local.get 0) (i32.const 2))) (memory (export "memory") 1) (func (export "two") (result i32 i32)
        (i32.const 1) (i32.const 2)))
      (module instance $a $doubler)
      (assert_return (invoke "twice as much" (i32.const 0x7fffffff)) (i32.const -2))
      (module $floats (func (export "min") (param f32 f64) (result f64)
        (f64.min (f64.promote_f32 (local.get 0)) (local.get 1))))
      (assert_return (invoke "min" (f32.const nan) (f64.const 1)) (f64.const nan:canonical))
      (assert_return (invoke "min" (f32.const -0.0) (f64.const 0)) (f64.const -0.0))
      (assert_return (invoke $a "twice as much" (i32.const 2)) (i32.const 4))
      (module quote "(func (export \\"f\\")" "unreachable)")
      (assert_trap (invoke "f") "unreachable")
      (module binary "\\00asm" "\\01\\00\\00\\00")""")


async def test_core_module_with_imports_is_not_supported() -> None:
    ((_, _, problem),) = await problems('(module (import "a" "b" (func)))')
    assert "needs 'a' 'b'" in problem


HOST = """component
  (import "host-echo-u32" (func $echo async (param "v" u32) (result u32)))
  (import "host-return-two" (func $two (result u32)))
  (import "host" (instance $host
    (export "return-three" (func (result u32)))
    (export "nested" (instance (export "return-four" (func (result u32)))))
    (export "simple-module" (core module (export "g" (global i32)) (export "f" (func (result i32)))))
    (export "never-return" (func async))
    (export "return-two-slowly" (func async (result s32)))
    (export "resource1" (type $r1 (sub resource)))
    (export "resource1-again" (type (eq $r1)))
    (export "resource2" (type (sub resource)))
    (export "[constructor]resource1" (func (param "r" u32) (result (own $r1))))
    (export "[static]resource1.assert" (func (param "r" (own $r1)) (param "rep" u32)))
    (export "[static]resource1.last-drop" (func (result u32)))
    (export "[static]resource1.drops" (func (result u32)))
    (export "[method]resource1.simple" (func (param "self" (borrow $r1)) (param "rep" u32)))
    (export "[method]resource1.take-borrow" (func (param "self" (borrow $r1)) (param "b" (borrow $r1))))
    (export "[method]resource1.take-own" (func (param "self" (borrow $r1)) (param "b" (own $r1))))))
  (alias export $host "simple-module" (core module $Simple))
  (alias export $host "resource1" (type $r1))
  (alias export $host "nested" (instance $nested))
  (core instance $simple (instantiate $Simple))
  (core func $drop (canon resource.drop $r1))
  (core func $echo (canon lower (func $echo)))
  (core func $two (canon lower (func $two)))
  (core func $three (canon lower (func $host "return-three")))
  (core func $four (canon lower (func $nested "return-four")))
  (core func $never (canon lower (func $host "never-return")))
  (core func $slowly (canon lower (func $host "return-two-slowly")))
  (core func $new (canon lower (func $host "[constructor]resource1")))
  (core func $assert (canon lower (func $host "[static]resource1.assert")))
  (core func $last (canon lower (func $host "[static]resource1.last-drop")))
  (core func $drops (canon lower (func $host "[static]resource1.drops")))
  (core func $simple-method (canon lower (func $host "[method]resource1.simple")))
  (core func $take-borrow (canon lower (func $host "[method]resource1.take-borrow")))
  (core func $take-own (canon lower (func $host "[method]resource1.take-own")))
  (core module $M
    (import "" "echo" (func $echo (param i32) (result i32)))
    (import "" "two" (func $two (result i32)))
    (import "" "three" (func $three (result i32)))
    (import "" "four" (func $four (result i32)))
    (import "" "slowly" (func $slowly (result i32)))
    (import "" "f" (func $f (result i32)))
    (import "" "g" (global $g i32))
    (import "" "never" (func $never))
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "assert" (func $assert (param i32 i32)))
    (import "" "last" (func $last (result i32)))
    (import "" "drops" (func $drops (result i32)))
    (import "" "simple" (func $simple (param i32 i32)))
    (import "" "take-borrow" (func $take-borrow (param i32 i32)))
    (import "" "take-own" (func $take-own (param i32 i32)))
    (func (export "sum") (result i32) (call $echo (i32.const 1)) (i32.add (call $two)) (i32.add (call $three))
      (i32.add (call $four)) (i32.add (call $slowly)) (i32.add (call $f)) (i32.add (global.get $g)))
    (func (export "never") (call $never))
    (func (export "make-and-drop") (param i32) (result i32) (local $a i32) (local $b i32) (local $c i32)
      (local.set $a (call $new (local.get 0))) (local.set $b (call $new (i32.const 8)))
      (local.set $c (call $new (i32.const 9)))
      (call $simple (local.get $a) (local.get 0)) (call $take-borrow (local.get $a) (local.get $a))
      (call $take-own (local.get $a) (local.get $b)) (call $assert (local.get $c) (i32.const 9))
      (call $drop (local.get $a)) (i32.add (call $drops) (i32.mul (i32.const 100) (call $last))))
    (func (export "wrong") (call $assert (call $new (i32.const 1)) (i32.const 2)))
    (func (export "give-what-is-lent") (local $a i32)
      (local.set $a (call $new (i32.const 1))) (call $take-own (local.get $a) (local.get $a))))
  (core instance $m (instantiate $M (with "" (instance
    (export "echo" (func $echo)) (export "two" (func $two)) (export "three" (func $three)) (export "four" (func $four))
    (export "slowly" (func $slowly)) (export "f" (func $simple "f")) (export "g" (global $simple "g"))
    (export "never" (func $never)) (export "new" (func $new)) (export "drop" (func $drop))
    (export "assert" (func $assert)) (export "last" (func $last)) (export "drops" (func $drops))
    (export "simple" (func $simple-method)) (export "take-borrow" (func $take-borrow))
    (export "take-own" (func $take-own))))))
  (func (export "sum") async (result u32) (canon lift (core func $m "sum")))
  (func (export "never") async (canon lift (core func $m "never")))
  (func (export "make-and-drop") (param "rep" u32) (result u32) (canon lift (core func $m "make-and-drop")))
  (func (export "wrong") (canon lift (core func $m "wrong")))
  (func (export "give-what-is-lent") (canon lift (core func $m "give-what-is-lent")))"""


async def test_host_gives_what_scripts_import() -> None:
    assert not await problems(f"""({HOST})
      (assert_return (invoke "sum") (u32.const 213))
      (assert_return (invoke "make-and-drop" (u32.const 7)) (u32.const 701))
      (assert_return (invoke "make-and-drop" (u32.const 5)) (u32.const 502))
      (assert_trap (invoke "wrong") "expected the resource 2, got 1")
      ({HOST})
      (assert_trap (invoke "give-what-is-lent") "cannot remove owned resource while borrowed")""")


async def test_each_script_has_its_own_count_of_drops() -> None:
    for _ in range(2):
        assert not await problems(f'({HOST})(assert_return (invoke "make-and-drop" (u32.const 7)) (u32.const 701))')


async def test_call_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "CALL_SECONDS", 0.05)
    ((_, _, problem),) = await problems(f'({HOST})(invoke "never")(component)')
    assert problem == "took longer than 0.05 s"


async def test_modules_of_instances_can_be_imported() -> None:
    assert not await problems("""
      (component $library (core module (export "m") (func (export "seven") (result i32) (i32.const 7))))
      (component
        (import "library" (instance $library (export "m" (core module (export "seven" (func (result i32)))))))
        (core instance $m (instantiate (module $library "m")))
        (func (export "seven") (result u32) (canon lift (core func $m "seven"))))
      (assert_return (invoke "seven") (u32.const 7))
      (assert_unlinkable (component (import "library" (instance
        (export "m" (core module (export "seven" (func (result i64)))))))) "")
      (assert_unlinkable (component (import "library" (core module))) "")""")


# A thread that `start` leaves ready, and `count`, which tells how often it has run
LEFT_READY = """component $left
  (core module $Table (table (export "t") 1 funcref))
  (core instance $table (instantiate $Table))
  (core type $start (func (param i32)))
  (alias core export $table "t" (core table $t))
  (core func $new (canon thread.new-indirect $start (core table $t)))
  (core func $later (canon thread.resume-later))
  (core func $yield (canon thread.yield))
  (core module $M
    (import "" "new" (func $new (param i32 i32) (result i32)))
    (import "" "later" (func $later (param i32)))
    (import "" "yield" (func $yield (result i32)))
    (import "" "t" (table $t 1 funcref))
    (global $count (mut i32) (i32.const 0))
    (func $run (param i32) (global.set $count (i32.add (global.get $count) (i32.const 1))))
    (elem (table $t) (i32.const 0) func $run)
    (func (export "start") (call $later (call $new (i32.const 0) (i32.const 0))))
    (func (export "count") (result i32) (global.get $count))
    (func (export "yield-and-count") (result i32) (drop (call $yield)) (global.get $count)))
  (core instance $m (instantiate $M (with "" (instance
    (export "new" (func $new)) (export "later" (func $later)) (export "yield" (func $yield))
    (export "t" (table $table "t"))))))
  (func (export "start") (canon lift (core func $m "start")))
  (func (export "count") (result u32) (canon lift (core func $m "count")))
  (func (export "yield-and-count") (result u32) (canon lift (core func $m "yield-and-count")))"""


async def test_nothing_runs_between_invocations() -> None:
    assert not await problems(f"""({LEFT_READY})
      (invoke "start")
      (component $other)
      (assert_return (invoke $left "count") (u32.const 0))
      (assert_return (invoke $left "yield-and-count") (u32.const 1))""")


async def test_threads_of_a_script_run_at_once_and_are_waited_for() -> None:
    outcomes = await run(f"""(module $shared (func (export "one") (result i32) (i32.const 1)))
      (thread $a (shared (module $shared))
        (assert_return (invoke $shared "one") (i32.const 1))
        ({HOST}) (assert_return (invoke "sum") (u32.const 213)))
      (thread $b
        (component)
        (assert_return (invoke "missing")))
      (wait $a)
      (wait $b)""")
    assert [outcome.line for outcome in outcomes] == sorted(outcome.line for outcome in outcomes)
    assert len(outcomes) == 10
    assert [outcome.problem for outcome in outcomes if outcome.problem] == [
        "the instance exports no function 'missing' that can be invoked"
    ]


async def test_bug_is_a_failed_directive_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> bool:
        raise AssertionError("broken")

    monkeypatch.setattr(script, "means", broken)
    assert await problems(f'(assert_trap {TRAPS} "unreachable")(component)') == [
        (1, "assert_trap", "p3host failed with AssertionError('broken')")
    ]


WAIVABLE = '(assert_trap (invoke "next") "unreachable")'


@pytest.mark.parametrize(
    ("file", "directive", "instead", "is_waived"),
    [
        ("odd/strange.wast", WAIVABLE, RETURNS, True),
        ("odd/strange.wast", WAIVABLE, None, True),
        ("odd/strange.wast", WAIVABLE, "unknown handle", False),
        ("odd/strange.wast", WAIVABLE.replace("next", "nothing"), RETURNS, False),
        ("other/strange.wast", WAIVABLE, RETURNS, False),
    ],
)
async def test_waiver_holds_for_one_directive_and_one_outcome(
    monkeypatch: pytest.MonkeyPatch, file: str, directive: str, instead: str | None, is_waived: bool
) -> None:
    waiver = Waiver(file, digest(directive), instead, "it is odd")
    monkeypatch.setattr(waivers, "WAIVERS", (waiver,))
    outcome = (await run(f"({NUMBERS})\n{WAIVABLE}", "/somewhere/odd/strange.wast"))[-1]
    assert (outcome.waiver is waiver, outcome.problem is None) == (is_waived, is_waived)


async def test_directive_that_passes_needs_no_waiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waivers, "WAIVERS", (Waiver("odd/strange.wast", digest("(component)"), None, "it is odd"),))
    (outcome,) = await run("(component)", "/somewhere/odd/strange.wast")
    assert outcome.waiver is None
    assert outcome.problem is None
