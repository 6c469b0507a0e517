;; A counter with a deliberate race. increment: async func() reads the counter, waits for the import
;; record: async func(value: u32), and writes the counter: an update of another call in between is lost.
;; value: func() -> u32 is what the counter stands at.
(component
  (import "record" (func $record async (param "value" u32)))
  (core module $Libc (memory (export "memory") 1))
  (core instance $libc (instantiate $Libc))
  (core func $record (canon lower (func $record)))
  (core func $return (canon task.return))
  (core module $Main
    (import "" "record" (func $record (param i32)))
    (import "" "return" (func $return))
    (global $count (mut i32) (i32.const 0))
    (func (export "increment") (local $next i32)
      (local.set $next (i32.add (global.get $count) (i32.const 1)))
      (call $record (local.get $next))
      (global.set $count (local.get $next))
      (call $return))
    (func (export "value") (result i32) (global.get $count)))
  (core instance $main (instantiate $Main
    (with "" (instance (export "record" (func $record)) (export "return" (func $return))))))
  (func (export "increment") async (canon lift (core func $main "increment") async))
  (func (export "value") (result u32) (canon lift (core func $main "value"))))
