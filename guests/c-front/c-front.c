// Calls of another component: async with a cancellation that is passed on, and synchronous ones that block in their
// stacks. A stream goes there by one thread and comes back by another.
#include "component.h"

#define GUEST "p3host:c-front/guest@0.1.0"
#define BACK "p3host:c-back/guest@0.1.0"
IMPORT(BACK, "[async-lower]ask") u32 back_ask(void *tag, u32 length, u32 ms, view *result);
IMPORT(BACK, "ask") void back_ask_blocking(void *tag, u32 length, u32 ms, view *result);
IMPORT(BACK, "double-all") void back_double_all(u32 data, u32 ends[2]);
IMPORT(BACK, "double") u32 back_double(u32 number);

// ask

IMPORT("$root", "[async-lower][subtask-cancel]") u32 subtask_cancel_later(u32 subtask);
IMPORT("[export]" GUEST, "[task-return]ask") void return_ask(void *text, u32 length);

typedef struct {
  u32 set, subtask;
  void *tag; // read when the back starts, which may be later than the call
  view result;
} ask_task;

// Goes on from a state of the back's call: all but the first two are its end.
static u32 ask_step(ask_task *task, u32 state) {
  if (state == COPY_BLOCKED || state < SUBTASK_RETURNED) return CODE_WAIT(task->set);
  if (task->set) {
    waitable_join(task->subtask, 0);
    subtask_drop(task->subtask);
    waitable_set_drop(task->set);
  }
  if (state == SUBTASK_RETURNED)
    return_ask(task->result.pointer, task->result.length);
  else
    task_cancel();
  free(task->result.pointer);
  free(task->tag);
  free(task);
  return CODE_EXIT;
}

EXPORT("[async-lift]" GUEST "#ask") u32 ask(void *tag, u32 length, u32 ms) {
  ask_task *task = malloc(sizeof *task);
  *task = (ask_task){.tag = tag};
  context_set_0((u32)task);
  u32 status = back_ask(tag, length, ms, &task->result);
  if (STATE(status) != SUBTASK_RETURNED) {
    task->subtask = SUBTASK(status);
    task->set = waitable_set_new();
    waitable_join(task->subtask, task->set);
  }
  return ask_step(task, STATE(status));
}
EXPORT("[callback][async-lift]" GUEST "#ask") u32 ask_callback(u32 event, u32 handle, u32 state) {
  ask_task *task = (ask_task *)context_get_0();
  return ask_step(task, event == EVENT_TASK_CANCELLED ? subtask_cancel_later(task->subtask) : state);
}

IMPORT("[export]" GUEST, "[task-return]ask-blocking") void return_ask_blocking(void *text, u32 length);

EXPORT("[async-lift-stackful]" GUEST "#ask-blocking") void ask_blocking(void *tag, u32 length, u32 ms) {
  view *result = malloc(sizeof *result);
  back_ask_blocking(tag, length, ms, result);
  return_ask_blocking(result->pointer, result->length);
  free(result->pointer);
  free(result);
  free(tag);
}

// pipe

IMPORT("$root", "[thread-new-indirect-v0]") u32 thread_new(void (*start)(void *), void *argument);
IMPORT("$root", "[thread-resume-later]") void thread_resume_later(u32 thread);
IMPORT("[export]" GUEST, "[task-return]pipe") void return_pipe(u32 stream, u32 future);
IMPORT("[export]" GUEST, "[stream-new-0]pipe") u64 stream_new(void);
IMPORT("[export]" GUEST, "[stream-read-0]pipe") u32 stream_read(u32 readable, u8 *to, u32 n);
IMPORT("[export]" GUEST, "[stream-write-0]pipe") u32 stream_write(u32 writable, const u8 *from, u32 n);
IMPORT("[export]" GUEST, "[stream-drop-readable-0]pipe") void stream_drop_readable(u32 readable);
IMPORT("[export]" GUEST, "[stream-drop-writable-0]pipe") void stream_drop_writable(u32 writable);
#include "pump.h"

typedef struct {
  u32 source, sink;
} way;

static void way_there(void *argument) {
  way *self = argument;
  pump(self->source, self->sink, 1, 1);
  free(self);
}

EXPORT("[async-lift-stackful]" GUEST "#pipe") void pipe(u32 data) {
  u64 there = stream_new();
  way *first = malloc(sizeof *first);
  *first = (way){.source = data, .sink = WRITABLE(there)};
  thread_resume_later(thread_new(way_there, first));
  u32 *ends = malloc(2 * sizeof *ends);
  back_double_all(READABLE(there), ends);
  u64 back = stream_new();
  return_pipe(READABLE(back), ends[1]); // and the task goes on
  u32 source = ends[0];
  free(ends);
  pump(source, WRITABLE(back), 1, 3);
}

// quadruple

IMPORT("[export]" GUEST, "[task-return]quadruple") void return_quadruple(u32 future);

EXPORT("[async-lift-stackful]" GUEST "#quadruple") void quadruple(u32 number) {
  return_quadruple(back_double(back_double(number)));
}
