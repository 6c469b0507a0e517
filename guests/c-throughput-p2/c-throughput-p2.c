// Bytes through the streams of WASI 0.2: see c/throughput.h. Pieces of up to 4096 bytes are written by
// blocking-write-and-flush, which takes no more, and larger ones by what check-write permits; `splice` moves stdin to
// stdout by blocking-splice.
#include "throughput.h"

#define IO(interface) "wasi:io/" interface "@0.2.12"
#define CLI(interface) "wasi:cli/" interface "@0.2.12"
#define FILES(interface) "wasi:filesystem/" interface "@0.2.12"
#define SOCKETS(interface) "wasi:sockets/" interface "@0.2.12"

// An ipv4 or ipv6 address, flattened; ours are all ipv4.
#define ADDRESS u32 family, u32 port, u32 a, u32 b, u32 c, u32 d, u32, u32, u32, u32, u32, u32
#define LOCALHOST(port) 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0

// Whatever a call returns. Where its result is ok, the value is four bytes in, or eight for a u64.
typedef union {
  u8 is_error;
  struct {
    u32 _tag, value[3]; // handles, or a pointer and a length
  };
} result;

typedef struct {
  u32 directory;
  view name;
} preopen;

#define INPUT(method) IMPORT(IO("streams"), "[method]input-stream." method)
#define OUTPUT(method) IMPORT(IO("streams"), "[method]output-stream." method)
INPUT("blocking-read") void blocking_read(u32 stream, u64 size, result *);
OUTPUT("check-write") void check_write(u32 stream, result *);
OUTPUT("write") void write(u32 stream, const void *, u32 size, result *);
OUTPUT("blocking-write-and-flush") void blocking_write_and_flush(u32 stream, const void *, u32 size, result *);
OUTPUT("blocking-flush") void blocking_flush(u32 stream, result *);
OUTPUT("blocking-splice") void blocking_splice(u32 stream, u32 source, u64 size, result *);
OUTPUT("subscribe") u32 subscribe(u32 stream);
IMPORT(IO("streams"), "[resource-drop]input-stream") void drop_input(u32 stream);
IMPORT(IO("streams"), "[resource-drop]output-stream") void drop_output(u32 stream);
IMPORT(IO("poll"), "[method]pollable.block") void block(u32 pollable);
IMPORT(IO("poll"), "[resource-drop]pollable") void drop_pollable(u32 pollable);
IMPORT(CLI("environment"), "get-arguments") void import_arguments(view *list);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "now") u64 import_now(void);
IMPORT(CLI("stdin"), "get-stdin") u32 get_stdin(void);
IMPORT(CLI("stdout"), "get-stdout") u32 get_stdout(void);
IMPORT(CLI("stderr"), "get-stderr") u32 get_stderr(void);
IMPORT(FILES("preopens"), "get-directories") void get_directories(view *list);
IMPORT(FILES("types"), "[method]descriptor.open-at")
void open_at(u32 directory, u32 path_flags, const char *path, u32 length, u32 open_flags, u32 flags, result *);
IMPORT(FILES("types"), "[method]descriptor.read-via-stream") void read_file(u32 file, u64 offset, result *);
IMPORT(FILES("types"), "[method]descriptor.write-via-stream") void write_file(u32 file, u64 offset, result *);
IMPORT(FILES("types"), "[resource-drop]descriptor") void drop_descriptor(u32 descriptor);
IMPORT(SOCKETS("instance-network"), "instance-network") u32 instance_network(void);
IMPORT(SOCKETS("tcp-create-socket"), "create-tcp-socket") void create_socket(u32 family, result *);
IMPORT(SOCKETS("tcp"), "[method]tcp-socket.start-connect") void start_connect(u32 socket, u32 network, ADDRESS, result *);
IMPORT(SOCKETS("tcp"), "[method]tcp-socket.finish-connect") void finish_connect(u32 socket, result *);
IMPORT(SOCKETS("tcp"), "[method]tcp-socket.subscribe") u32 subscribe_socket(u32 socket);
IMPORT(SOCKETS("tcp"), "[resource-drop]tcp-socket") void drop_socket(u32 socket);

#define BLOCKING_WRITE_LIMIT 4096
enum { CREATE = 1, TRUNCATE = 8 }; // open-flags
enum { READ = 1, WRITE = 2 };      // descriptor-flags

static void get_arguments(view *list) { import_arguments(list); }
static u64 now(void) { return import_now(); }

static void wait_for(u32 pollable) {
  block(pollable);
  drop_pollable(pollable);
}

// As much as the stream permits; how much that was, or 0 if it failed.
static u32 write_permitted(u32 output, const u8 *from, u32 size) {
  result r;
  for (;;) {
    check_write(output, &r);
    if (r.is_error) return 0;
    if (r.value[1]) break;
    wait_for(subscribe(output));
  }
  if (r.value[1] < size) size = r.value[1];
  write(output, from, size, &r);
  return r.is_error ? 0 : size;
}

static u32 write_some(u32 output, const u8 *from, u32 size) {
  if (size > BLOCKING_WRITE_LIMIT) return write_permitted(output, from, size);
  result r;
  blocking_write_and_flush(output, from, size, &r);
  return r.is_error ? 0 : size;
}

static int write_all(u32 output, const u8 *from, u64 total, u32 piece) {
  result r;
  for (u32 position = 0; total;) {
    u32 size = piece - position < total ? piece - position : total;
    u32 done = write_some(output, from + position, size);
    if (!done) return 1;
    total -= done;
    position += done;
    if (position == piece) position = 0;
  }
  blocking_flush(output, &r);
  return r.is_error;
}

static int write_pieces(u32 output, u64 total, u32 piece) {
  u8 *bytes = malloc(piece);
  int failure = write_all(output, bytes, total, piece);
  free(bytes);
  return failure;
}

static int read_all(u32 input, u64 total, u32 piece) {
  result r;
  while (total) {
    blocking_read(input, piece < total ? piece : total, &r);
    if (r.is_error) return 1;
    total -= r.value[1];
    free((void *)r.value[0]);
  }
  return 0;
}

static void print(view text) {
  static u32 output;
  if (!output) output = get_stderr();
  write_all(output, text.pointer, text.length, text.length);
}

static int open(view path, u32 open_flags, u32 flags, u32 *file) {
  result r;
  view list;
  get_directories(&list);
  open_at(((preopen *)list.pointer)->directory, 0, path.pointer, path.length, open_flags, flags, &r);
  *file = r.value[0];
  return r.is_error;
}

static int to_stdout(view where, u64 total, u32 piece) {
  u32 output = get_stdout();
  int failure = write_pieces(output, total, piece);
  drop_output(output);
  return failure;
}

static int from_stdin(view where, u64 total, u32 piece) {
  u32 input = get_stdin();
  int failure = read_all(input, total, piece);
  drop_input(input);
  return failure;
}

static int splice(view where, u64 total, u32 piece) {
  u32 input = get_stdin(), output = get_stdout();
  result r;
  do {
    blocking_splice(output, input, piece < total ? piece : total, &r);
    if (!r.is_error) total -= r.value[1];
  } while (total && !r.is_error);
  drop_input(input);
  drop_output(output);
  return r.is_error;
}

static int write_to(view path, u64 total, u32 piece) {
  u32 file;
  result r;
  if (open(path, CREATE | TRUNCATE, WRITE, &file)) return 1;
  write_file(file, 0, &r);
  if (r.is_error) return 1;
  u32 output = r.value[0];
  int failure = write_pieces(output, total, piece);
  drop_output(output);
  drop_descriptor(file);
  return failure;
}

static int read_from(view path, u64 total, u32 piece) {
  u32 file;
  result r;
  if (open(path, 0, READ, &file)) return 1;
  read_file(file, 0, &r);
  if (r.is_error) return 1;
  u32 input = r.value[0];
  int failure = read_all(input, total, piece);
  drop_input(input);
  drop_descriptor(file);
  return failure;
}

static int over_tcp(view port, u64 total, u32 piece, int sends) {
  result r;
  create_socket(0, &r);
  if (r.is_error) return 1;
  u32 socket = r.value[0];
  start_connect(socket, instance_network(), LOCALHOST(number(port)), &r);
  if (r.is_error) return 1;
  wait_for(subscribe_socket(socket));
  finish_connect(socket, &r);
  if (r.is_error) return 1;
  u32 input = r.value[0], output = r.value[1];
  int failure = sends ? write_pieces(output, total, piece) : read_all(input, total, piece);
  drop_input(input);
  drop_output(output);
  drop_socket(socket);
  return failure;
}

static int send(view port, u64 total, u32 piece) { return over_tcp(port, total, piece, 1); }
static int receive(view port, u64 total, u32 piece) { return over_tcp(port, total, piece, 0); }

static const operation operations[] = {
    {"stdout", to_stdout}, {"stdin", from_stdin}, {"splice", splice}, {"write", write_to},
    {"read", read_from},   {"send", send},        {"receive", receive}, {0, 0},
};

EXPORT("wasi:cli/run@0.2.12#run") int run(void) { return run_operations(); }
