// A call that can be cancelled, in the callback ABI; a stream and a future by tasks that block in their stacks.
#include "component.h"

#define GUEST "p3host:c-back/guest@0.1.0"
IMPORT("p3host:c-back/host@0.1.0", "[async-lower]work") u32 host_work(void *tag, u32 length, u32 ms, view *result);

// ask

#define MOST 8 // calls at once

IMPORT("[export]" GUEST, "[task-return]ask") void return_ask(void *text, u32 length);

typedef struct {
  u32 set, subtask;
  void *tag;
  view result;
} ask_task;

static u32 active;

// With the state in which the call of the host has ended.
static u32 ask_end(ask_task *task, u32 state) {
  if (active-- == MOST) backpressure_dec();
  if (state == SUBTASK_RETURNED)
    return_ask(task->result.pointer, task->result.length);
  else
    task_cancel();
  if (task->set) waitable_set_drop(task->set);
  free(task->result.pointer);
  free(task->tag);
  free(task);
  return CODE_EXIT;
}

EXPORT("[async-lift]" GUEST "#ask") u32 ask(void *tag, u32 length, u32 ms) {
  if (!length) __builtin_trap();
  if (++active == MOST) backpressure_inc();
  ask_task *task = malloc(sizeof *task);
  *task = (ask_task){.tag = tag};
  context_set_0((u32)task);
  u32 status = host_work(tag, length, ms, &task->result);
  if (STATE(status) == SUBTASK_RETURNED) return ask_end(task, SUBTASK_RETURNED);
  task->subtask = SUBTASK(status);
  task->set = waitable_set_new();
  waitable_join(task->subtask, task->set);
  return CODE_WAIT(task->set);
}
EXPORT("[callback][async-lift]" GUEST "#ask") u32 ask_callback(u32 event, u32 handle, u32 state) {
  ask_task *task = (ask_task *)context_get_0();
  if (event == EVENT_SUBTASK && state != SUBTASK_RETURNED) return CODE_WAIT(task->set);
  waitable_join(task->subtask, 0);
  if (event == EVENT_TASK_CANCELLED) state = subtask_cancel(task->subtask); // which waits until the host has ended
  subtask_drop(task->subtask);
  return ask_end(task, state);
}

// double-all

IMPORT("[export]" GUEST, "[task-return]double-all") void return_double_all(u32 stream, u32 future);
IMPORT("[export]" GUEST, "[stream-new-0]double-all") u64 stream_new(void);
IMPORT("[export]" GUEST, "[stream-read-0]double-all") u32 stream_read(u32 readable, u8 *to, u32 n);
IMPORT("[export]" GUEST, "[stream-write-0]double-all") u32 stream_write(u32 writable, const u8 *from, u32 n);
IMPORT("[export]" GUEST, "[stream-drop-readable-0]double-all") void stream_drop_readable(u32 readable);
IMPORT("[export]" GUEST, "[stream-drop-writable-0]double-all") void stream_drop_writable(u32 writable);
IMPORT("[export]" GUEST, "[future-new-2]double-all") u64 total_new(void);
IMPORT("[export]" GUEST, "[future-write-2]double-all") u32 total_write(u32 writable, const u64 *from);
IMPORT("[export]" GUEST, "[future-drop-writable-2]double-all") void total_drop_writable(u32 writable);
#include "pump.h"

EXPORT("[async-lift-stackful]" GUEST "#double-all") void double_all(u32 data) {
  u64 stream = stream_new(), future = total_new();
  u64 *total = malloc(sizeof *total);
  return_double_all(READABLE(stream), READABLE(future)); // and the task goes on
  *total = pump(data, WRITABLE(stream), 2, 0);
  total_write(WRITABLE(future), total);
  total_drop_writable(WRITABLE(future));
  free(total);
}

// double

IMPORT("[export]" GUEST, "[task-return]double") void return_double(u32 future);
IMPORT("[export]" GUEST, "[future-new-0]double") u64 number_new(void);
IMPORT("[export]" GUEST, "[future-read-0]double") u32 number_read(u32 readable, u32 *to);
IMPORT("[export]" GUEST, "[future-write-0]double") u32 number_write(u32 writable, const u32 *from);
IMPORT("[export]" GUEST, "[future-drop-readable-0]double") void number_drop_readable(u32 readable);
IMPORT("[export]" GUEST, "[future-drop-writable-0]double") void number_drop_writable(u32 writable);

EXPORT("[async-lift-stackful]" GUEST "#double") void double_(u32 number) {
  u64 future = number_new();
  u32 *value = malloc(sizeof *value);
  return_double(READABLE(future));
  number_read(number, value);
  number_drop_readable(number);
  *value *= 2;
  number_write(WRITABLE(future), value);
  number_drop_writable(WRITABLE(future));
  free(value);
}
