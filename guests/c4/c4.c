// Cooperative threads of one task. They share one shadow stack and must not use it (see runtime.c).
#include "component.h"

#define GUEST "[export]p3host:c4/guest@0.1.0"
IMPORT("p3host:c4/host@0.1.0", "work") u32 host_work(u32 ms);
IMPORT(GUEST, "[task-return]workers") void return_workers(u32 sum);
IMPORT(GUEST, "[task-return]switches") void return_switches(const char *text, u32 length);
IMPORT("$root", "[thread-index]") u32 thread_index(void);
IMPORT("$root", "[thread-new-indirect-v0]") u32 thread_new(void (*start)(void *), void *argument);
IMPORT("$root", "[thread-resume-later]") void thread_resume_later(u32 thread);
IMPORT("$root", "[thread-suspend]") u32 thread_suspend(void);
IMPORT("$root", "[thread-suspend-then-resume]") u32 thread_suspend_then_resume(u32 thread);
IMPORT("$root", "[thread-yield-then-resume]") u32 thread_yield_then_resume(u32 thread);
IMPORT("$root", "[thread-suspend-then-promote]") u32 thread_suspend_then_promote(u32 thread);
IMPORT("$root", "[thread-yield-then-promote]") u32 thread_yield_then_promote(u32 thread);

typedef struct {
  u32 first_thread, left, sum;
} workers_task;

typedef struct {
  workers_task *task;
  u32 number;
} worker;

static void work(void *argument) {
  worker *self = argument;
  context_set_1(self->number); // each thread has a context of its own
  u32 result = host_work(self->number);
  self->task->sum += result + context_get_1();
  if (!--self->task->left) thread_resume_later(self->task->first_thread);
  free(self);
}

EXPORT("[async-lift-stackful]p3host:c4/guest@0.1.0#workers") void workers(u32 n) {
  workers_task *task = malloc(sizeof *task);
  *task = (workers_task){.first_thread = thread_index(), .left = n};
  for (u32 i = 1; i <= n; i++) {
    worker *w = malloc(sizeof *w);
    *w = (worker){.task = task, .number = i};
    thread_resume_later(thread_new(work, w));
  }
  if (n) thread_suspend();
  return_workers(task->sum);
  free(task);
}

typedef struct {
  u32 first_thread, length;
  char text[8];
} switches_task;

static void write(switches_task *task, char c) { task->text[task->length++] = c; }

static void second(void *argument) {
  switches_task *task = argument;
  write(task, 'a');
  thread_suspend_then_promote(task->first_thread); // which is ready, as it has yielded
  write(task, 'b');
  thread_resume_later(task->first_thread);
  thread_yield_then_promote(task->first_thread);
  write(task, 'c');
}

EXPORT("[async-lift-stackful]p3host:c4/guest@0.1.0#switches") void switches(void) {
  switches_task *task = malloc(sizeof *task);
  *task = (switches_task){.first_thread = thread_index()};
  u32 other = thread_new(second, task);
  thread_yield_then_resume(other);
  write(task, 'm');
  thread_suspend_then_resume(other);
  write(task, 'n');
  while (task->length < 5) thread_yield();
  return_switches(task->text, task->length);
  free(task);
}
