// A command that moves bytes and tells how long each of its operations took. Its arguments are any number of
//
//   OPERATION WHERE TOTAL PIECE
//
// each of which moves TOTAL bytes in pieces of up to PIECE, and prints "OPERATION PIECE NANOSECONDS" to standard error.
// WHERE is a path in the first directory that it is given, a port of 127.0.0.1, or - for the standard streams.
//
// The guest includes this after it has said what version of WASI it is for, and defines `operations` and the functions
// that are declared here. A function that moves bytes returns whether that failed.
#pragma once

#include "component.h"

typedef struct {
  const char *name;
  int (*run)(view where, u64 total, u32 piece);
} operation;

static const operation operations[]; // up to one without a name
static void get_arguments(view *list);
static u64 now(void);
static void print(view text); // to standard error

static u64 number(view digits) {
  u64 value = 0;
  for (u32 i = 0; i < digits.length; i++) value = 10 * value + ((u8 *)digits.pointer)[i] - '0';
  return value;
}

static int equal(view a, const char *b) {
  u32 i = 0;
  while (i < a.length && b[i] && ((u8 *)a.pointer)[i] == b[i]) i++;
  return i == a.length && !b[i];
}

static void print_number(u64 value) {
  static char line[24];
  char *end = line + sizeof line, *first = end;
  do *--first = '0' + value % 10;
  while (value /= 10);
  print((view){first, end - first});
}

static int run_operation(view name, view where, view total, view piece) {
  for (const operation *it = operations; it->name; it++) {
    if (!equal(name, it->name)) continue;
    u64 started = now();
    if (it->run(where, number(total), number(piece))) return 1;
    u64 ended = now();
    print(name);
    print((view){" ", 1});
    print(piece);
    print((view){" ", 1});
    print_number(ended - started);
    print((view){"\n", 1});
    return 0;
  }
  return 1;
}

static int run_operations(void) {
  view arguments;
  get_arguments(&arguments);
  view *words = arguments.pointer;
  u32 next = 1;
  for (; next + 4 <= arguments.length; next += 4)
    if (run_operation(words[next], words[next + 1], words[next + 2], words[next + 3])) return 1;
  return next != arguments.length;
}
