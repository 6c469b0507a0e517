"""A component in text that answers HTTP requests by their paths, well or not."""

from __future__ import annotations

from guest_text import MEMORY, component_text, load

from p3host import Component

TYPES = """(import "wasi:http/types@0.3.0" (instance $types
    (type $variant (variant (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $variant)))
    (export "fields" (type $fields (sub resource)))
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (type $sent (future (result (error $error-code))))
    (type $trailers (future (result (option (own $fields)) (error $error-code))))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]request.get-path-with-query"
      (func (param "self" (borrow $request)) (result (option string))))
    (type $scheme-variant (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme (eq $scheme-variant)))
    (export "[method]request.get-scheme" (func (param "self" (borrow $request)) (result (option $scheme))))
    (export "[static]response.new" (func
      (param "headers" (own $fields)) (param "contents" (option (stream u8))) (param "trailers" $trailers)
      (result (tuple (own $response) $sent))))
    (export "[method]response.set-status-code"
      (func (param "self" (borrow $response)) (param "status-code" u16) (result (result))))))
  (alias export $types "error-code" (type $error-code))
  (alias export $types "fields" (type $fields))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))
  (type $contents (stream u8))
  (type $sent (future (result (error $error-code))))
  (type $trailers (future (result (option (own $fields)) (error $error-code))))
  (alias export $types "[constructor]fields" (func $fields-new))
  (alias export $types "[method]request.get-path-with-query" (func $get-path))
  (alias export $types "[method]request.get-scheme" (func $get-scheme))
  (alias export $types "[static]response.new" (func $response-new))
  (alias export $types "[method]response.set-status-code" (func $set-status))
  (type $answer (result (own $response) (error $error-code)))"""

CANONS = {
    "fields-new": ("lower (func $fields-new)", "(result i32)"),
    "get-path": (f"lower (func $get-path) {MEMORY}", "(param i32 i32)"),
    "get-scheme": (f"lower (func $get-scheme) {MEMORY}", "(param i32 i32)"),
    "response-new": (f"lower (func $response-new) {MEMORY}", "(param i32 i32 i32 i32 i32)"),
    "set-status": ("lower (func $set-status)", "(param i32 i32) (result i32)"),
    "return": ("task.return (result $answer) (memory $memory)", "(param i32 i32 i32 i32 i32)"),
    "cancel": ("task.cancel", ""),
    "set-new": ("waitable-set.new", "(result i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "contents-new": ("stream.new $contents", "(result i64)"),
    "trailers-new": ("future.new $trailers", "(result i64)"),
    "trailers-write": (f"future.write $trailers async {MEMORY}", "(param i32 i32) (result i32)"),
    "trailers-drop": ("future.drop-writable $trailers", "(param i32)"),
    "sent-drop": ("future.drop-readable $sent", "(param i32)"),
}

CODE = """
    (global $count (mut i32) (i32.const 0))
    (func $wait-for (param $set i32) (result i32) (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    ;; answers with a response, and gives the writable end of its trailers
    (func $respond (param $status i32) (param $has-body i32) (result i32)
      (local $body i32) (local $trailers i64)
      (local.set $trailers (call $trailers-new))
      (if (local.get $has-body) (then (local.set $body (i32.wrap_i64 (call $contents-new)))))
      (call $response-new (call $fields-new) (local.get $has-body) (local.get $body)
        (i32.wrap_i64 (local.get $trailers)) (i32.const 32))
      (call $sent-drop (i32.load (i32.const 36)))
      (drop (call $set-status (i32.load (i32.const 32)) (local.get $status)))
      (call $return (i32.const 0) (i32.load (i32.const 32)) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
    (func $answer (param $status i32) (result i32) (local $trailers i32) (local $set i32)
      (local.set $trailers (call $respond (local.get $status) (i32.const 0)))
      (local.set $set (call $set-new))
      (drop (call $trailers-write (local.get $trailers) (i32.const 64)))  ;; zeros: no trailers
      (call $join (local.get $trailers) (local.get $set))
      (call $wait-for (local.get $set)))
    (func $spin (loop $on (br $on)))
    (func (export "handle") (param $request i32) (result i32) (local $kind i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $get-path (local.get $request) (i32.const 16))
      (local.set $kind (i32.load8_u offset=1 (i32.load (i32.const 20))))
      ;; /trap
      (if (i32.eq (local.get $kind) (i32.const 0x74)) (then (unreachable)))
      ;; /error
      (if (i32.eq (local.get $kind) (i32.const 0x65)) (then
        (call $return (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (return (i32.const 0))))
      ;; /wait
      (if (i32.eq (local.get $kind) (i32.const 0x77)) (then (return (call $wait-for (call $set-new)))))
      ;; /spin
      (if (i32.eq (local.get $kind) (i32.const 0x73)) (then (call $spin)))
      ;; /open: a response whose body never comes
      (if (i32.eq (local.get $kind) (i32.const 0x6f)) (then
        (drop (call $respond (i32.const 200) (i32.const 1))) (return (call $wait-for (call $set-new)))))
      ;; /late: one whose body is a trap
      (if (i32.eq (local.get $kind) (i32.const 0x6c)) (then
        (drop (call $respond (i32.const 200) (i32.const 1))) (return (i32.const 1))))
      ;; /informational: a status that is not final
      (if (i32.eq (local.get $kind) (i32.const 0x69)) (then
        (drop (call $respond (i32.const 103) (i32.const 1))) (return (call $wait-for (call $set-new)))))
      ;; /protocol
      (if (i32.eq (local.get $kind) (i32.const 0x70)) (then
        (call $get-scheme (local.get $request) (i32.const 80))
        (return (call $answer (i32.add (i32.const 200) (i32.load8_u (i32.const 84)))))))
      (call $answer (i32.add (i32.const 199) (global.get $count))))
    (func (export "handle-event") (param $event i32) (param $p1 i32) (param $p2 i32) (result i32)
      (if (i32.eq (local.get $event) (i32.const 6)) (then (call $cancel) (return (i32.const 0))))
      (if (i32.eqz (local.get $event)) (then (unreachable)))  ;; it has yielded
      (call $join (local.get $p1) (i32.const 0))
      (call $trailers-drop (local.get $p1))
      (i32.const 0))
"""

ANSWERS = component_text(
    imports=TYPES,
    canons=CANONS,
    code=CODE,
    exports=f"""
  (func $handle async (param "request" (own $request)) (result $answer) (canon lift (core func $main "handle")
    async (callback (core func $main "handle-event")) {MEMORY}))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler))""",
)
"""`/trap`, `/error` (answers with an error), `/wait` (for ever), `/spin` (computes for ever), `/open` (its body never
comes), `/late` (its body traps), `/informational` (the status 103), `/protocol` (the status 200 to HTTP, 201 to HTTPS).
Anything else is answered by the status 199 and the number of requests that the instance has had."""


def answers() -> Component:
    return load(ANSWERS)
