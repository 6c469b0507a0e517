// The callback ABI by hand: each export is a state machine, its state in a struct that the task's context points to.
#include "component.h"

IMPORT("p3host:c1/host@0.1.0", "[async-lower]work") u32 host_work(const char *tag, u32 length, u32 ms, view *result);
IMPORT("p3host:c1/host@0.1.0", "plain") u32 host_plain(u32 x);

EXPORT("p3host:c1/guest@0.1.0#add") u32 add(u32 a, u32 b) { return host_plain(a) + b; }

// run-many

IMPORT("[export]p3host:c1/guest@0.1.0", "[task-return]run-many") void return_run_many(view *list, u32 length);

typedef struct {
  u32 subtask; // 0 when it has returned
  view result;
  char tag[3]; // read when the callee starts, which may be later than the call
} call;

typedef struct {
  u32 set, pending, n;
  call *calls;
} run_many_task;

static u32 run_many_end(run_many_task *task) {
  for (u32 i = 0; i < task->n; i++) free(task->calls[i].result.pointer);
  free(task->calls);
  waitable_set_drop(task->set);
  free(task);
  return CODE_EXIT;
}

static u32 run_many_step(run_many_task *task) {
  if (task->pending) return CODE_WAIT(task->set);
  view *list = malloc(task->n * sizeof *list);
  for (u32 i = 0; i < task->n; i++) list[i] = task->calls[i].result;
  return_run_many(list, task->n);
  free(list);
  return run_many_end(task);
}

EXPORT("[async-lift]p3host:c1/guest@0.1.0#run-many") u32 run_many(u32 n) {
  if (n > 10000) __builtin_trap();
  run_many_task *task = malloc(sizeof *task);
  *task = (run_many_task){.set = waitable_set_new(), .n = n, .calls = malloc(n * sizeof(call))};
  context_set_0((u32)task);
  for (u32 i = 0; i < n; i++) {
    call *c = &task->calls[i];
    *c = (call){.tag = {'t', (char)('0' + i / 10 % 10), (char)('0' + i % 10)}};
    u32 status = host_work(c->tag, sizeof c->tag, 10 * (n - i), &c->result);
    if (STATE(status) == SUBTASK_RETURNED) continue;
    c->subtask = SUBTASK(status);
    waitable_join(c->subtask, task->set);
    task->pending++;
  }
  return run_many_step(task);
}

EXPORT("[callback][async-lift]p3host:c1/guest@0.1.0#run-many")
u32 run_many_callback(u32 event, u32 handle, u32 state) {
  run_many_task *task = (run_many_task *)context_get_0();
  if (event == EVENT_TASK_CANCELLED) {
    for (u32 i = 0; i < task->n; i++) {
      call *c = &task->calls[i];
      if (!c->subtask) continue;
      waitable_join(c->subtask, 0);
      subtask_cancel(c->subtask); // in its sync form, which waits until the callee has ended
      subtask_drop(c->subtask);
    }
    task_cancel();
    return run_many_end(task);
  }
  if (event == EVENT_SUBTASK && state == SUBTASK_RETURNED) {
    waitable_join(handle, 0);
    subtask_drop(handle);
    task->pending--;
    for (u32 i = 0; i < task->n; i++)
      if (task->calls[i].subtask == handle) task->calls[i].subtask = 0;
  }
  return run_many_step(task);
}

// pipe

#define PIPE "[export]p3host:c1/guest@0.1.0"
IMPORT(PIPE, "[task-return]pipe") void return_pipe(u32 stream, u32 future);
IMPORT(PIPE, "[stream-new-0]pipe") u64 stream_new(void);
IMPORT(PIPE, "[async-lower][stream-read-0]pipe") u32 stream_read(u32 readable, u8 *to, u32 n);
IMPORT(PIPE, "[async-lower][stream-write-0]pipe") u32 stream_write(u32 writable, const u8 *from, u32 n);
IMPORT(PIPE, "[stream-drop-readable-0]pipe") void stream_drop_readable(u32 readable);
IMPORT(PIPE, "[stream-drop-writable-0]pipe") void stream_drop_writable(u32 writable);
IMPORT(PIPE, "[future-new-2]pipe") u64 future_new(void);
IMPORT(PIPE, "[async-lower][future-write-2]pipe") u32 future_write(u32 writable, const u64 *from);
IMPORT(PIPE, "[future-drop-writable-2]pipe") void future_drop_writable(u32 writable);

typedef struct {
  enum { READING, WRITING, TELLING } state;
  u32 set, source, sink, total_future, length, offset;
  u32 ended; // the source; its last elements may come with that
  u64 total;
  u8 buffer[4096];
} pipe_task;

// Both streams are at their end: what is left is to tell the total.
static u32 pipe_tell(pipe_task *task) {
  waitable_join(task->source, 0);
  waitable_join(task->sink, 0);
  stream_drop_readable(task->source);
  stream_drop_writable(task->sink);
  task->state = TELLING;
  return future_write(task->total_future, &task->total);
}

// Goes on from the result of the last copy for as long as none blocks.
static u32 pipe_step(pipe_task *task, u32 packed) {
  for (;;) {
    if (packed == COPY_BLOCKED) return CODE_WAIT(task->set);
    u32 count = COPY_COUNT(packed), dropped = COPY_RESULT(packed) == COPY_DROPPED;
    switch (task->state) {
    case READING:
      if (!count && dropped) {
        packed = pipe_tell(task);
        break;
      }
      for (u32 i = 0; i < count; i++)
        if (task->buffer[i] >= 'a' && task->buffer[i] <= 'z') task->buffer[i] -= 'a' - 'A';
      task->total += count;
      task->length = count;
      task->offset = 0;
      task->ended = dropped;
      task->state = WRITING;
      packed = stream_write(task->sink, task->buffer, count);
      break;
    case WRITING:
      task->offset += count;
      if (dropped) {
        packed = pipe_tell(task);
      } else if (task->offset < task->length) { // a copy may be partial
        packed = stream_write(task->sink, task->buffer + task->offset, task->length - task->offset);
      } else if (task->ended) {
        packed = pipe_tell(task);
      } else {
        task->state = READING;
        packed = stream_read(task->source, task->buffer, sizeof task->buffer);
      }
      break;
    case TELLING:
      waitable_join(task->total_future, 0);
      future_drop_writable(task->total_future);
      waitable_set_drop(task->set);
      free(task);
      return CODE_EXIT;
    }
  }
}

EXPORT("[async-lift]p3host:c1/guest@0.1.0#pipe") u32 pipe(u32 data) {
  u64 stream = stream_new(), future = future_new();
  pipe_task *task = malloc(sizeof *task);
  task->state = READING;
  task->total = 0;
  task->set = waitable_set_new();
  task->source = data;
  task->sink = WRITABLE(stream);
  task->total_future = WRITABLE(future);
  waitable_join(task->source, task->set);
  waitable_join(task->sink, task->set);
  waitable_join(task->total_future, task->set);
  context_set_0((u32)task);
  return_pipe(READABLE(stream), READABLE(future)); // and the task goes on
  return pipe_step(task, stream_read(task->source, task->buffer, sizeof task->buffer));
}

EXPORT("[callback][async-lift]p3host:c1/guest@0.1.0#pipe") u32 pipe_callback(u32 event, u32 handle, u32 packed) {
  return pipe_step((pipe_task *)context_get_0(), packed);
}
