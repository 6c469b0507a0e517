// Bytes through the streams of WASI 0.3: see c/throughput.h. `splice` gives the stream of stdin to stdout, to its end.
#include "throughput.h"

#define FILES "wasi:filesystem/types@0.3.0"
#define DESCRIPTOR "[method]descriptor."
#define SOCKETS "wasi:sockets/types@0.3.0"
#define TCP "[method]tcp-socket."
#define OUT "wasi:cli/stdout@0.3.0"

// An ipv4 or ipv6 address, flattened; ours are all ipv4.
#define ADDRESS u32 family, u32 port, u32 a, u32 b, u32 c, u32 d, u32, u32, u32, u32, u32, u32
#define LOCALHOST(port) 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0

// A result: a handle or a case of an error code beside the tag.
typedef struct {
  u8 is_error;
  u32 value;
  u32 rest[8];
} result;

typedef struct {
  u32 directory;
  view name;
} preopen;

IMPORT("wasi:cli/environment@0.3.0", "get-arguments") void import_arguments(view *list);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "now") u64 import_now(void);
IMPORT("wasi:cli/stdin@0.3.0", "read-via-stream") void read_stdin(u32 ends[2]);
IMPORT(OUT, "write-via-stream") u32 write_stdout(u32 readable);
IMPORT("wasi:cli/stderr@0.3.0", "write-via-stream") u32 write_stderr(u32 readable);
IMPORT("wasi:filesystem/preopens@0.3.0", "get-directories") void get_directories(view *list);
IMPORT(FILES, DESCRIPTOR "open-at")
void open_at(u32 directory, u32 path_flags, const char *path, u32 length, u32 open_flags, u32 flags, result *);
IMPORT(FILES, DESCRIPTOR "read-via-stream") void read_file(u32 file, u64 offset, u32 ends[2]);
IMPORT(FILES, DESCRIPTOR "write-via-stream") u32 write_file(u32 file, u32 readable, u64 offset);
IMPORT(FILES, "[resource-drop]descriptor") void drop_descriptor(u32 descriptor);
IMPORT(SOCKETS, "[static]tcp-socket.create") void create_socket(u32 family, result *);
IMPORT(SOCKETS, TCP "connect") void connect(u32 socket, ADDRESS, result *);
IMPORT(SOCKETS, TCP "send") u32 start_sending(u32 socket, u32 readable);
IMPORT(SOCKETS, TCP "receive") void start_receiving(u32 socket, u32 ends[2]);
IMPORT(SOCKETS, "[resource-drop]tcp-socket") void drop_socket(u32 socket);

// Streams are of one type if their elements are, whichever function they come from; futures alike.
IMPORT(OUT, "[stream-new-0]write-via-stream") u64 stream_new(void);
IMPORT(OUT, "[async-lower][stream-write-0]write-via-stream") u32 stream_write(u32 writable, const void *from, u32 n);
IMPORT(OUT, "[stream-drop-writable-0]write-via-stream") void drop_writable(u32 writable);
IMPORT(OUT, "[async-lower][stream-read-0]write-via-stream") u32 stream_read(u32 readable, void *to, u32 n);
IMPORT(OUT, "[stream-drop-readable-0]write-via-stream") void drop_readable(u32 readable);
IMPORT(OUT, "[async-lower][future-read-1]write-via-stream") u32 read_stdio(u32 readable, result *);
IMPORT(OUT, "[future-drop-readable-1]write-via-stream") void drop_stdio(u32 readable);
IMPORT(FILES, "[async-lower][future-read-1]" DESCRIPTOR "read-via-stream") u32 read_filed(u32 readable, result *);
IMPORT(FILES, "[future-drop-readable-1]" DESCRIPTOR "read-via-stream") void drop_filed(u32 readable);
IMPORT(SOCKETS, "[async-lower][future-read-1]" TCP "send") u32 read_sent(u32 readable, result *);
IMPORT(SOCKETS, "[future-drop-readable-1]" TCP "send") void drop_sent(u32 readable);

enum { CREATE = 1, TRUNCATE = 8 }; // open-flags
enum { READ = 1, WRITE = 2 };      // descriptor-flags

static void get_arguments(view *list) { import_arguments(list); }
static u64 now(void) { return import_now(); }

static u8 *buffer(u32 piece) {
  static u8 *pointer;
  static u32 size;
  if (size < piece) pointer = malloc(size = piece);
  return pointer;
}

// What a copy that may have blocked came to.
static u32 finished(u32 packed, u32 waitable) {
  static u32 set, payload[2];
  if (packed != COPY_BLOCKED) return packed;
  if (!set) set = waitable_set_new();
  waitable_join(waitable, set);
  waitable_set_wait(set, payload);
  waitable_join(waitable, 0);
  return payload[1];
}

// Writes all and ends the stream, unless it is dropped first.
static int write_all(u32 writable, const u8 *from, u64 total, u32 piece) {
  u32 position = 0, packed = 0;
  while (total && COPY_RESULT(packed) == COPY_COMPLETED) { // a copy may be partial
    u32 size = piece - position < total ? piece - position : total;
    packed = finished(stream_write(writable, from + position, size), writable);
    total -= COPY_COUNT(packed);
    position += COPY_COUNT(packed);
    if (position == piece) position = 0;
  }
  drop_writable(writable);
  return total != 0;
}

static int read_all(u32 readable, u64 total, u32 piece) {
  u32 packed = 0;
  while (total && COPY_RESULT(packed) == COPY_COMPLETED) {
    packed = finished(stream_read(readable, buffer(piece), piece < total ? piece : total), readable);
    total -= COPY_COUNT(packed);
  }
  drop_readable(readable);
  return total != 0;
}

static int fails(u32 future, u32 read(u32, result *), void drop(u32)) {
  static result r;
  finished(read(future, &r), future);
  drop(future);
  return r.is_error;
}

static void print(view text) {
  u64 ends = stream_new();
  u32 written = write_stderr(READABLE(ends));
  write_all(WRITABLE(ends), text.pointer, text.length, text.length);
  fails(written, read_stdio, drop_stdio);
}

static int open(view path, u32 open_flags, u32 flags, u32 *file) {
  static result r;
  view list;
  get_directories(&list);
  open_at(((preopen *)list.pointer)->directory, 0, path.pointer, path.length, open_flags, flags, &r);
  *file = r.value;
  return r.is_error;
}

static int open_socket(view port, u32 *socket) {
  static result r;
  create_socket(0, &r);
  *socket = r.value;
  if (!r.is_error) connect(*socket, LOCALHOST(number(port)), &r);
  return r.is_error;
}

static int to_stdout(view where, u64 total, u32 piece) {
  u64 ends = stream_new();
  u32 written = write_stdout(READABLE(ends));
  return write_all(WRITABLE(ends), buffer(piece), total, piece) | fails(written, read_stdio, drop_stdio);
}

static int from_stdin(view where, u64 total, u32 piece) {
  u32 ends[2];
  read_stdin(ends);
  return read_all(ends[0], total, piece) | fails(ends[1], read_stdio, drop_stdio);
}

static int splice(view where, u64 total, u32 piece) {
  u32 ends[2];
  read_stdin(ends);
  u32 written = write_stdout(ends[0]);
  return fails(written, read_stdio, drop_stdio) | fails(ends[1], read_stdio, drop_stdio);
}

static int write_to(view path, u64 total, u32 piece) {
  u32 file;
  if (open(path, CREATE | TRUNCATE, WRITE, &file)) return 1;
  u64 ends = stream_new();
  u32 written = write_file(file, READABLE(ends), 0);
  drop_descriptor(file);
  return write_all(WRITABLE(ends), buffer(piece), total, piece) | fails(written, read_filed, drop_filed);
}

static int read_from(view path, u64 total, u32 piece) {
  u32 file, ends[2];
  if (open(path, 0, READ, &file)) return 1;
  read_file(file, 0, ends);
  drop_descriptor(file);
  return read_all(ends[0], total, piece) | fails(ends[1], read_filed, drop_filed);
}

static int send(view port, u64 total, u32 piece) {
  u32 socket;
  if (open_socket(port, &socket)) return 1;
  u64 ends = stream_new();
  u32 sent = start_sending(socket, READABLE(ends));
  drop_socket(socket);
  return write_all(WRITABLE(ends), buffer(piece), total, piece) | fails(sent, read_sent, drop_sent);
}

static int receive(view port, u64 total, u32 piece) {
  u32 socket, ends[2];
  if (open_socket(port, &socket)) return 1;
  start_receiving(socket, ends);
  drop_socket(socket);
  return read_all(ends[0], total, piece) | fails(ends[1], read_sent, drop_sent);
}

static const operation operations[] = {
    {"stdout", to_stdout}, {"stdin", from_stdin}, {"splice", splice}, {"write", write_to},
    {"read", read_from},   {"send", send},        {"receive", receive}, {0, 0},
};

EXPORT("wasi:cli/run@0.3.0#run") int run(void) { return run_operations(); }
