// A WASI 0.3 command by hand, in the callback ABI.
#include "component.h"

#define STDOUT "wasi:cli/stdout@0.3.0"
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") u32 wait_for(u64 nanoseconds);
IMPORT(STDOUT, "write-via-stream") u32 write_via_stream(u32 readable);
IMPORT(STDOUT, "[stream-new-0]write-via-stream") u64 stream_new(void);
IMPORT(STDOUT, "[async-lower][stream-write-0]write-via-stream") u32 stream_write(u32 writable, const void *from, u32 n);
IMPORT(STDOUT, "[stream-drop-writable-0]write-via-stream") void stream_drop_writable(u32 writable);
IMPORT(STDOUT, "[async-lower][future-read-1]write-via-stream") u32 future_read(u32 readable, u8 *result);
IMPORT(STDOUT, "[future-drop-readable-1]write-via-stream") void future_drop_readable(u32 readable);
IMPORT("[export]wasi:cli/run@0.3.0", "[task-return]run") void return_run(u32 is_error);

static const char message[] = "hello from C on WASI 0.3\n";

// The steps of the only task. A command is run once, so its state is static.
static enum { WRITING, SLEEPING, CLOSING } state;
static u32 set, output, written, offset;
static u8 result[2]; // result<_, error-code>

static u32 end(void) {
  waitable_join(written, 0);
  future_drop_readable(written);
  waitable_set_drop(set);
  return_run(result[0]);
  return CODE_EXIT;
}

static u32 close(void) {
  state = CLOSING;
  stream_drop_writable(output);
  waitable_join(written, set);
  return future_read(written, result) == COPY_BLOCKED ? CODE_WAIT(set) : end();
}

static u32 sleep(void) {
  state = SLEEPING;
  waitable_join(output, 0);
  u32 status = wait_for(1000000);
  if (STATE(status) == SUBTASK_RETURNED) return close();
  waitable_join(SUBTASK(status), set);
  return CODE_WAIT(set);
}

static u32 write(u32 packed) {
  while (packed != COPY_BLOCKED) {
    offset += COPY_COUNT(packed); // a copy may be partial
    if (COPY_RESULT(packed) == COPY_DROPPED || offset == sizeof message - 1) return sleep();
    packed = stream_write(output, message + offset, sizeof message - 1 - offset);
  }
  return CODE_WAIT(set);
}

EXPORT("[async-lift]wasi:cli/run@0.3.0#run") u32 run(void) {
  u64 ends = stream_new();
  output = WRITABLE(ends);
  written = write_via_stream(READABLE(ends));
  set = waitable_set_new();
  waitable_join(output, set);
  return write(stream_write(output, message, sizeof message - 1));
}

EXPORT("[callback][async-lift]wasi:cli/run@0.3.0#run") u32 callback(u32 event, u32 handle, u32 payload) {
  switch (state) {
  case WRITING:
    return write(payload);
  case SLEEPING:
    if (payload != SUBTASK_RETURNED) return CODE_WAIT(set);
    waitable_join(handle, 0);
    subtask_drop(handle);
    return close();
  default:
    return end();
  }
}
