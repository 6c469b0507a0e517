"""A guest that sends HTTP requests by remote control: it exports each built-in and each import as it gets it, so that a
test decides which handle it uses, copies with, or drops next.

Handles, addresses and packed results are plain numbers, as in core wasm.
"""

from __future__ import annotations

import re

from guest_text import MEMORY, component_text, sync_export

from p3host.wasi.http.messages import EMPTY_CASES, OPTIONAL_CASES, RECORD_CASES

VALUES = {
    "HTTP-request-body-size": "u64",
    "HTTP-response-body-size": "u64",
    "internal-error": "string",
    "HTTP-response-transfer-coding": "string",
    "HTTP-response-content-coding": "string",
}
RECORDS = {
    "DNS-error": "$dns",
    "TLS-alert-received": "$alert",
}
CASES = [
    *(f'(case "{name}")' for name in sorted(EMPTY_CASES)),
    *(f'(case "{name}" (option {VALUES.get(name, "u32")}))' for name in sorted(OPTIONAL_CASES - RECORD_CASES.keys())),
    *(f'(case "{name}" {"(option $field)" if name == "HTTP-request-header-size" else RECORDS.get(name, "$field")})'
      for name in sorted(RECORD_CASES)),
]  # fmt: skip

IMPORTS = f"""(import "wasi:http/types@0.3.0" (instance $types
    (type $dns-record (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "dns-error-payload" (type $dns (eq $dns-record)))
    (type $alert-record (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "tls-alert-received-payload" (type $alert (eq $alert-record)))
    (type $field-record (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field (eq $field-record)))
    (type $variant (variant {" ".join(CASES)}))
    (export "error-code" (type $error-code (eq $variant)))
    (type $method-variant (variant (case "get") (case "head") (case "post") (case "other" string)))
    (export "method" (type $method (eq $method-variant)))
    (type $scheme-variant (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme (eq $scheme-variant)))
    (export "fields" (type $fields (sub resource)))
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (export "request-options" (type $options (sub resource)))
    (type $sent (future (result (error $error-code))))
    (type $trailers (future (result (option (own $fields)) (error $error-code))))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[static]request.new" (func
      (param "headers" (own $fields)) (param "contents" (option (stream u8))) (param "trailers" $trailers)
      (param "options" (option (own $options))) (result (tuple (own $request) $sent))))
    (export "[method]request.set-method" (func
      (param "self" (borrow $request)) (param "method" $method) (result (result))))
    (export "[method]request.set-scheme" (func
      (param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))))
    (export "[method]request.set-authority" (func
      (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
    (export "[static]response.consume-body" (func (param "this" (own $response)) (param "res" $sent)
      (result (tuple (stream u8) $trailers))))))
  (alias export $types "error-code" (type $error-code))
  (alias export $types "fields" (type $fields))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))
  (import "wasi:http/client@0.3.0" (instance $client
    (alias outer 1 $request (type $outer-request))
    (alias outer 1 $response (type $outer-response))
    (alias outer 1 $error-code (type $outer-error))
    (export "request" (type $request (eq $outer-request)))
    (export "response" (type $response (eq $outer-response)))
    (export "error-code" (type $error-code (eq $outer-error)))
    (export "send" (func async (param "request" (own $request))
      (result (result (own $response) (error $error-code)))))))
  (type $contents (stream u8))
  (type $sent (future (result (error $error-code))))
  (type $trailers (future (result (option (own $fields)) (error $error-code))))
  (alias export $types "[constructor]fields" (func $fields-new))
  (alias export $types "[static]request.new" (func $request-new))
  (alias export $types "[method]request.set-method" (func $set-method))
  (alias export $types "[method]request.set-scheme" (func $set-scheme))
  (alias export $types "[method]request.set-authority" (func $set-authority))
  (alias export $types "[static]response.consume-body" (func $consume-body))
  (alias export $client "send" (func $send))"""

ONE, TWO, THREE = "(param i32)", "(param i32 i32)", "(param i32 i32 i32)"
COPY, COUNTED = f"{TWO} (result i32)", f"{THREE} (result i32)"
CANCEL = f"{ONE} (result i32)"

CANONS = {
    "fields-new": ("lower (func $fields-new)", "(result i32)"),
    "fields-drop": ("resource.drop $fields", ONE),
    "request-new": (f"lower (func $request-new) {MEMORY}", "(param i32 i32 i32 i32 i32 i32 i32)"),
    "set-method": (f"lower (func $set-method) {MEMORY}", "(param i32 i32 i32 i32) (result i32)"),
    "set-scheme": (f"lower (func $set-scheme) {MEMORY}", "(param i32 i32 i32 i32 i32) (result i32)"),
    "set-authority": (f"lower (func $set-authority) {MEMORY}", "(param i32 i32 i32 i32) (result i32)"),
    "request-drop": ("resource.drop $request", ONE),
    "response-drop": ("resource.drop $response", ONE),
    "send": (f"lower (func $send) async {MEMORY}", COPY),
    "consume-body": (f"lower (func $consume-body) {MEMORY}", THREE),
    "subtask-cancel": ("subtask.cancel async", CANCEL),
    "subtask-drop": ("subtask.drop", ONE),
    "set-new": ("waitable-set.new", "(result i32)"),
    "set-poll": ("waitable-set.poll (memory $memory)", COPY),
    "join": ("waitable.join", TWO),
    "contents-new": ("stream.new $contents", "(result i64)"),
    "contents-read": (f"stream.read $contents async {MEMORY}", COUNTED),
    "contents-write": (f"stream.write $contents async {MEMORY}", COUNTED),
    "contents-cancel-read": ("stream.cancel-read $contents async", CANCEL),
    "contents-cancel-write": ("stream.cancel-write $contents async", CANCEL),
    "contents-drop-readable": ("stream.drop-readable $contents", ONE),
    "contents-drop-writable": ("stream.drop-writable $contents", ONE),
    **{
        f"{name}-{operation}": (text.format(name), signature)
        for name in ("trailers", "sent")
        for operation, text, signature in (
            ("new", "future.new ${}", "(result i64)"),
            ("read", f"future.read ${{}} async {MEMORY}", COPY),
            ("write", f"future.write ${{}} async {MEMORY}", COPY),
            ("cancel-read", "future.cancel-read ${} async", CANCEL),
            ("cancel-write", "future.cancel-write ${} async", CANCEL),
            ("drop-readable", "future.drop-readable ${}", ONE),
            ("drop-writable", "future.drop-writable ${}", ONE),
        )
    },
}


def export(name: str, signature: str) -> tuple[str, str]:
    """The core function that calls a built-in, and its lifting."""
    params = re.findall(r"i32|i64", signature.partition("(result")[0])
    results = re.findall(r"i32|i64", signature.partition("(result")[2])
    call = f"(call ${name} {' '.join(f'(local.get {i})' for i in range(len(params)))})"
    types = " ".join(f'(param "p{i}" u32)' for i in range(len(params)))
    core = f'(func (export "{name}") {signature} {call})'
    return core, sync_export(name, types, {"i32": "u32", "i64": "u64"}[results[0]] if results else "")


EXPORTS = [export(name, signature) for name, (_, signature) in CANONS.items()]

REMOTE = component_text(
    imports=IMPORTS,
    canons=CANONS,
    code="\n".join(core for core, _ in EXPORTS)
    + """
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "clear") (param i32 i32) (memory.fill (local.get 0) (i32.const 0) (local.get 1)))
    (func (export "text") (param i32 i32) (result i32) (local.get 0))
""",
    exports="\n".join(
        [
            *(lifting for _, lifting in EXPORTS),
            sync_export("load", '(param "address" u32)', "u32"),
            sync_export("clear", '(param "address" u32) (param "count" u32)'),
            sync_export("text", '(param "text" string)', "u32", MEMORY),
        ]
    ),
)
"""Beside what it imports, it has `load`, `clear`, and `text`, which gives the address of a text."""
