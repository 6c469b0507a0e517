"""Deadlocks are reported whenever they come about."""

from __future__ import annotations

import math

import anyio
import pytest
from guest_text import component_text

from p3host import Deadlock
from p3host.component import Component

pytestmark = pytest.mark.anyio

# Yields many times, so that it outlasts the first step, and then waits for a set that has no member.
YIELDS_THEN_WAITS = component_text(
    canons={"set-new": ("waitable-set.new", "(result i32)")},
    code="""
      (global $left (mut i32) (i32.const 20000))
      (func (export "f") (result i32) (i32.const 1))
      (func (export "callback") (param i32 i32 i32) (result i32)
        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
        (if (global.get $left) (then (return (i32.const 1))))
        (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))""",
    exports="""(func (export "f") async
      (canon lift (core func $main "f") async (callback (core func $main "callback"))))""",
)


async def test_a_deadlock_that_comes_after_many_steps_is_reported() -> None:
    async with Component.load(YIELDS_THEN_WAITS).instantiate(detect_deadlock=True) as instance:
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports.f()


async def test_a_deadlock_is_reported_when_guests_have_used_up_their_share_of_the_loop() -> None:
    async with Component.load(YIELDS_THEN_WAITS).instantiate(detect_deadlock=True) as instance:
        driver = instance.driver
        report = driver.report_if_stuck

        def report_late() -> None:
            driver.share.seconds = math.inf
            report()

        driver.report_if_stuck = report_late  # type: ignore[method-assign]
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports.f()
