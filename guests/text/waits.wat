;; call-async: async func(n: u32)   n calls of `now` through an async lower, one after the other; waits for each that
;;                                  doesn't return at once
;; call-sync:  func(n: u32)         n calls of `now-sync`
;; park:       async func()         waits for `gate` with the callback ABI
;; park-on-stack: async func()      waits for `gate` in the middle of its stack
(component
  (import "now" (func $now async (result u64)))
  (import "now-sync" (func $now-sync (result u64)))
  (import "gate" (func $gate async))

  (core module $Memory (memory (export "memory") 1))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $now' (canon lower (func $now) async (memory $mem)))
  (core func $now-sync' (canon lower (func $now-sync)))
  (core func $gate' (canon lower (func $gate) async (memory $mem)))
  (core func $gate-sync' (canon lower (func $gate)))
  (core func $return (canon task.return))
  (core func $set-new (canon waitable-set.new))
  (core func $set-drop (canon waitable-set.drop))
  (core func $join (canon waitable.join))
  (core func $subtask-drop (canon subtask.drop))
  (core func $context-get (canon context.get i32 0))
  (core func $context-set (canon context.set i32 0))

  (core module $M
    (import "" "now" (func $now (param i32) (result i32)))
    (import "" "now-sync" (func $now-sync (result i64)))
    (import "" "gate" (func $gate (result i32)))
    (import "" "gate-sync" (func $gate-sync))
    (import "" "return" (func $return))
    (import "" "set-new" (func $set-new (result i32)))
    (import "" "set-drop" (func $set-drop (param i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "subtask-drop" (func $subtask-drop (param i32)))
    (import "" "context-get" (func $context-get (result i32)))
    (import "" "context-set" (func $context-set (param i32)))

    (func (export "call-sync") (param $n i32)
      (block $end
        (loop $next
          (br_if $end (i32.eqz (local.get $n)))
          (drop (call $now-sync))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $next))))

    ;; The context holds the number of calls left (the low 20 bits) and the waitable set.
    (func $go-on (param $n i32) (param $set i32) (result i32) (local $status i32)
      (block $end
        (loop $next
          (br_if $end (i32.eqz (local.get $n)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (local.set $status (call $now (i32.const 16)))
          (br_if $next (i32.eq (local.get $status) (i32.const 2)))
          (call $join (i32.shr_u (local.get $status) (i32.const 4)) (local.get $set))
          (call $context-set (i32.or (local.get $n) (i32.shl (local.get $set) (i32.const 20))))
          (return (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))))
      (call $set-drop (local.get $set))
      (call $return)
      (i32.const 0))
    (func (export "call-async") (param $n i32) (result i32)
      (call $go-on (local.get $n) (call $set-new)))
    (func (export "called") (param i32 i32 i32) (result i32) (local $c i32)
      (local.set $c (call $context-get))
      (if (i32.ne (local.get 2) (i32.const 2))
        (then (return (i32.or (i32.const 2) (i32.shl (i32.shr_u (local.get $c) (i32.const 20)) (i32.const 4))))))
      (call $subtask-drop (local.get 1))
      (call $go-on
        (i32.and (local.get $c) (i32.const 0xfffff))
        (i32.shr_u (local.get $c) (i32.const 20))))

    (func (export "park") (result i32) (local $set i32)
      (local.set $set (call $set-new))
      (call $context-set (local.get $set))
      (call $join (i32.shr_u (call $gate) (i32.const 4)) (local.get $set))
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    (func (export "parked") (param i32 i32 i32) (result i32)
      (if (i32.ne (local.get 2) (i32.const 2))
        (then (return (i32.or (i32.const 2) (i32.shl (call $context-get) (i32.const 4))))))
      (call $subtask-drop (local.get 1))
      (call $set-drop (call $context-get))
      (call $return)
      (i32.const 0))
    (func (export "park-on-stack") (call $gate-sync) (call $return)))
  (core instance $m (instantiate $M (with "" (instance
    (export "now" (func $now'))
    (export "now-sync" (func $now-sync'))
    (export "gate" (func $gate'))
    (export "gate-sync" (func $gate-sync'))
    (export "return" (func $return))
    (export "set-new" (func $set-new))
    (export "set-drop" (func $set-drop))
    (export "join" (func $join))
    (export "subtask-drop" (func $subtask-drop))
    (export "context-get" (func $context-get))
    (export "context-set" (func $context-set))))))

  (func (export "call-async") async (param "n" u32)
    (canon lift (core func $m "call-async") async (callback (core func $m "called"))))
  (func (export "call-sync") (param "n" u32) (canon lift (core func $m "call-sync")))
  (func (export "park") async
    (canon lift (core func $m "park") async (callback (core func $m "parked"))))
  (func (export "park-on-stack") async (canon lift (core func $m "park-on-stack") async)))
