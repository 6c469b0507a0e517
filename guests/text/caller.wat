;; Calls the functions of callee.wat: each export makes `n` calls with a list of `count` values, and answers the sum of
;; what they answered.
(component
  (type $callee-type (instance
    (type $kind' (enum "small" "middle" "large"))
    (export "kind" (type $kind (eq $kind')))
    (type $item' (record (field "id" u32) (field "live" bool) (field "kind" $kind) (field "weight" f64)))
    (export "item" (type $item (eq $item')))
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))
    (export "bytes" (func (param "values" (list u8)) (result u32)))
    (export "strings" (func (param "values" (list string)) (result u32)))
    (export "items" (func (param "values" (list $item)) (result u32)))))
  (import "callee" (instance $callee (type $callee-type)))

  (core module $Memory (memory (export "memory") 64))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $memory))
  (core func $add (canon lower (func $callee "add")))
  (core func $bytes (canon lower (func $callee "bytes") (memory $memory)))
  (core func $strings (canon lower (func $callee "strings") (memory $memory)))
  (core func $items (canon lower (func $callee "items") (memory $memory)))

  (core module $M
    (import "" "memory" (memory 64))
    (import "" "add" (func $add (param i32 i32) (result i32)))
    (import "" "bytes" (func $bytes (param i32 i32) (result i32)))
    (import "" "strings" (func $strings (param i32 i32) (result i32)))
    (import "" "items" (func $items (param i32 i32) (result i32)))
    (data (i32.const 16) "a text of 20 letters")

    (func (export "add") (param $n i32) (param $count i32) (result i32) (local $sum i32)
      (loop $on
        (local.set $sum (i32.add (local.get $sum) (call $add (local.get $count) (i32.const 1))))
        (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "bytes") (param $n i32) (param $count i32) (result i32) (local $sum i32)
      (loop $on
        (local.set $sum (i32.add (local.get $sum) (call $bytes (i32.const 1024) (local.get $count))))
        (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "strings") (param $n i32) (param $count i32) (result i32) (local $sum i32) (local $p i32)
      (local.set $p (i32.const 1024))
      (loop $fill
        (i32.store (local.get $p) (i32.const 16))
        (i32.store offset=4 (local.get $p) (i32.const 20))
        (local.set $p (i32.add (local.get $p) (i32.const 8)))
        (br_if $fill (i32.lt_u (local.get $p) (i32.add (i32.const 1024) (i32.mul (local.get $count) (i32.const 8))))))
      (loop $on
        (local.set $sum (i32.add (local.get $sum) (call $strings (i32.const 1024) (local.get $count))))
        (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "items") (param $n i32) (param $count i32) (result i32) (local $sum i32) (local $p i32)
      (local.set $p (i32.const 1024))
      (loop $fill
        (i32.store (local.get $p) (local.get $p))
        (i32.store8 offset=4 (local.get $p) (i32.const 1))
        (i32.store8 offset=5 (local.get $p) (i32.const 2))
        (f64.store offset=8 (local.get $p) (f64.const 1.5))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (br_if $fill (i32.lt_u (local.get $p) (i32.add (i32.const 1024) (i32.mul (local.get $count) (i32.const 16))))))
      (loop $on
        (local.set $sum (i32.add (local.get $sum) (call $items (i32.const 1024) (local.get $count))))
        (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum)))
  (core instance $m (instantiate $M (with "" (instance
    (export "memory" (memory $memory))
    (export "add" (func $add)) (export "bytes" (func $bytes))
    (export "strings" (func $strings)) (export "items" (func $items))))))

  (func (export "add") (param "n" u32) (param "count" u32) (result u32) (canon lift (core func $m "add")))
  (func (export "bytes") (param "n" u32) (param "count" u32) (result u32) (canon lift (core func $m "bytes")))
  (func (export "strings") (param "n" u32) (param "count" u32) (result u32) (canon lift (core func $m "strings")))
  (func (export "items") (param "n" u32) (param "count" u32) (result u32) (canon lift (core func $m "items")))
)
