;; wasi_snapshot_preview1 over WASI 0.3, as far as a Go program on wasiOnIdle needs it: clocks, random, and its two
;; standard outputs, both to stderr, where a panic prints. There are no arguments, environment or files. A program
;; that ends, which for a Go library is a panic, traps.
;;
;; Go leaves bytes 4096 to 12288 of its memory unused on wasip1; 4096 to 4111 are scratch here.
(module
  (import "wasi:clocks/monotonic-clock@0.3.0" "now" (func $monotonic-now (result i64)))
  (import "wasi:clocks/system-clock@0.3.0" "now" (func $system-now (param $instant i32)))
  (import "wasi:random/random@0.3.0" "get-random-u64" (func $random (result i64)))
  (import "wasi:cli/stderr@0.3.0" "write-via-stream" (func $write-via-stream (param $readable i32) (result i32)))
  (import "wasi:cli/stderr@0.3.0" "[stream-new-0]write-via-stream" (func $stream-new (result i64)))
  (import "wasi:cli/stderr@0.3.0" "[async-lower][stream-write-0]write-via-stream"
    (func $stream-write (param $writable i32) (param $p i32) (param $n i32) (result i32)))
  (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
  (import "$root" "[waitable-set-wait]" (func $set-wait (param $set i32) (param $payload i32) (result i32)))
  (import "$root" "[waitable-join]" (func $join (param $waitable i32) (param $set i32)))
  (import "env" "memory" (memory 0))

  ;; The writable end of stderr and the waitable set that it is in: 0 until something is written.
  (global $writable (mut i32) (i32.const 0))
  (global $set (mut i32) (i32.const 0))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (if (local.get $clock)
      (then (i64.store (local.get $time) (call $monotonic-now)))
      (else
        (call $system-now (i32.const 4096)) ;; seconds: s64, nanoseconds: u32
        (i64.store (local.get $time)
          (i64.add
            (i64.mul (i64.load (i32.const 4096)) (i64.const 1000000000))
            (i64.load32_u (i32.const 4104))))))
    (i32.const 0))

  (func (export "random_get") (param $p i32) (param $n i32) (result i32)
    (local $bits i64) (local $left i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (if (i32.eqz (local.get $left))
          (then
            (local.set $bits (call $random))
            (local.set $left (i32.const 8))))
        (i64.store8 (local.get $p) (local.get $bits))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Blocks, with the whole instance, until the host has taken all bytes or dropped its end.
  (func $write (param $p i32) (param $n i32)
    (local $ends i64) (local $result i32)
    (if (i32.eqz (global.get $writable))
      (then
        (local.set $ends (call $stream-new))
        (global.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (drop (call $write-via-stream (i32.wrap_i64 (local.get $ends))))
        (global.set $set (call $set-new))
        (call $join (global.get $writable) (global.get $set))))
    (loop $next
      (if (local.get $n)
        (then
          (local.set $result (call $stream-write (global.get $writable) (local.get $p) (local.get $n)))
          (if (i32.eq (local.get $result) (i32.const -1)) ;; blocked: the event's payload is the end and the result
            (then
              (drop (call $set-wait (global.get $set) (i32.const 4096)))
              (local.set $result (i32.load (i32.const 4100)))))
          (local.set $p (i32.add (local.get $p) (i32.shr_u (local.get $result) (i32.const 4))))
          (local.set $n (i32.sub (local.get $n) (i32.shr_u (local.get $result) (i32.const 4))))
          (br_if $next (i32.eqz (i32.and (local.get $result) (i32.const 15))))))))

  (func (export "fd_write") (param $fd i32) (param $iov i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (if (i32.ge_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 2))
      (then (return (i32.const 8)))) ;; EBADF
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (call $write (i32.load (local.get $iov)) (i32.load offset=4 (local.get $iov)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $iov))))
        (local.set $iov (i32.add (local.get $iov) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "proc_exit") (param $status i32) unreachable)

  (func $nothing (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $nothing))
  (export "environ_sizes_get" (func $nothing))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))
  ;; The runtime asks for short pauses on its way to a panic only: each is over at once.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $ready i32) (result i32)
    (i64.store (local.get $out) (i64.load (local.get $in))) ;; userdata
    (i64.store offset=8 (local.get $out) (i64.const 0)) ;; no error, a clock's event
    (i32.store (local.get $ready) (i32.const 1))
    (i32.const 0))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  ;; What io.Copy asks of a file, as any file could be what it copies.
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8)))
