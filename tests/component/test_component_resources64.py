"""Resources whose representation is an i64 (`rep i64`, marked 🐘 in the specification)."""

from __future__ import annotations

import pytest
from guest_text import load

from p3host import Trap

pytestmark = pytest.mark.anyio

TEXT = """(component
  (core module $Destructor
    (global $last (mut i64) (i64.const 0))
    (func (export "destructor") (param i64) (global.set $last (local.get 0)))
    (func (export "last") (result i64) (global.get $last)))
  (core instance $destructor (instantiate $Destructor))
  (type $r (resource (rep i64) (dtor (core func $destructor "destructor"))))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (core module $Main
    (import "" "new" (func $new (param i64) (result i32)))
    (import "" "rep" (func $rep (param i32) (result i64)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "make") (param i64) (result i32) (call $new (local.get 0)))
    (func (export "self") (param i32) (result i64) (i64.extend_i32_u (local.get 0)))
    (func (export "through") (param i64) (result i64) (local $handle i32)
      (local.set $handle (call $new (local.get 0)))
      (call $rep (local.get $handle))
      (call $drop (local.get $handle))))
  (core instance $main (instantiate $Main (with "" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (export $R "r" (type $r))
  (type $own (own $R))
  (type $borrow (borrow $R))
  (func (export "[method]r.self") (param "self" $borrow) (result u64) (canon lift (core func $main "self")))
  (func (export "make") (param "rep" u64) (result $own) (canon lift (core func $main "make")))
  (func (export "through") (param "rep" u64) (result u64) (canon lift (core func $main "through")))
  (func (export "last") (result u64) (canon lift (core func $destructor "last"))))"""
REP = 2**64 - 3


async def test_all_64_bits_come_back_and_reach_the_destructor() -> None:
    async with load(TEXT).instantiate() as instance:
        assert await instance.exports.through(REP) == REP
        assert await instance.exports.last() == REP
        resource = await instance.exports.make(REP - 1)
        resource.close()
        assert await instance.exports.last() == REP - 1


async def test_borrow_has_room_for_32_bits() -> None:
    """The specification passes borrows as i32, also to the instance that implements the resource."""
    async with load(TEXT).instantiate() as instance:
        small = await instance.exports.make(2**32 - 1)
        assert await small.self() == 2**32 - 1
        large = await instance.exports.make(2**32)
        with pytest.raises(Trap, match="no room for the representation 0x100000000"):
            await large.self()
