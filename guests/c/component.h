// The component model's built-ins for hand-written C guests, by the names that wit-component knows them by.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define IMPORT(module, name) __attribute__((__import_module__(module), __import_name__(name))) extern
#define EXPORT(name) __attribute__((__export_name__(name)))

// A string or a list as it lies in memory.
typedef struct {
  void *pointer;
  u32 length;
} view;

IMPORT("$root", "[waitable-set-new]") u32 waitable_set_new(void);
IMPORT("$root", "[waitable-set-drop]") void waitable_set_drop(u32 set);
IMPORT("$root", "[waitable-set-wait]") u32 waitable_set_wait(u32 set, u32 payload[2]);
IMPORT("$root", "[waitable-set-poll]") u32 waitable_set_poll(u32 set, u32 payload[2]);
IMPORT("$root", "[waitable-join]") void waitable_join(u32 waitable, u32 set);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32 subtask);
IMPORT("$root", "[subtask-cancel]") u32 subtask_cancel(u32 subtask);
IMPORT("$root", "[context-get-0]") u32 context_get_0(void);
IMPORT("$root", "[context-set-0]") void context_set_0(u32 value);
IMPORT("$root", "[context-get-1]") u32 context_get_1(void);
IMPORT("$root", "[context-set-1]") void context_set_1(u32 value);
IMPORT("$root", "[thread-yield]") u32 thread_yield(void);
IMPORT("$root", "[backpressure-inc]") void backpressure_inc(void);
IMPORT("$root", "[backpressure-dec]") void backpressure_dec(void);
IMPORT("[export]$root", "[task-cancel]") void task_cancel(void);

// What a callback returns.
#define CODE_EXIT 0u
#define CODE_YIELD 1u
#define CODE_WAIT(set) (2u | (set) << 4)

enum {
  EVENT_NONE,
  EVENT_SUBTASK,
  EVENT_STREAM_READ,
  EVENT_STREAM_WRITE,
  EVENT_FUTURE_READ,
  EVENT_FUTURE_WRITE,
  EVENT_TASK_CANCELLED,
};

// An async call's status: the state in the low four bits, the subtask above unless it has returned.
enum {
  SUBTASK_STARTING,
  SUBTASK_STARTED,
  SUBTASK_RETURNED,
  SUBTASK_CANCELLED_BEFORE_STARTED,
  SUBTASK_CANCELLED_BEFORE_RETURNED,
};
#define STATE(status) ((status) & 15)
#define SUBTASK(status) ((status) >> 4)

// The result of a read or a write: what ended it in the low four bits, the number of elements above.
enum { COPY_COMPLETED, COPY_DROPPED, COPY_CANCELLED };
#define COPY_BLOCKED 0xffffffffu
#define COPY_RESULT(packed) ((packed) & 15)
#define COPY_COUNT(packed) ((packed) >> 4)

// stream.new and future.new return both ends.
#define READABLE(ends) ((u32)(ends))
#define WRITABLE(ends) ((u32)((ends) >> 32))

// runtime.c
void *malloc(size_t size);
void free(void *block);
