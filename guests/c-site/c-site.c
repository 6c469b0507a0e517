// A site in blocking code: see world.wit for what it answers. Each request is a task that blocks where it has to wait,
// while others go on. What has to outlive that, and what the host writes to, is in memory from malloc (see runtime.c).
#include "component.h"

#define TYPES "wasi:http/types@0.3.0"
#define REQUEST "[static]request.consume-body"
#define RESPONSE "[static]response.new"

IMPORT(TYPES, "[constructor]fields") u32 fields_new(void);
IMPORT(TYPES, "[method]fields.append")
void fields_append(u32 fields, const char *name, u32 name_length, const void *value, u32 value_length, u32 result[8]);
IMPORT(TYPES, "[method]request.get-method") void request_get_method(u32 request, void *result);
IMPORT(TYPES, "[method]request.get-path-with-query") void request_get_path(u32 request, void *result);
IMPORT(TYPES, "[resource-drop]request") void request_drop(u32 request);
IMPORT(TYPES, REQUEST) void request_consume_body(u32 request, u32 answer, u32 result[2]);
IMPORT(TYPES, RESPONSE) void response_new(u32 headers, u32 has_body, u32 body, u32 trailers, u32 result[2]);
IMPORT(TYPES, "[method]response.set-status-code") u32 response_set_status(u32 response, u32 status);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "wait-for") void wait_for(u64 nanoseconds);

// Streams and futures are numbered over a function's parameters, then its result.
IMPORT(TYPES, "[future-new-0]" REQUEST) u64 answer_new(void);
IMPORT(TYPES, "[future-write-0]" REQUEST) u32 answer_write(u32 future, const void *from);
IMPORT(TYPES, "[future-drop-writable-0]" REQUEST) void answer_drop(u32 future);
IMPORT(TYPES, "[stream-read-1]" REQUEST) u32 stream_read(u32 stream, u8 *to, u32 n);
IMPORT(TYPES, "[stream-drop-readable-1]" REQUEST) void stream_drop_readable(u32 stream);
IMPORT(TYPES, "[future-drop-readable-2]" REQUEST) void request_trailers_drop(u32 future);
IMPORT(TYPES, "[stream-new-0]" RESPONSE) u64 body_new(void);
IMPORT(TYPES, "[stream-write-0]" RESPONSE) u32 stream_write(u32 stream, const u8 *from, u32 n);
IMPORT(TYPES, "[stream-drop-writable-0]" RESPONSE) void stream_drop_writable(u32 stream);
IMPORT(TYPES, "[future-new-1]" RESPONSE) u64 trailers_new(void);
IMPORT(TYPES, "[future-write-1]" RESPONSE) u32 trailers_write(u32 future, const void *from);
IMPORT(TYPES, "[future-drop-writable-1]" RESPONSE) void trailers_drop(u32 future);
IMPORT(TYPES, "[future-drop-readable-2]" RESPONSE) void sent_drop(u32 future);

#include "pump.h"

// The flat form of result<response, error-code>.
IMPORT("[export]wasi:http/handler@0.3.0", "[task-return]handle")
void return_handle(u32 is_error, u32 response, u32, u64, u32, u32, u32, u32);

// All zeros are the ok case of both futures' results: the request was handled, the response has no trailers.
static const u64 OK[8];

#define NANOSECONDS 1000000000ull
#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"
#define LARGEST 4096 // bytes of a list of numbers

enum { GET, HEAD, POST };

typedef struct {
  const char *path, *type;
  const u8 *bytes;
  u32 length;
} file;

static const u8 PAGE[] = {
#embed "index.html"
};
static const u8 STYLE[] = {
#embed "style.css"
};
static const u8 SCRIPT[] = {
#embed "script.js"
};
static const u8 LOGO[] = {
#embed "logo.svg"
};

static const file FILES[] = {
    {"/", "text/html; charset=utf-8", PAGE, sizeof PAGE},
    {"/style.css", "text/css; charset=utf-8", STYLE, sizeof STYLE},
    {"/script.js", "text/javascript; charset=utf-8", SCRIPT, sizeof SCRIPT},
    {"/logo.svg", "image/svg+xml", LOGO, sizeof LOGO},
};

typedef struct {
  u32 request, headers, sink, trailers;
  u32 made[2], consumed[2], outcome[8];
  struct {
    u8 kind;
    view other;
  } method;
  struct {
    u8 is_there;
    view text;
  } path;
  u32 length, count;
  int64_t sum;
  u8 text[LARGEST + 1];
} task;

static u32 length_of(const char *text) {
  u32 length = 0;
  while (text[length]) length++;
  return length;
}

// Adds to the task's text.
static void add(task *t, const char *text) {
  while (*text) t->text[t->length++] = (u8)*text++;
}

static void add_number(task *t, int64_t number) {
  u64 rest = number < 0 ? -(u64)number : (u64)number, power = 1;
  if (number < 0) add(t, "-");
  while (rest / power > 9) power *= 10;
  for (; power; power /= 10) t->text[t->length++] = (u8)('0' + rest / power % 10);
}

static u32 is_path(task *t, const char *path) {
  const char *text = t->path.text.pointer;
  u32 length = 0;
  while (length < t->path.text.length && text[length] != '?') length++;
  if (!t->path.is_there || length != length_of(path)) return 0;
  while (length--)
    if (text[length] != path[length]) return 0;
  return 1;
}

static void add_header(task *t, const char *name, const void *value, u32 length) {
  fields_append(t->headers, name, length_of(name), value, length, t->outcome);
}

static void add_content(task *t, const char *type, u32 length) {
  u32 start = t->length;
  add_header(t, "content-type", type, length_of(type));
  add_number(t, length);
  add_header(t, "content-length", t->text + start, t->length - start);
  t->length = start;
}

// Answers with the head of a response; its body is what is written to `sink` then. That of HEAD has none.
static void begin(task *t, u32 status, u32 has_body, u32 trailers) {
  u64 body = has_body ? body_new() : 0;
  response_new(t->headers, has_body, READABLE(body), trailers, t->made);
  response_set_status(t->made[0], status);
  sent_drop(t->made[1]);
  t->sink = WRITABLE(body);
  return_handle(0, t->made[0], 0, 0, 0, 0, 0, 0);
}

static void begin_without_trailers(task *t, u32 status) {
  u64 trailers = trailers_new();
  t->trailers = WRITABLE(trailers);
  begin(t, status, t->method.kind != HEAD, READABLE(trailers));
}

// Whether all was taken; nothing is once the client is gone.
static u32 write(task *t, const u8 *bytes, u32 length) {
  while (length) {
    u32 packed = stream_write(t->sink, bytes, length);
    bytes += COPY_COUNT(packed);
    length -= COPY_COUNT(packed);
    if (COPY_RESULT(packed) != COPY_COMPLETED) return 0;
  }
  return 1;
}

static void end(task *t) {
  if (t->sink) stream_drop_writable(t->sink);
  trailers_write(t->trailers, OK);
  trailers_drop(t->trailers);
}

static void send(task *t, u32 status, const char *type, const u8 *bytes, u32 length) {
  add_content(t, type, length);
  begin_without_trailers(t, status);
  if (t->sink) write(t, bytes, length);
  end(t);
}

static void send_text(task *t, u32 status, const char *text) { send(t, status, TEXT, (const u8 *)text, length_of(text)); }

// Whether the method is one that this path takes; if not, answers that.
static u32 takes(task *t, const char *methods, u32 first, u32 second) {
  u8 kind = t->method.kind;
  if (kind == first || kind == second) return 1;
  add_header(t, "allow", methods, length_of(methods));
  send_text(t, 405, "Method not allowed\n");
  return 0;
}

static u64 consume(task *t) {
  u64 answer = answer_new();
  request_consume_body(t->request, READABLE(answer), t->consumed);
  t->request = 0;
  return WRITABLE(answer);
}

static void consumed(u32 answer) {
  answer_write(answer, OK);
  answer_drop(answer);
}

static u8 *skip_space(u8 *at) {
  while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') at++;
  return at;
}

// Whether the task's text is a list of whole numbers, such as [1, -2]; counts and adds them.
static u32 parse(task *t) {
  t->text[t->length] = 0;
  t->count = t->sum = 0;
  u8 *at = skip_space(t->text);
  if (*at++ != '[') return 0;
  at = skip_space(at);
  while (*at != ']') {
    if (t->count++ && *at++ != ',') return 0;
    at = skip_space(at);
    u32 is_negative = *at == '-', digits = 0;
    int64_t number = 0;
    at += is_negative;
    for (; *at >= '0' && *at <= '9' && digits < 15; digits++) number = 10 * number + *at++ - '0';
    if (!digits) return 0;
    t->sum += is_negative ? -number : number;
    at = skip_space(at);
  }
  return skip_space(at + 1) == t->text + t->length;
}

static void answer_sum(task *t) {
  u32 answer = consume(t), packed = 0;
  request_trailers_drop(t->consumed[1]);
  while (COPY_RESULT(packed) == COPY_COMPLETED && t->length < LARGEST) {
    packed = stream_read(t->consumed[0], t->text + t->length, LARGEST - t->length);
    t->length += COPY_COUNT(packed);
  }
  stream_drop_readable(t->consumed[0]);
  consumed(answer);
  u32 status = t->length == LARGEST ? 413 : parse(t) ? 200 : 400;
  t->length = 0;
  if (status == 200) {
    add(t, "{\"count\":");
    add_number(t, t->count);
    add(t, ",\"sum\":");
    add_number(t, t->sum);
    add(t, "}\n");
  } else {
    add(t, status == 413 ? "{\"error\":\"too long\"}\n" : "{\"error\":\"no list of whole numbers\"}\n");
  }
  send(t, status, JSON, t->text, t->length);
}

static void answer_echo(task *t) {
  u32 answer = consume(t);
  add_header(t, "content-type", "application/octet-stream", 24);
  begin(t, 200, 1, t->consumed[1]); // its trailers are those of the request
  pump(t->consumed[0], t->sink, 1, 0);
  consumed(answer);
}

static void answer_ticks(task *t) {
  add_header(t, "content-type", TEXT, sizeof TEXT - 1);
  add_header(t, "cache-control", "no-store", 8);
  begin_without_trailers(t, 200);
  for (u32 number = 1; t->sink; number++) {
    t->length = 0;
    add(t, "tick ");
    add_number(t, number);
    add(t, "\n");
    if (!write(t, t->text, t->length)) break;
    wait_for(NANOSECONDS / 10);
  }
  end(t);
}

static void answer(task *t) {
  for (u32 i = 0; i < sizeof FILES / sizeof *FILES; i++) {
    const file *file = &FILES[i];
    if (!is_path(t, file->path)) continue;
    if (takes(t, "GET, HEAD", GET, HEAD)) send(t, 200, file->type, file->bytes, file->length);
    return;
  }
  if (is_path(t, "/ticks")) {
    if (takes(t, "GET, HEAD", GET, HEAD)) answer_ticks(t);
  } else if (is_path(t, "/sum")) {
    if (takes(t, "POST", POST, POST)) answer_sum(t);
  } else if (is_path(t, "/echo")) {
    if (takes(t, "POST", POST, POST)) answer_echo(t);
  } else {
    send_text(t, 404, "Not found\n");
  }
}

EXPORT("[async-lift-stackful]wasi:http/handler@0.3.0#handle") void handle(u32 request) {
  task *t = malloc(sizeof *t);
  t->request = request;
  t->headers = fields_new();
  t->length = 0;
  request_get_method(request, &t->method);
  request_get_path(request, &t->path);
  answer(t);
  if (t->request) request_drop(t->request);
  if (t->method.kind > 8) free(t->method.other.pointer);
  if (t->path.is_there) free(t->path.text.pointer);
  free(t);
}
