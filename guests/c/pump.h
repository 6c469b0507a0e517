// A stream copied into another by blocking code. The guest declares the built-ins `stream_read`, `stream_write`,
// `stream_drop_readable` and `stream_drop_writable` for stream<u8>, in their sync forms, before it includes this.
#pragma once

#include "component.h"

#define PUMP_SIZE 4096

// Writes factor * b + summand for each byte b, until either end is gone; drops both, and returns how many were read.
static u64 pump(u32 source, u32 sink, u32 factor, u32 summand) {
  u8 *buffer = malloc(PUMP_SIZE);
  u64 total = 0;
  u32 dropped = 0;
  while (!dropped) {
    u32 packed = stream_read(source, buffer, PUMP_SIZE), length = COPY_COUNT(packed), offset = 0;
    dropped = COPY_RESULT(packed) == COPY_DROPPED;
    total += length;
    for (u32 i = 0; i < length; i++) buffer[i] = (u8)(factor * buffer[i] + summand);
    while (offset < length) { // a copy may be partial
      packed = stream_write(sink, buffer + offset, length - offset);
      offset += COPY_COUNT(packed);
      if (COPY_RESULT(packed) == COPY_DROPPED) {
        dropped = 1;
        break;
      }
    }
  }
  free(buffer);
  stream_drop_readable(source);
  stream_drop_writable(sink);
  return total;
}
