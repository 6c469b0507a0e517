// Error contexts, backpressure and yielding, in the callback ABI.
#include "component.h"

#define GUEST "p3host:c3/guest@0.1.0"
IMPORT("p3host:c3/host@0.1.0", "[async-lower]work") u32 host_work(u32 ms, u32 *result);
IMPORT("[export]" GUEST, "[task-return]make-error") void return_make_error(u32 error);
IMPORT("[export]" GUEST, "[task-return]describe-error") void return_describe_error(void *text, u32 length);
IMPORT("[export]" GUEST, "[task-return]gate") void return_gate(u32 result);
IMPORT("[export]" GUEST, "[task-return]yield-times") void return_yield_times(u32 n);
IMPORT("$root", "[error-context-new-utf8]") u32 error_context_new(const void *text, u32 length);
IMPORT("$root", "[error-context-drop]") void error_context_drop(u32 error);
IMPORT("$root", "[error-context-debug-message-utf8]") void error_context_debug_message(u32 error, view *result);

EXPORT("[async-lift]" GUEST "#make-error") u32 make_error(void *text, u32 length) {
  u32 error = error_context_new(text, length);
  free(text);
  return_make_error(error);
  error_context_drop(error);
  return CODE_EXIT;
}
EXPORT("[callback][async-lift]" GUEST "#make-error") u32 make_error_callback(u32 event, u32 handle, u32 payload) {
  __builtin_trap();
}

EXPORT("[async-lift]" GUEST "#describe-error") u32 describe_error(u32 error) {
  view *text = malloc(sizeof *text);
  error_context_debug_message(error, text);
  error_context_drop(error);
  return_describe_error(text->pointer, text->length);
  free(text->pointer);
  free(text);
  return CODE_EXIT;
}
EXPORT("[callback][async-lift]" GUEST "#describe-error")
u32 describe_error_callback(u32 event, u32 handle, u32 payload) {
  __builtin_trap();
}

typedef struct {
  u32 set, result;
} gate_task;

static u32 gate_end(gate_task *task) {
  backpressure_dec();
  return_gate(task->result);
  if (task->set) waitable_set_drop(task->set);
  free(task);
  return CODE_EXIT;
}

EXPORT("[async-lift]" GUEST "#gate") u32 gate(u32 ms) {
  gate_task *task = malloc(sizeof *task);
  *task = (gate_task){0};
  backpressure_inc();
  u32 status = host_work(ms, &task->result);
  if (STATE(status) == SUBTASK_RETURNED) return gate_end(task);
  task->set = waitable_set_new();
  waitable_join(SUBTASK(status), task->set);
  context_set_0((u32)task);
  return CODE_WAIT(task->set);
}
EXPORT("[callback][async-lift]" GUEST "#gate") u32 gate_callback(u32 event, u32 handle, u32 state) {
  gate_task *task = (gate_task *)context_get_0();
  // A cancellation is no reason to stop here: the task takes no notice, and returns its result in the end.
  if (event != EVENT_SUBTASK || state != SUBTASK_RETURNED) return CODE_WAIT(task->set);
  waitable_join(handle, 0);
  subtask_drop(handle);
  return gate_end(task);
}

// The two slots of the context hold what is left and the number.
static u32 yield_step(void) {
  u32 left = context_get_0();
  if (!left) {
    return_yield_times(context_get_1());
    return CODE_EXIT;
  }
  context_set_0(left - 1);
  return CODE_YIELD;
}
EXPORT("[async-lift]" GUEST "#yield-times") u32 yield_times(u32 n) {
  context_set_0(n);
  context_set_1(n);
  return yield_step();
}
EXPORT("[callback][async-lift]" GUEST "#yield-times") u32 yield_times_callback(u32 event, u32 handle, u32 payload) {
  if (event == EVENT_TASK_CANCELLED) {
    task_cancel();
    return CODE_EXIT;
  }
  return yield_step();
}
