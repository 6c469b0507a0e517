// A WASI 0.3 command that does what its arguments say, one after the other, as programs do that come from C: `run` is
// lifted synchronously and blocks where it waits, and the directories that it is given stay open.
//
//   copy FROM TO   writes a file in upper case        env NAME   prints an environment variable
//   list PATH      prints a directory's entries       cat        prints what it reads from standard input
//   make PATH      makes a directory                  random N   prints random bytes in hexadecimal
//   remove PATH    removes a file                     now        prints the time of day and that of the monotonic clock
//   sleep MS       waits so many milliseconds         exit N     ends with this status
//   hang           waits for what never comes         trap       traps
#include "component.h"

#define ENVIRONMENT "wasi:cli/environment@0.3.0"
#define FILES "wasi:filesystem/types@0.3.0"
#define OUT "wasi:cli/stdout@0.3.0"
#define METHOD "[method]descriptor."

IMPORT(ENVIRONMENT, "get-arguments") void get_arguments(view *list);
IMPORT(ENVIRONMENT, "get-environment") void get_environment(view *list);
IMPORT("wasi:cli/exit@0.3.0", "exit-with-code") void exit_with_code(u32 code);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "now") u64 monotonic_now(void);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "wait-for") void wait_for(u64 nanoseconds);
IMPORT("wasi:clocks/system-clock@0.3.0", "now") void system_now(void *instant);
IMPORT("wasi:random/random@0.3.0", "get-random-bytes") void get_random_bytes(u64 count, view *bytes);

// Each of these gives a stream or takes one, and gives a future beside it.
IMPORT("wasi:cli/stdin@0.3.0", "read-via-stream") void read_stdin(u32 ends[2]);
IMPORT(OUT, "write-via-stream") u32 write_stdout(u32 readable);
IMPORT("wasi:cli/stderr@0.3.0", "write-via-stream") u32 write_stderr(u32 readable);
IMPORT(FILES, METHOD "read-via-stream") void read_file(u32 file, u64 offset, u32 ends[2]);
IMPORT(FILES, METHOD "write-via-stream") u32 write_file(u32 file, u32 readable, u64 offset);
IMPORT(FILES, METHOD "read-directory") void read_directory(u32 directory, u32 ends[2]);

// Streams are of one type if their elements are, whichever function they come from; futures alike.
IMPORT(OUT, "[stream-new-0]write-via-stream") u64 bytes_new(void);
IMPORT(OUT, "[stream-write-0]write-via-stream") u32 bytes_write(u32 writable, const void *from, u32 n);
IMPORT(OUT, "[stream-drop-writable-0]write-via-stream") void bytes_drop_writable(u32 writable);
IMPORT("wasi:cli/stdin@0.3.0", "[stream-read-0]read-via-stream") u32 bytes_read(u32 readable, void *to, u32 n);
IMPORT("wasi:cli/stdin@0.3.0", "[stream-drop-readable-0]read-via-stream") void bytes_drop_readable(u32 readable);
IMPORT(OUT, "[future-read-1]write-via-stream") u32 stdio_outcome(u32 readable, void *result);
IMPORT(OUT, "[future-drop-readable-1]write-via-stream") void stdio_drop_outcome(u32 readable);
IMPORT(FILES, "[stream-read-0]" METHOD "read-directory") u32 entries_read(u32 readable, void *to, u32 n);
IMPORT(FILES, "[stream-drop-readable-0]" METHOD "read-directory") void entries_drop_readable(u32 readable);

// result<descriptor, error-code> and result<_, error-code>
typedef struct {
  u8 failed;
  u32 value; // the descriptor, or the error code in its lowest byte
  u32 rest[3];
} outcome;

IMPORT(FILES, "[future-read-1]" METHOD "read-via-stream") u32 file_outcome(u32 readable, outcome *result);
IMPORT(FILES, "[future-drop-readable-1]" METHOD "read-via-stream") void file_drop_outcome(u32 readable);
IMPORT(FILES, "[resource-drop]descriptor") void descriptor_drop(u32 descriptor);
IMPORT(FILES, METHOD "open-at")
void open_at(u32 directory, u32 path_flags, const char *path, u32 length, u32 open_flags, u32 flags, outcome *result);
IMPORT(FILES, METHOD "create-directory-at")
void create_directory_at(u32 directory, const char *path, u32 length, outcome *result);
IMPORT(FILES, METHOD "unlink-file-at")
void unlink_file_at(u32 directory, const char *path, u32 length, outcome *result);

typedef struct {
  u32 directory;
  view name;
} preopen;
IMPORT("wasi:filesystem/preopens@0.3.0", "get-directories") void get_directories(view *list);

typedef struct {
  u8 type; // and three words for a type that has no name
  u32 rest[3];
  view name;
} directory_entry;

enum { FOLLOW_LINKS = 1 };                        // path-flags
enum { CREATE = 1, DIRECTORY = 2, TRUNCATE = 8 }; // open-flags
enum { READ = 1, WRITE = 2 };                     // descriptor-flags
enum { TYPE_DIRECTORY = 2 };                      // descriptor-type
enum { NO_ENTRY = 19 };                           // error-code

static const char *const errors[] = {
    "access", "already", "bad-descriptor", "busy", "deadlock", "quota", "exist", "file-too-large",
    "illegal-byte-sequence", "in-progress", "interrupted", "invalid", "io", "is-directory", "loop", "too-many-links",
    "message-size", "name-too-long", "no-device", "no-entry", "no-lock", "insufficient-memory", "insufficient-space",
    "not-directory", "not-empty", "not-recoverable", "unsupported", "no-tty", "no-such-device", "overflow",
    "not-permitted", "pipe", "read-only", "invalid-seek", "text-file-busy", "cross-device", "other",
};

static view text(const char *chars) {
  u32 length = 0;
  while (chars[length]) length++;
  return (view){(void *)chars, length};
}

static int starts_with(view name, view start) {
  if (name.length < start.length) return 0;
  for (u32 i = 0; i < start.length; i++)
    if (((u8 *)name.pointer)[i] != ((u8 *)start.pointer)[i]) return 0;
  return 1;
}

static int equal(view a, view b) { return a.length == b.length && starts_with(a, b); }

// Output

// Writes all of it to a stream, unless that is dropped first, and ends it.
static void write_all(u32 writable, view data) {
  for (u32 done = 0; done < data.length;) {
    u32 packed = bytes_write(writable, (u8 *)data.pointer + done, data.length - done);
    done += COPY_COUNT(packed); // a copy may be partial
    if (COPY_RESULT(packed) == COPY_DROPPED) break;
  }
  bytes_drop_writable(writable);
}

static void print(u32 write_via_stream(u32 readable), view data) {
  u64 ends = bytes_new();
  u32 written = write_via_stream(READABLE(ends));
  write_all(WRITABLE(ends), data);
  u8 result[2];
  stdio_outcome(written, result);
  stdio_drop_outcome(written);
}

static void print_line(view line, const char *end) {
  print(write_stdout, line);
  print(write_stdout, text(end));
}

// Digits from the end of a buffer, at least so many; returns the first one.
static char *digits(char *end, u64 number, u32 base, u32 at_least) {
  char *first = end;
  for (; number || end - first < (int)at_least; number /= base) *--first = "0123456789abcdef"[number % base];
  return first;
}

static void print_time(u64 seconds, u32 nanoseconds) {
  char line[32], *end = line + sizeof line, *first = digits(end, nanoseconds, 10, 9);
  *--first = '.';
  first = digits(first, seconds, 10, 1);
  print_line((view){first, end - first}, "\n");
}

// Each of what follows returns whether it failed.

static int failed(view what, const char *why) {
  print(write_stderr, text("c-files: "));
  print(write_stderr, what);
  print(write_stderr, text(": "));
  print(write_stderr, text(why));
  print(write_stderr, text("\n"));
  return 1;
}

static int fails(view path, const outcome *result) {
  return result->failed && failed(path, errors[result->value & 0xff]);
}

// Files

// The directory that a path lies in, as it was given; takes its name, and the slash after it, from the path.
static int find_directory(view path, u32 *directory, view *rest) {
  static view given; // they stay open
  if (!given.pointer) get_directories(&given);
  for (preopen *it = given.pointer; it < (preopen *)given.pointer + given.length; it++) {
    if (!starts_with(path, it->name)) continue;
    view tail = {(u8 *)path.pointer + it->name.length, path.length - it->name.length};
    if (tail.length && *(u8 *)tail.pointer == '/') tail.pointer = (u8 *)tail.pointer + 1, tail.length--;
    *directory = it->directory;
    *rest = tail.length ? tail : text(".");
    return 0;
  }
  return failed(path, errors[NO_ENTRY]);
}

static int open(view path, u32 open_flags, u32 flags, u32 *descriptor) {
  u32 directory;
  view rest;
  outcome result;
  if (find_directory(path, &directory, &rest)) return 1;
  open_at(directory, FOLLOW_LINKS, rest.pointer, rest.length, open_flags, flags, &result);
  *descriptor = result.value;
  return fails(path, &result);
}

static int copy(view from, view to) {
  u32 source, target, ends[2];
  static u8 buffer[4096];
  outcome result;
  if (open(from, 0, READ, &source)) return 1;
  if (open(to, CREATE | TRUNCATE, WRITE, &target)) return descriptor_drop(source), 1;
  int failure = 0;
  read_file(source, 0, ends);
  u64 offset = 0;
  for (u32 packed = 0; !failure && COPY_RESULT(packed) != COPY_DROPPED;) {
    packed = bytes_read(ends[0], buffer, sizeof buffer);
    u32 count = COPY_COUNT(packed);
    for (u32 i = 0; i < count; i++)
      if (buffer[i] >= 'a' && buffer[i] <= 'z') buffer[i] -= 'a' - 'A';
    u64 piece = bytes_new();
    u32 written = write_file(target, READABLE(piece), offset);
    write_all(WRITABLE(piece), (view){buffer, count});
    file_outcome(written, &result);
    file_drop_outcome(written);
    failure = fails(to, &result);
    offset += count;
  }
  bytes_drop_readable(ends[0]);
  file_outcome(ends[1], &result);
  file_drop_outcome(ends[1]);
  descriptor_drop(source);
  descriptor_drop(target);
  return failure || fails(from, &result);
}

static int list(view path) {
  u32 directory, ends[2];
  directory_entry entry;
  outcome result;
  if (open(path, DIRECTORY, READ, &directory)) return 1;
  read_directory(directory, ends);
  while (COPY_COUNT(entries_read(ends[0], &entry, 1))) {
    print_line(entry.name, entry.type == TYPE_DIRECTORY ? "/\n" : "\n");
    free(entry.name.pointer);
  }
  entries_drop_readable(ends[0]);
  file_outcome(ends[1], &result);
  file_drop_outcome(ends[1]);
  descriptor_drop(directory);
  return fails(path, &result);
}

static int change(view path, void method(u32 directory, const char *path, u32 length, outcome *result)) {
  u32 directory;
  view rest;
  outcome result;
  if (find_directory(path, &directory, &rest)) return 1;
  method(directory, rest.pointer, rest.length, &result);
  return fails(path, &result);
}

// The rest

static int cat(void) {
  u32 ends[2];
  static u8 buffer[4096], result[2];
  read_stdin(ends);
  for (u32 packed = 0; COPY_RESULT(packed) != COPY_DROPPED;) {
    packed = bytes_read(ends[0], buffer, sizeof buffer);
    if (COPY_COUNT(packed)) print(write_stdout, (view){buffer, COPY_COUNT(packed)});
  }
  bytes_drop_readable(ends[0]);
  stdio_outcome(ends[1], result);
  stdio_drop_outcome(ends[1]);
  return result[0] && failed(text("stdin"), "broken");
}

static int env(view name) {
  view list;
  get_environment(&list);
  for (view *it = list.pointer; it < (view *)list.pointer + 2 * list.length; it += 2)
    if (equal(it[0], name)) return print_line(it[1], "\n"), 0;
  return failed(name, "not set");
}

static int now(void) {
  struct {
    u64 seconds;
    u32 nanoseconds;
  } instant;
  system_now(&instant);
  print_time(instant.seconds, instant.nanoseconds);
  u64 monotonic = monotonic_now();
  print_time(monotonic / 1000000000, monotonic % 1000000000);
  return 0;
}

static int random(u32 count) {
  view bytes;
  get_random_bytes(count, &bytes);
  char *line = malloc(2 * bytes.length);
  for (u32 i = 0; i < bytes.length; i++) digits(line + 2 * i + 2, ((u8 *)bytes.pointer)[i], 16, 2);
  print_line((view){line, 2 * bytes.length}, "\n");
  free(bytes.pointer);
  free(line);
  return 0;
}

static int hang(void) {
  u32 payload[2];
  waitable_set_wait(waitable_set_new(), payload);
  return 0;
}

static u32 number(view digits) {
  u32 value = 0;
  for (u32 i = 0; i < digits.length; i++) value = 10 * value + ((u8 *)digits.pointer)[i] - '0';
  return value;
}

EXPORT("wasi:cli/run@0.3.0#run") int run(void) {
  view arguments;
  get_arguments(&arguments);
  view *next = (view *)arguments.pointer + 1, *end = (view *)arguments.pointer + arguments.length;
  int failure = 0;
  while (next < end && !failure) {
    view word = *next++;
    u32 left = end - next;
    if (equal(word, text("cat"))) failure = cat();
    else if (equal(word, text("now"))) failure = now();
    else if (equal(word, text("hang"))) failure = hang();
    else if (equal(word, text("trap"))) __builtin_trap();
    else if (left >= 1 && equal(word, text("list"))) failure = list(*next++);
    else if (left >= 1 && equal(word, text("make"))) failure = change(*next++, create_directory_at);
    else if (left >= 1 && equal(word, text("remove"))) failure = change(*next++, unlink_file_at);
    else if (left >= 1 && equal(word, text("env"))) failure = env(*next++);
    else if (left >= 1 && equal(word, text("random"))) failure = random(number(*next++));
    else if (left >= 1 && equal(word, text("sleep"))) wait_for(number(*next++) * 1000000ull);
    else if (left >= 1 && equal(word, text("exit"))) exit_with_code(number(*next++));
    else if (left >= 2 && equal(word, text("copy"))) failure = copy(next[0], next[1]), next += 2;
    else failure = failed(word, "unknown, or too few arguments");
  }
  return failure;
}
