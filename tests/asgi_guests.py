"""A component in text that answers HTTP requests by their paths, well or not."""

from __future__ import annotations

from guest_text import MEMORY, component_text, load

from p3host import Component

TYPES = """(import "wasi:http/types@0.3.0" (instance $types
    (type $variant (variant (case "internal-error" (option string))))
    (type $header-error (variant (case "invalid-syntax")))
    (export "header-error" (type $header-failure (eq $header-error)))
    (export "error-code" (type $error-code (eq $variant)))
    (export "fields" (type $fields (sub resource)))
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (type $sent (future (result (error $error-code))))
    (type $trailers (future (result (option (own $fields)) (error $error-code))))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func
      (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
      (result (result (error $header-failure)))))
    (export "[static]request.consume-body" (func (param "this" (own $request)) (param "res" $sent)
      (result (tuple (stream u8) $trailers))))
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
  (alias export $types "[method]fields.append" (func $fields-append))
  (alias export $types "[static]request.consume-body" (func $consume-body))
  (alias export $types "[method]request.get-path-with-query" (func $get-path))
  (alias export $types "[method]request.get-scheme" (func $get-scheme))
  (alias export $types "[static]response.new" (func $response-new))
  (alias export $types "[method]response.set-status-code" (func $set-status))
  (type $answer (result (own $response) (error $error-code)))"""

CANONS = {
    "fields-new": ("lower (func $fields-new)", "(result i32)"),
    "fields-append": (f"lower (func $fields-append) {MEMORY}", "(param i32 i32 i32 i32 i32 i32)"),
    "consume-body": (f"lower (func $consume-body) {MEMORY}", "(param i32 i32 i32)"),
    "get-path": (f"lower (func $get-path) {MEMORY}", "(param i32 i32)"),
    "get-scheme": (f"lower (func $get-scheme) {MEMORY}", "(param i32 i32)"),
    "response-new": (f"lower (func $response-new) {MEMORY}", "(param i32 i32 i32 i32 i32)"),
    "set-status": ("lower (func $set-status)", "(param i32 i32) (result i32)"),
    "return": ("task.return (result $answer) (memory $memory)", "(param i32 i32 i32 i32 i32)"),
    "cancel": ("task.cancel", ""),
    "set-new": ("waitable-set.new", "(result i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "get": ("context.get i32 0", "(result i32)"),
    "set": ("context.set i32 0", "(param i32)"),
    "contents-new": ("stream.new $contents", "(result i64)"),
    "contents-write": (f"stream.write $contents async {MEMORY}", "(param i32 i32 i32) (result i32)"),
    "contents-drop": ("stream.drop-writable $contents", "(param i32)"),
    "trailers-new": ("future.new $trailers", "(result i64)"),
    "trailers-write": (f"future.write $trailers async {MEMORY}", "(param i32 i32) (result i32)"),
    "trailers-drop": ("future.drop-writable $trailers", "(param i32)"),
    "answer-new": ("future.new $sent", "(result i64)"),
    "answer-write": (f"future.write $sent async {MEMORY}", "(param i32 i32) (result i32)"),
    "answer-drop": ("future.drop-writable $sent", "(param i32)"),
    "sent-drop": ("future.drop-readable $sent", "(param i32)"),
}

CODE = """
    (data (i32.const 512) "content-length42")
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
      (call $set (local.get $trailers))
      (drop (call $trailers-write (local.get $trailers) (i32.const 64)))  ;; zeros: no trailers
      (call $join (local.get $trailers) (local.get $set))
      (call $wait-for (local.get $set)))
    (func $spin (loop $on (br $on)))
    ;; answers with three bytes, and a header that says they are as many as the digit at $digit. The task's context
    ;; holds the writable end of the trailers then
    (func $lie (param $digit i32) (result i32)
      (local $fields i32) (local $body i64) (local $trailers i64) (local $set i32)
      (local.set $fields (call $fields-new))
      (call $fields-append (local.get $fields) (i32.const 512) (i32.const 14) (local.get $digit) (i32.const 1)
        (i32.const 96))
      (local.set $body (call $contents-new))
      (local.set $trailers (call $trailers-new))
      (call $response-new (local.get $fields) (i32.const 1) (i32.wrap_i64 (local.get $body))
        (i32.wrap_i64 (local.get $trailers)) (i32.const 32))
      (call $sent-drop (i32.load (i32.const 36)))
      (call $return (i32.const 0) (i32.load (i32.const 32)) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $set (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
      (local.set $body (i64.shr_u (local.get $body) (i64.const 32)))
      (drop (call $contents-write (i32.wrap_i64 (local.get $body)) (i32.const 512) (i32.const 3)))
      (local.set $set (call $set-new))
      (call $join (i32.wrap_i64 (local.get $body)) (local.get $set))
      (call $wait-for (local.get $set)))
    ;; answers with the body of the request, which passes by the guest. The task's context holds 0 then
    (func $bounce (param $request i32) (result i32) (local $answer i64) (local $set i32)
      (local.set $answer (call $answer-new))
      (call $consume-body (local.get $request) (i32.wrap_i64 (local.get $answer)) (i32.const 48))
      (call $response-new (call $fields-new) (i32.const 1) (i32.load (i32.const 48)) (i32.load (i32.const 52))
        (i32.const 32))
      (call $sent-drop (i32.load (i32.const 36)))
      (call $return (i32.const 0) (i32.load (i32.const 32)) (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $answer-write (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (i32.const 64)))
      (local.set $set (call $set-new))
      (call $join (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (local.get $set))
      (call $wait-for (local.get $set)))
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
      ;; /fewer and /more: bytes than announced
      (if (i32.eq (local.get $kind) (i32.const 0x66)) (then (return (call $lie (i32.const 526)))))
      (if (i32.eq (local.get $kind) (i32.const 0x6d)) (then (return (call $lie (i32.const 527)))))
      ;; /bounce
      (if (i32.eq (local.get $kind) (i32.const 0x62)) (then (return (call $bounce (local.get $request)))))
      ;; /protocol
      (if (i32.eq (local.get $kind) (i32.const 0x70)) (then
        (call $get-scheme (local.get $request) (i32.const 80))
        (return (call $answer (i32.add (i32.const 200) (i32.load8_u (i32.const 84)))))))
      (call $answer (i32.add (i32.const 199) (global.get $count))))
    (func (export "handle-event") (param $event i32) (param $p1 i32) (param $p2 i32) (result i32) (local $set i32)
      (if (i32.eq (local.get $event) (i32.const 6)) (then (call $cancel) (return (i32.const 0))))
      (if (i32.eqz (local.get $event)) (then (unreachable)))  ;; it has yielded
      (call $join (local.get $p1) (i32.const 0))
      (if (i32.eq (local.get $event) (i32.const 3)) (then  ;; of $lie
        (call $contents-drop (local.get $p1))
        (drop (call $trailers-write (call $get) (i32.const 64)))
        (local.set $set (call $set-new))
        (call $join (call $get) (local.get $set))
        (return (call $wait-for (local.get $set)))))
      (if (i32.eqz (call $get)) (then (call $answer-drop (local.get $p1)) (return (i32.const 0))))
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
comes), `/late` (its body traps), `/informational` (the status 103), `/fewer` and `/more` (three bytes, where four or
two were announced), `/bounce` (the request's body), `/protocol` (the status 200 to HTTP, 201 to HTTPS). Anything
else is answered by the status 199 and the number of requests that the instance has had."""


def answers() -> Component:
    return load(ANSWERS)
