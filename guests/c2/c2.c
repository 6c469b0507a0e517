// Stackful exports: plain code that blocks where it waits. What the host writes to is from malloc (see runtime.c).
#include "component.h"

#define HOST "p3host:c2/host@0.1.0"
IMPORT(HOST, "[async-lower]work") u32 host_work_async(const char *tag, u32 length, u32 ms, view *result);
IMPORT(HOST, "work") void host_work(const char *tag, u32 length, u32 ms, view *result);
IMPORT(HOST, "source") void host_source(u32 ends[2]);
IMPORT(HOST, "[stream-read-0]source") u32 stream_read(u32 readable, u8 *to, u32 n);
IMPORT(HOST, "[stream-drop-readable-0]source") void stream_drop_readable(u32 readable);
IMPORT(HOST, "[future-read-1]source") u32 future_read(u32 readable, u32 *to);
IMPORT(HOST, "[future-drop-readable-1]source") void future_drop_readable(u32 readable);
IMPORT("[export]p3host:c2/guest@0.1.0", "[task-return]stackful") void return_stackful(view *list, u32 length);
IMPORT("[export]p3host:c2/guest@0.1.0", "[task-return]sum") void return_sum(u64 sum);

EXPORT("[async-lift-stackful]p3host:c2/guest@0.1.0#stackful") void stackful(u32 n) {
  if (n > 10000) __builtin_trap();
  view *results = malloc(n * sizeof *results);
  char(*tags)[3] = malloc(n * sizeof *tags);
  u32 *payload = malloc(2 * sizeof *payload);
  u32 set = waitable_set_new(), pending = 0;
  for (u32 i = 0; i < n; i++) {
    tags[i][0] = 's', tags[i][1] = (char)('0' + i / 10 % 10), tags[i][2] = (char)('0' + i % 10);
    u32 status = host_work_async(tags[i], sizeof tags[i], 10 * (n - i), &results[i]);
    if (STATE(status) == SUBTASK_RETURNED) continue;
    waitable_join(SUBTASK(status), set);
    pending++;
  }
  thread_yield();
  while (pending) {
    u32 event = waitable_set_wait(set, payload);
    if (event != EVENT_SUBTASK || payload[1] != SUBTASK_RETURNED) continue;
    waitable_join(payload[0], 0);
    subtask_drop(payload[0]);
    pending--;
  }
  if (waitable_set_poll(set, payload) != EVENT_NONE) __builtin_trap();
  waitable_set_drop(set);
  return_stackful(results, n);
  for (u32 i = 0; i < n; i++) free(results[i].pointer);
  free(results);
  free(tags);
  free(payload);
}

EXPORT("[async-lift-stackful]p3host:c2/guest@0.1.0#sum") void sum(void) {
  struct {
    view text;
    u32 ends[2];
    u32 number;
    u8 bytes[256];
  } *host = malloc(sizeof *host);
  host_work("x", 1, 5, &host->text);
  free(host->text.pointer);
  host_source(host->ends);
  u64 total = 0;
  for (u32 packed = 0; COPY_RESULT(packed) != COPY_DROPPED;) {
    packed = stream_read(host->ends[0], host->bytes, sizeof host->bytes);
    for (u32 i = 0; i < COPY_COUNT(packed); i++) total += host->bytes[i];
  }
  stream_drop_readable(host->ends[0]);
  host->number = 0;
  future_read(host->ends[1], &host->number);
  future_drop_readable(host->ends[1]);
  total += host->number;
  free(host);
  return_sum(total);
}

EXPORT("p3host:c2/guest@0.1.0#syncsum") u64 syncsum(void) { return 7; }
