// An HTTP service of WASI 0.2 by hand: see world.wit for what it answers. It blocks in wasi:io/poll.
#include "component.h"

#define HTTP "wasi:http/types@0.2.12"
#define STREAMS "wasi:io/streams@0.2.12"
#define POLL "wasi:io/poll@0.2.12"

// Options, results and variants as they lie in memory: the case, then the value.
typedef struct {
  u8 some;
  view text;
} optional_text;
typedef struct {
  u8 tag;
  view other;
} name; // a method or a scheme
typedef struct {
  u8 some;
  name scheme;
} optional_scheme;
typedef struct {
  u8 is_error;
  u32 handle;
} made; // result<own>
typedef struct {
  u8 failed;
  struct {
    u8 failure;
    u32 error;
  };
} written; // result<_, stream-error>
typedef struct {
  u8 failed;
  union {
    view bytes;
    struct {
      u8 failure;
      u32 error;
    };
  };
} piece; // result<list<u8>, stream-error>
typedef struct {
  u8 failed;
  u64 count;
} permit; // result<u64, stream-error>
typedef struct {
  u8 tag;
  u64 payload[3];
} error_code;
typedef struct {
  u8 some;
  error_code code;
} optional_error_code;
typedef struct {
  u8 is_error;
  union {
    u32 handle;
    error_code error;
  };
} sent; // result<own, error-code>, or result<_, error-code>
typedef struct {
  _Alignas(8) u8 some;
  _Alignas(8) u8 is_error;
  _Alignas(8) u8 failed;
  union {
    u32 handle;
    struct {
      u8 has_trailers;
      u32 trailers;
    };
    error_code error;
  };
} answer; // option<result<result<own or option<own>, error-code>>>

IMPORT(HTTP, "[constructor]fields") u32 fields_new(void);
IMPORT(HTTP, "[method]fields.clone") u32 fields_clone(u32 fields);
IMPORT(HTTP, "[method]fields.append")
void fields_append(u32 fields, const char *name, u32 name_length, const char *value, u32 value_length, u8 result[2]);
IMPORT(HTTP, "[resource-drop]fields") void fields_drop(u32 fields);
IMPORT(HTTP, "[method]incoming-request.method") void request_method(u32 request, name *result);
IMPORT(HTTP, "[method]incoming-request.path-with-query") void request_path(u32 request, optional_text *result);
IMPORT(HTTP, "[method]incoming-request.scheme") void request_scheme(u32 request, optional_scheme *result);
IMPORT(HTTP, "[method]incoming-request.authority") void request_authority(u32 request, optional_text *result);
IMPORT(HTTP, "[method]incoming-request.headers") u32 request_headers(u32 request);
IMPORT(HTTP, "[method]incoming-request.consume") void request_consume(u32 request, made *result);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(u32 request);
IMPORT(HTTP, "[method]incoming-body.stream") void incoming_stream(u32 body, made *result);
IMPORT(HTTP, "[static]incoming-body.finish") u32 incoming_finish(u32 body);
IMPORT(HTTP, "[resource-drop]incoming-body") void incoming_drop(u32 body);
IMPORT(HTTP, "[method]future-trailers.subscribe") u32 trailers_subscribe(u32 future);
IMPORT(HTTP, "[method]future-trailers.get") void trailers_get(u32 future, answer *result);
IMPORT(HTTP, "[resource-drop]future-trailers") void trailers_drop(u32 future);
IMPORT(HTTP, "[constructor]outgoing-response") u32 response_new(u32 headers);
IMPORT(HTTP, "[method]outgoing-response.set-status-code") u32 response_set_status(u32 response, u32 status);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(u32 response, made *result);
IMPORT(HTTP, "[method]outgoing-body.write") void outgoing_write(u32 body, made *result);
IMPORT(HTTP, "[static]outgoing-body.finish") void outgoing_finish(u32 body, u32 some, u32 trailers, sent *result);
IMPORT(HTTP, "[resource-drop]outgoing-body") void outgoing_drop(u32 body);
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(u32 param, u32 is_error, u32 response_or_code, u32, u64, u32, u32, u32, u32);
IMPORT(HTTP, "[constructor]outgoing-request") u32 sending_new(u32 headers);
IMPORT(HTTP, "[method]outgoing-request.set-method") u32 sending_set_method(u32 request, u32 tag, void *text, u32 length);
IMPORT(HTTP, "[method]outgoing-request.set-path-with-query")
u32 sending_set_path(u32 request, u32 some, void *text, u32 length);
IMPORT(HTTP, "[method]outgoing-request.set-scheme")
u32 sending_set_scheme(u32 request, u32 some, u32 tag, void *text, u32 length);
IMPORT(HTTP, "[method]outgoing-request.set-authority")
u32 sending_set_authority(u32 request, u32 some, void *text, u32 length);
IMPORT(HTTP, "[method]outgoing-request.body") void sending_body(u32 request, made *result);
IMPORT("wasi:http/outgoing-handler@0.2.12", "handle")
void send(u32 request, u32 has_options, u32 options, sent *result);
IMPORT(HTTP, "[method]future-incoming-response.subscribe") u32 future_subscribe(u32 future);
IMPORT(HTTP, "[method]future-incoming-response.get") void future_get(u32 future, answer *result);
IMPORT(HTTP, "[resource-drop]future-incoming-response") void future_drop(u32 future);
IMPORT(HTTP, "[method]incoming-response.status") u32 received_status(u32 response);
IMPORT(HTTP, "[method]incoming-response.headers") u32 received_headers(u32 response);
IMPORT(HTTP, "[method]incoming-response.consume") void received_consume(u32 response, made *result);
IMPORT(HTTP, "[resource-drop]incoming-response") void received_drop(u32 response);
IMPORT(HTTP, "http-error-code") void http_error_code(u32 error, optional_error_code *result);

IMPORT(STREAMS, "[method]input-stream.read") void input_read(u32 stream, u64 length, piece *result);
IMPORT(STREAMS, "[method]input-stream.subscribe") u32 input_subscribe(u32 stream);
IMPORT(STREAMS, "[resource-drop]input-stream") void input_drop(u32 stream);
IMPORT(STREAMS, "[method]output-stream.check-write") void output_check_write(u32 stream, permit *result);
IMPORT(STREAMS, "[method]output-stream.write") void output_write(u32 stream, const void *from, u32 length, written *result);
IMPORT(STREAMS, "[method]output-stream.subscribe") u32 output_subscribe(u32 stream);
IMPORT(STREAMS, "[resource-drop]output-stream") void output_drop(u32 stream);
IMPORT("wasi:io/error@0.2.12", "[resource-drop]error") void error_drop(u32 error);
IMPORT(POLL, "poll") void poll(const u32 *pollables, u32 count, view *ready);
IMPORT(POLL, "[resource-drop]pollable") void pollable_drop(u32 pollable);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration") u32 subscribe_duration(u64 nanoseconds);

#define SECOND 1000000000ull
#define INTERNAL_ERROR 38
#define NO_CODE 255

static void wait_for(u32 pollable) {
  view ready;
  poll(&pollable, 1, &ready);
  free(ready.pointer);
  pollable_drop(pollable);
}

// Writes all, and says whether that went well.
static u32 write_all(u32 sink, const u8 *from, u32 length) {
  while (length) {
    permit allowed;
    output_check_write(sink, &allowed);
    if (allowed.failed) return 0; // it has failed before: it is closed
    u32 count = allowed.count < length ? (u32)allowed.count : length;
    if (!count) {
      wait_for(output_subscribe(sink));
      continue;
    }
    written result;
    output_write(sink, from, count, &result);
    if (result.failed) {
      if (!result.failure) error_drop(result.error);
      return 0;
    }
    from += count;
    length -= count;
  }
  return 1;
}

// The number of the error code of a stream's error, which it drops.
static u32 code_of(u32 error) {
  optional_error_code code;
  http_error_code(error, &code);
  error_drop(error);
  return code.some ? code.code.tag : NO_CODE;
}

// A body on its way from a message to another one with its trailers, or to nowhere if `outgoing` is 0.
typedef struct {
  u32 incoming, outgoing, source, sink, trailers, upper;
  u8 *bytes;
  u32 length, offset;
  u64 count;
  u32 failed, code;
} pipe;

static void pipe_open(pipe *p, u32 incoming, u32 outgoing, u32 upper) {
  made source, sink = {0};
  incoming_stream(incoming, &source);
  if (outgoing) outgoing_write(outgoing, &sink);
  *p = (pipe){.incoming = incoming, .outgoing = outgoing, .source = source.handle, .sink = sink.handle, .upper = upper};
}

static u32 pipe_end(pipe *p) {
  free(p->bytes);
  p->bytes = 0;
  input_drop(p->source);
  if (p->sink) output_drop(p->sink);
  if (!p->failed && p->outgoing) {
    p->trailers = incoming_finish(p->incoming);
    return trailers_subscribe(p->trailers);
  }
  incoming_drop(p->incoming);
  if (p->outgoing) outgoing_drop(p->outgoing); // unfinished
  return 0;
}

static u32 pipe_end_with_trailers(pipe *p) {
  answer trailers;
  trailers_get(p->trailers, &trailers);
  if (!trailers.some) return trailers_subscribe(p->trailers);
  if (trailers.failed) {
    outgoing_drop(p->outgoing);
  } else {
    sent end;
    outgoing_finish(p->outgoing, trailers.has_trailers, trailers.trailers, &end);
  }
  trailers_drop(p->trailers);
  return 0;
}

// Goes on until it has to wait, and returns what for, or 0 at the end.
static u32 pipe_go_on(pipe *p) {
  if (p->trailers) return pipe_end_with_trailers(p);
  for (;;) {
    while (p->sink && p->offset < p->length) {
      permit allowed;
      output_check_write(p->sink, &allowed);
      if (!allowed.failed && !allowed.count) return output_subscribe(p->sink);
      u32 left = p->length - p->offset;
      if (!allowed.failed && allowed.count < left) left = (u32)allowed.count;
      if (allowed.failed || !write_all(p->sink, p->bytes + p->offset, left)) {
        p->failed = 1;
        return pipe_end(p);
      }
      p->offset += left;
    }
    free(p->bytes);
    p->bytes = 0;
    piece next;
    input_read(p->source, 4096, &next);
    if (next.failed) {
      if (!next.failure) { // else it is closed: at its end
        p->failed = 1;
        p->code = code_of(next.error);
      }
      return pipe_end(p);
    }
    p->bytes = next.bytes.pointer;
    p->length = next.bytes.length;
    p->offset = 0;
    p->count += p->length;
    if (!p->length) return input_subscribe(p->source);
    for (u32 i = 0; p->upper && i < p->length; i++)
      if (p->bytes[i] >= 'a' && p->bytes[i] <= 'z') p->bytes[i] -= 'a' - 'A';
  }
}

static void pass_on(u32 incoming, u32 outgoing, u32 upper) {
  pipe p;
  u32 pollable;
  pipe_open(&p, incoming, outgoing, upper);
  while ((pollable = pipe_go_on(&p))) wait_for(pollable);
}

// Answers with a status and headers, and returns the body to be written.
static u32 respond(u32 out, u32 status, u32 headers) {
  u32 response = response_new(headers);
  made body;
  response_set_status(response, status);
  response_body(response, &body);
  outparam_set(out, 0, response, 0, 0, 0, 0, 0, 0);
  return body.handle;
}

static u32 write_text(u32 body, const char *text) {
  made stream;
  u32 length = 0;
  while (text[length]) length++;
  outgoing_write(body, &stream);
  u32 done = write_all(stream.handle, (const u8 *)text, length);
  output_drop(stream.handle);
  return done;
}

static void finish(u32 body) {
  sent end;
  outgoing_finish(body, 0, 0, &end);
}

static void echo(u32 request, u32 out) {
  made body;
  request_consume(request, &body);
  request_drop(request);
  pass_on(body.handle, respond(out, 200, fields_new()), 1);
}

static void count(u32 request, u32 out) {
  made body;
  request_consume(request, &body);
  request_drop(request);
  pipe p;
  u32 pollable;
  pipe_open(&p, body.handle, 0, 0);
  while ((pollable = pipe_go_on(&p))) wait_for(pollable);
  u64 number = p.failed ? p.code : p.count;
  char digits[21] = {0};
  u32 at = sizeof digits - 1;
  do digits[--at] = '0' + (char)(number % 10);
  while (number /= 10);
  u32 answering = respond(out, p.failed ? 400 : 200, fields_new());
  write_text(answering, digits + at);
  finish(answering);
}

static void ticks(u32 request, u32 out) {
  request_drop(request);
  u32 body = respond(out, 200, fields_new());
  made stream;
  outgoing_write(body, &stream);
  u32 going = 1;
  for (u32 i = 0; going && i < 3; i++) {
    wait_for(subscribe_duration(SECOND));
    going = write_all(stream.handle, (const u8 *)"tick\n", 5);
  }
  output_drop(stream.handle);
  finish(body);
}

static void forward(u32 request, u32 out) {
  name method;
  optional_text path, authority;
  optional_scheme scheme;
  request_method(request, &method);
  request_path(request, &path);
  request_scheme(request, &scheme);
  request_authority(request, &authority);
  u32 headers = request_headers(request), sending = sending_new(fields_clone(headers));
  fields_drop(headers);
  sending_set_method(sending, method.tag, method.other.pointer, method.other.length);
  sending_set_path(sending, path.some, path.text.pointer, path.text.length);
  sending_set_scheme(sending, scheme.some, scheme.scheme.tag, scheme.scheme.other.pointer, scheme.scheme.other.length);
  sending_set_authority(sending, authority.some, authority.text.pointer, authority.text.length);
  made incoming, outgoing;
  sending_body(sending, &outgoing);
  request_consume(request, &incoming);
  request_drop(request);
  sent result;
  send(sending, 0, 0, &result);
  if (result.is_error) {
    incoming_drop(incoming.handle);
    outgoing_drop(outgoing.handle);
    finish(respond(out, 502, fields_new()));
    return;
  }
  // The response may come, and go on, while the request does.
  pipe there, back;
  u32 waits[3], going_there = 1, going_back = 0, future = result.handle;
  pipe_open(&there, incoming.handle, outgoing.handle, 0);
  for (;;) {
    u32 n = 0;
    if (going_there) {
      going_there = waits[n] = pipe_go_on(&there);
      n += going_there != 0;
    }
    if (future) {
      answer response;
      future_get(future, &response);
      if (response.some) {
        future_drop(future);
        future = 0;
        if (response.failed) {
          finish(respond(out, 502, fields_new()));
        } else {
          headers = received_headers(response.handle);
          u32 body = respond(out, received_status(response.handle), fields_clone(headers));
          fields_drop(headers);
          received_consume(response.handle, &incoming);
          received_drop(response.handle);
          pipe_open(&back, incoming.handle, body, 0);
          going_back = 1;
        }
      } else {
        waits[n++] = future_subscribe(future);
      }
    }
    if (going_back) {
      going_back = waits[n] = pipe_go_on(&back);
      n += going_back != 0;
    }
    if (!n) return;
    view ready;
    poll(waits, n, &ready);
    free(ready.pointer);
    while (n) pollable_drop(waits[--n]);
  }
}

// What services do wrong, or almost. They are given a request whose body nobody needs.
static void misbehave(const char *how, u32 request, u32 out) {
  u32 body, headers = request_headers(request);
  u8 added[2];
  if (how[1] == 'n') return;                // no answer: keeps all that it has
  if (how[1] == 'o') request_drop(request); // out of order, which traps
  fields_drop(headers);
  request_drop(request);
  switch (how[1]) {
  case 'e': // error
    outparam_set(out, 1, INTERNAL_ERROR, 0, 0, 0, 0, 0, 0);
    return;
  case 'x': // traps before it has answered
    __builtin_trap();
  case 'b': // breaks off by a trap in the middle of its body
    write_text(respond(out, 200, fields_new()), "begun");
    __builtin_trap();
  case 'd': // drops its body unfinished
    body = respond(out, 200, fields_new());
    write_text(body, "begun");
    outgoing_drop(body);
    return;
  case 'k': // keeps its body unfinished
    write_text(respond(out, 200, fields_new()), "begun");
    return;
  case 's': // a body that is shorter than announced
    headers = fields_new();
    fields_append(headers, "content-length", 14, "10", 2, added);
    body = respond(out, 200, headers);
    write_text(body, "begun");
    finish(body);
    return;
  case 'l': // ends its body, lingers for a second, and traps
    body = respond(out, 200, fields_new());
    write_text(body, "whole");
    finish(body);
    wait_for(subscribe_duration(SECOND));
    __builtin_trap();
  case 'w': // writes for as long as it can, then ends well
    body = respond(out, 200, fields_new());
    made stream;
    outgoing_write(body, &stream);
    while (write_all(stream.handle, (const u8 *)"more and more and more\n", 23)) continue;
    output_drop(stream.handle);
    outgoing_drop(body);
  }
}

static u32 is(const optional_text *path, const char *other) {
  const char *text = path->text.pointer;
  u32 i = 0;
  if (!path->some) return 0;
  while (i < path->text.length && other[i] && text[i] == other[i]) i++;
  return i == path->text.length && !other[i];
}

EXPORT("wasi:http/incoming-handler@0.2.12#handle") void handle(u32 request, u32 out) {
  optional_text path;
  request_path(request, &path);
  if (is(&path, "/forward")) {
    forward(request, out);
  } else if (is(&path, "/count")) {
    count(request, out);
  } else if (is(&path, "/ticks")) {
    ticks(request, out);
  } else if (path.some && path.text.length == 2) {
    misbehave(path.text.pointer, request, out);
  } else {
    echo(request, out);
  }
  if (path.some) free(path.text.pointer);
}
