;; wasi:cli/run@0.3.0: writes "hello, world\n" to standard output and ends when the host has written it.
;; The callback ABI, and nothing else: the least that a WASI 0.3 command can be.
(component
  (import "wasi:cli/types@0.3.0" (instance $types
    (type $e (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $e)))))
  (alias export $types "error-code" (type $error-code))
  (import "wasi:cli/stdout@0.3.0" (instance $stdout
    (alias outer 1 $error-code (type $outer))
    (export "error-code" (type $e (eq $outer)))
    (type $stream (stream u8))
    (type $result (result (error $e)))
    (type $future (future $result))
    (type $func (func (param "data" $stream) (result $future)))
    (export "write-via-stream" (func (type $func)))))
  (type $stream (stream u8))
  (type $result (result (error $error-code)))
  (type $future (future $result))

  (core module $Memory
    (memory (export "memory") 1)
    (data (i32.const 1024) "hello, world\n"))
  (core instance $libc (instantiate $Memory))
  (alias core export $libc "memory" (core memory $memory))
  (core func $write-via-stream (canon lower (func $stdout "write-via-stream")))
  (core func $return (canon task.return (result (result))))
  (core func $stream-new (canon stream.new $stream))
  (core func $stream-write (canon stream.write $stream async (memory $memory)))
  (core func $stream-drop (canon stream.drop-writable $stream))
  (core func $future-read (canon future.read $future async (memory $memory)))
  (core func $future-drop (canon future.drop-readable $future))
  (core func $set-new (canon waitable-set.new))
  (core func $set-drop (canon waitable-set.drop))
  (core func $join (canon waitable.join))

  (core module $Main
    (import "libc" "memory" (memory 1))
    (import "" "write-via-stream" (func $write-via-stream (param i32) (result i32)))
    (import "" "return" (func $return (param i32)))
    (import "" "stream-new" (func $stream-new (result i64)))
    (import "" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
    (import "" "stream-drop" (func $stream-drop (param i32)))
    (import "" "future-read" (func $future-read (param i32 i32) (result i32)))
    (import "" "future-drop" (func $future-drop (param i32)))
    (import "" "set-new" (func $set-new (result i32)))
    (import "" "set-drop" (func $set-drop (param i32)))
    (import "" "join" (func $join (param i32 i32)))
    (global $set (mut i32) (i32.const 0))
    (global $output (mut i32) (i32.const 0))   ;; the writable end
    (global $written (mut i32) (i32.const 0))  ;; the future that tells how it ended
    (global $done (mut i32) (i32.const 0))     ;; bytes of the 13

    (func $wait (result i32) (i32.or (i32.const 2) (i32.shl (global.get $set) (i32.const 4))))
    (func (export "run") (result i32) (local $ends i64)
      (local.set $ends (call $stream-new))
      (global.set $output (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (global.set $written (call $write-via-stream (i32.wrap_i64 (local.get $ends))))
      (global.set $set (call $set-new))
      (call $join (global.get $output) (global.get $set))
      (call $write))
    ;; a copy may be partial: goes on until all is written or the other end is dropped
    (func $write (result i32) (local $packed i32)
      (loop $again
        (local.set $packed
          (call $stream-write
            (global.get $output)
            (i32.add (i32.const 1024) (global.get $done))
            (i32.sub (i32.const 13) (global.get $done))))
        (if (i32.eq (local.get $packed) (i32.const -1)) (then (return (call $wait))))
        (br_if $again (call $count (local.get $packed))))
      (call $close))
    (func $count (param $packed i32) (result i32)
      (global.set $done (i32.add (global.get $done) (i32.shr_u (local.get $packed) (i32.const 4))))
      (i32.and
        (i32.eqz (i32.and (local.get $packed) (i32.const 15)))
        (i32.lt_u (global.get $done) (i32.const 13))))
    (func $close (result i32)
      (call $join (global.get $output) (i32.const 0))
      (call $stream-drop (global.get $output))
      (call $join (global.get $written) (global.get $set))
      (if (i32.eq (call $future-read (global.get $written) (i32.const 16)) (i32.const -1))
        (then (return (call $wait))))
      (call $end))
    (func $end (result i32)
      (call $join (global.get $written) (i32.const 0))
      (call $future-drop (global.get $written))
      (call $set-drop (global.get $set))
      (call $return (i32.and (i32.load8_u (i32.const 16)) (i32.const 1)))
      (i32.const 0))
    (func (export "callback") (param $event i32) (param $handle i32) (param $packed i32) (result i32)
      (if (i32.eq (local.get $event) (i32.const 4)) (then (return (call $end)))) ;; the future's
      (if (call $count (local.get $packed)) (then (return (call $write))))
      (call $close)))
  (core instance $main (instantiate $Main
    (with "libc" (instance $libc))
    (with "" (instance
      (export "write-via-stream" (func $write-via-stream)) (export "return" (func $return))
      (export "stream-new" (func $stream-new)) (export "stream-write" (func $stream-write))
      (export "stream-drop" (func $stream-drop)) (export "future-read" (func $future-read))
      (export "future-drop" (func $future-drop)) (export "set-new" (func $set-new))
      (export "set-drop" (func $set-drop)) (export "join" (func $join))))))
  (func $run async (result (result))
    (canon lift (core func $main "run") async (callback (core func $main "callback"))))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $exported)))
