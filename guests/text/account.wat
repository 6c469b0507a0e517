;; An account with a deliberate race. deposit and withdraw: async func(amount: s64) read the balance, wait for the import
;; record: async func(balance: s64), and write the balance: what another call has written in between is lost.
;; balance: func() -> s64.
(component
  (import "record" (func $record async (param "balance" s64)))
  (core func $record (canon lower (func $record)))
  (core func $return (canon task.return))
  (core module $Main
    (import "" "record" (func $record (param i64)))
    (import "" "return" (func $return))
    (global $balance (mut i64) (i64.const 0))
    (func $change (param $by i64) (local $next i64)
      (local.set $next (i64.add (global.get $balance) (local.get $by)))
      (call $record (local.get $next))
      (global.set $balance (local.get $next))
      (call $return))
    (func (export "deposit") (param i64) (call $change (local.get 0)))
    (func (export "withdraw") (param i64) (call $change (i64.sub (i64.const 0) (local.get 0))))
    (func (export "balance") (result i64) (global.get $balance)))
  (core instance $main (instantiate $Main
    (with "" (instance (export "record" (func $record)) (export "return" (func $return))))))
  (func (export "deposit") async (param "amount" s64) (canon lift (core func $main "deposit") async))
  (func (export "withdraw") async (param "amount" s64) (canon lift (core func $main "withdraw") async))
  (func (export "balance") (result s64) (canon lift (core func $main "balance"))))
