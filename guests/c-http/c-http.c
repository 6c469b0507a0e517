// An HTTP service by hand, over the callback ABI: see world.wit for what it answers.
#include "component.h"

#define TYPES "wasi:http/types@0.3.0"
#define REQUEST "[static]request.consume-body"
#define RESPONSE "[static]response.new"

IMPORT(TYPES, "[constructor]fields") u32 fields_new(void);
IMPORT(TYPES, "[method]request.get-path-with-query") void request_get_path(u32 request, u32 result[3]);
IMPORT(TYPES, "[resource-drop]request") void request_drop(u32 request);
IMPORT(TYPES, REQUEST) void request_consume_body(u32 request, u32 answer, u32 result[2]);
IMPORT(TYPES, RESPONSE) void response_new(u32 headers, u32 has_body, u32 body, u32 trailers, u32 result[2]);
IMPORT(TYPES, "[method]response.set-status-code") u32 response_set_status(u32 response, u32 status);
IMPORT("wasi:http/client@0.3.0", "[async-lower]send") u32 client_send(u32 request, u32 *result);

// Streams and futures are numbered over a function's parameters, then its result.
IMPORT(TYPES, "[future-new-0]" REQUEST) u64 answer_new(void);
IMPORT(TYPES, "[async-lower][future-write-0]" REQUEST) u32 answer_write(u32 future, const void *from);
IMPORT(TYPES, "[future-drop-writable-0]" REQUEST) void answer_drop(u32 future);
IMPORT(TYPES, "[async-lower][stream-read-1]" REQUEST) u32 body_read(u32 stream, u8 *to, u32 n);
IMPORT(TYPES, "[stream-drop-readable-1]" REQUEST) void body_drop_readable(u32 stream);
IMPORT(TYPES, "[stream-new-0]" RESPONSE) u64 body_new(void);
IMPORT(TYPES, "[async-lower][stream-write-0]" RESPONSE) u32 body_write(u32 stream, const u8 *from, u32 n);
IMPORT(TYPES, "[stream-drop-writable-0]" RESPONSE) void body_drop_writable(u32 stream);
IMPORT(TYPES, "[future-new-1]" RESPONSE) u64 trailers_new(void);
IMPORT(TYPES, "[async-lower][future-write-1]" RESPONSE) u32 trailers_write(u32 future, const void *from);
IMPORT(TYPES, "[future-drop-writable-1]" RESPONSE) void trailers_drop(u32 future);
IMPORT(TYPES, "[async-lower][future-read-2]" RESPONSE) u32 sent_read(u32 future, void *to);
IMPORT(TYPES, "[future-drop-readable-2]" RESPONSE) void sent_drop(u32 future);

// The flat form of result<response, error-code>.
IMPORT("[export]wasi:http/handler@0.3.0", "[task-return]handle")
void return_handle(u32 is_error, u32 response, u32, u64, u32, u32, u32, u32);

// Room for a result with an error-code, whose payload is aligned to 8. All zeros are the ok case, without trailers.
typedef struct {
  u64 words[8];
} result;
static const result OK;

static u32 last_status = 404; // what /last answers

typedef struct {
  enum { FORWARDING, READING, WRITING, ANSWERING, ENDING, SENT } state;
  u32 set, source, sink, answer, trailers, sent, length, offset;
  result outcome;
  u8 buffer[4096];
} task;

static void return_response(u32 response) { return_handle(0, response, 0, 0, 0, 0, 0, 0); }

static u32 end(task *t) {
  waitable_set_drop(t->set);
  free(t);
  return CODE_EXIT;
}

// A response without a body: what is left is to give it trailers, which end it.
static u32 return_empty(task *t, u32 status) {
  u64 trailers = trailers_new();
  u32 made[2];
  response_new(fields_new(), 0, 0, READABLE(trailers), made);
  response_set_status(made[0], status);
  sent_drop(made[1]);
  return_response(made[0]);
  t->trailers = WRITABLE(trailers);
  waitable_join(t->trailers, t->set);
  t->state = ENDING;
  return trailers_write(t->trailers, &OK);
}

static u32 return_forwarded(task *t) {
  u8 is_error = *(u8 *)&t->outcome;
  if (is_error) return return_empty(t, 502);
  return_response(*(u32 *)&t->outcome.words[1]);
  t->state = SENT;
  return 0;
}

// Both streams are at their end: tells the request's sender that it was handled well.
static u32 answer(task *t) {
  waitable_join(t->source, 0);
  waitable_join(t->sink, 0);
  body_drop_readable(t->source);
  body_drop_writable(t->sink);
  t->state = ANSWERING;
  return answer_write(t->answer, &OK);
}

// Goes on from the result of the last copy for as long as none blocks.
static u32 step(task *t, u32 packed) {
  for (;;) {
    if (packed == COPY_BLOCKED) return CODE_WAIT(t->set);
    u32 count = COPY_COUNT(packed), dropped = COPY_RESULT(packed) == COPY_DROPPED;
    switch (t->state) {
    case FORWARDING:
      packed = return_forwarded(t);
      if (t->state == SENT) return end(t);
      break;
    case READING:
      if (!count && dropped) {
        packed = answer(t);
        break;
      }
      for (u32 i = 0; i < count; i++)
        if (t->buffer[i] >= 'a' && t->buffer[i] <= 'z') t->buffer[i] -= 'a' - 'A';
      t->length = count;
      t->offset = 0;
      t->state = WRITING;
      packed = body_write(t->sink, t->buffer, count);
      break;
    case WRITING:
      t->offset += count;
      if (dropped) {
        packed = answer(t);
      } else if (t->offset < t->length) { // a copy may be partial
        packed = body_write(t->sink, t->buffer + t->offset, t->length - t->offset);
      } else {
        t->state = READING;
        packed = body_read(t->source, t->buffer, sizeof t->buffer);
      }
      break;
    case ANSWERING:
      waitable_join(t->answer, 0);
      answer_drop(t->answer);
      t->state = SENT;
      packed = sent_read(t->sent, &t->outcome);
      break;
    case ENDING:
      waitable_join(t->trailers, 0);
      trailers_drop(t->trailers);
      return end(t);
    case SENT:
      last_status = *(u8 *)&t->outcome ? 500 : 200;
      waitable_join(t->sent, 0);
      sent_drop(t->sent);
      return end(t);
    }
  }
}

static u32 is(const u32 path[3], const char *other) {
  const char *text = (const char *)path[1];
  u32 i = 0;
  if (!path[0]) return 0;
  while (i < path[2] && other[i] && text[i] == other[i]) i++;
  return i == path[2] && !other[i];
}

static u32 forward(task *t, u32 request) {
  t->state = FORWARDING;
  u32 status = client_send(request, (u32 *)&t->outcome);
  if (STATE(status) == SUBTASK_RETURNED) return 0;
  t->source = SUBTASK(status);
  waitable_join(t->source, t->set);
  return COPY_BLOCKED;
}

static u32 echo(task *t, u32 request) {
  u64 given_answer = answer_new(), body = body_new();
  u32 given[2], made[2];
  request_consume_body(request, READABLE(given_answer), given);
  response_new(fields_new(), 1, READABLE(body), given[1], made); // the trailers come back as they are
  t->source = given[0];
  t->sink = WRITABLE(body);
  t->answer = WRITABLE(given_answer);
  t->sent = made[1];
  waitable_join(t->source, t->set);
  waitable_join(t->sink, t->set);
  waitable_join(t->answer, t->set);
  waitable_join(t->sent, t->set);
  t->state = READING;
  last_status = 404;
  return_response(made[0]); // and the task goes on
  return body_read(t->source, t->buffer, sizeof t->buffer);
}

EXPORT("[async-lift]wasi:http/handler@0.3.0#handle") u32 handle(u32 request) {
  task *t = malloc(sizeof *t);
  *t = (task){.set = waitable_set_new()};
  context_set_0((u32)t);
  u32 path[3];
  request_get_path(request, path);
  u32 packed;
  if (is(path, "/forward")) {
    packed = forward(t, request);
  } else if (is(path, "/last")) {
    request_drop(request);
    packed = return_empty(t, last_status);
  } else {
    packed = echo(t, request);
  }
  if (path[0]) free((void *)path[1]);
  return step(t, packed);
}

EXPORT("[callback][async-lift]wasi:http/handler@0.3.0#handle") u32 callback(u32 event, u32 handle, u32 packed) {
  task *t = (task *)context_get_0();
  if (event == EVENT_TASK_CANCELLED) { // only while the request is forwarded: after that the task has returned
    waitable_join(t->source, 0);
    u32 state = subtask_cancel(t->source);
    subtask_drop(t->source);
    if (state == SUBTASK_RETURNED) return step(t, 0); // too late: the answer is there
    task_cancel();
    return end(t);
  }
  if (event == EVENT_SUBTASK) {
    if (packed != SUBTASK_RETURNED) return CODE_WAIT(t->set); // it has started
    waitable_join(handle, 0);
    subtask_drop(handle);
  }
  return step(t, packed);
}
