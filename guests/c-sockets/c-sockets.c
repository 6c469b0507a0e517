// TCP in blocking code. What the host writes to is from malloc (see runtime.c).
#include "component.h"

#define GUEST "p3host:c-sockets/guest@0.1.0"
#define TYPES "wasi:sockets/types@0.3.0"
#define TCP "[method]tcp-socket."

// An ipv4 or ipv6 address, flattened; ours are all ipv4.
#define ADDRESS u32 family, u32 port, u32 a, u32 b, u32 c, u32 d, u32, u32, u32, u32, u32, u32
#define LOCALHOST(port) 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0

// A result whose ok case is empty, a handle or an address; an error's code is at the same place.
typedef struct {
  u8 is_error;
  u32 value;
  uint16_t port; // of an address
  u8 rest[32];
} result;

IMPORT(TYPES, "[static]tcp-socket.create") void create(u32 family, result *);
IMPORT(TYPES, "[resource-drop]tcp-socket") void drop_socket(u32 socket);
IMPORT(TYPES, TCP "bind") void bind(u32 socket, ADDRESS, result *);
IMPORT(TYPES, TCP "connect") void connect(u32 socket, ADDRESS, result *);
IMPORT(TYPES, TCP "listen") void start_listening(u32 socket, result *);
IMPORT(TYPES, TCP "get-local-address") void get_local_address(u32 socket, result *);
IMPORT(TYPES, TCP "send") u32 start_sending(u32 socket, u32 readable);
IMPORT(TYPES, TCP "receive") void start_receiving(u32 socket, u32 ends[2]);
IMPORT(TYPES, "[stream-read-0]" TCP "listen") u32 accept(u32 readable, u32 *socket, u32 n);
IMPORT(TYPES, "[stream-new-0]" TCP "send") u64 stream_new(void);
IMPORT(TYPES, "[stream-write-0]" TCP "send") u32 stream_write(u32 writable, const void *from, u32 n);
IMPORT(TYPES, "[stream-drop-writable-0]" TCP "send") void drop_writable(u32 writable);
IMPORT(TYPES, "[future-read-1]" TCP "send") u32 read_sent(u32 readable, result *);
IMPORT(TYPES, "[future-drop-readable-1]" TCP "send") void drop_sent(u32 readable);
IMPORT(TYPES, "[stream-read-0]" TCP "receive") u32 stream_read(u32 readable, void *to, u32 n);
IMPORT(TYPES, "[stream-drop-readable-0]" TCP "receive") void drop_readable(u32 readable);
IMPORT(TYPES, "[future-drop-readable-1]" TCP "receive") void drop_received(u32 readable);
IMPORT("[export]" GUEST, "[task-return]echo") void return_echo(u64 count);
IMPORT("[export]" GUEST, "[task-return]push") void return_push(u64 count);
IMPORT("[export]" GUEST, "[task-return]pull") void return_pull(u64 count);

#define PIECE 65536

static u32 connections;

static u32 create_socket(result *r) {
  create(0, r);
  if (r->is_error) __builtin_trap();
  return r->value;
}

EXPORT(GUEST "#listen") u32 listen(void) {
  result *r = malloc(sizeof *r);
  u32 socket = create_socket(r), port = 0;
  bind(socket, LOCALHOST(0), r);
  if (!r->is_error) start_listening(socket, r);
  if (!r->is_error) {
    connections = r->value;
    get_local_address(socket, r);
    port = r->port;
  }
  drop_socket(socket); // the stream of connections goes on
  free(r);
  return port;
}

EXPORT("[async-lift-stackful]" GUEST "#echo") void echo(void) {
  struct {
    u32 socket;
    u32 received[2];
    u8 bytes[PIECE];
  } *host = malloc(sizeof *host);
  u64 count = 0;
  if (COPY_COUNT(accept(connections, &host->socket, 1)) == 1) {
    u64 ends = stream_new();
    // Nobody needs to know when all is sent: it is, although the socket and the future are dropped.
    drop_sent(start_sending(host->socket, READABLE(ends)));
    start_receiving(host->socket, host->received);
    drop_socket(host->socket);
    drop_received(host->received[1]);
    for (u32 packed = 0; COPY_RESULT(packed) == COPY_COMPLETED;) {
      packed = stream_read(host->received[0], host->bytes, PIECE);
      for (u32 done = 0, size = COPY_COUNT(packed); done < size;) {
        u32 written = stream_write(WRITABLE(ends), host->bytes + done, size - done);
        done += COPY_COUNT(written);
        count += COPY_COUNT(written);
        if (COPY_RESULT(written) != COPY_COMPLETED) break;
      }
    }
    drop_writable(WRITABLE(ends));
    drop_readable(host->received[0]);
  }
  free(host);
  return_echo(count);
}

static u32 connect_to(u32 port, result *r) {
  u32 socket = create_socket(r);
  connect(socket, LOCALHOST(port), r);
  return socket;
}

EXPORT("[async-lift-stackful]" GUEST "#push") void push(u32 port, u64 count) {
  result *r = malloc(sizeof *r);
  u32 socket = connect_to(port, r);
  u64 taken = 0;
  if (!r->is_error) {
    u64 ends = stream_new();
    u32 sent = start_sending(socket, READABLE(ends));
    u8 *bytes = malloc(PIECE);
    for (u32 packed = 0; taken < count && COPY_RESULT(packed) == COPY_COMPLETED;) {
      packed = stream_write(WRITABLE(ends), bytes, count - taken < PIECE ? (u32)(count - taken) : PIECE);
      taken += COPY_COUNT(packed);
    }
    drop_writable(WRITABLE(ends));
    read_sent(sent, r);
    if (r->is_error) taken = 0;
    drop_sent(sent);
    free(bytes);
  }
  drop_socket(socket);
  free(r);
  return_push(taken);
}

EXPORT("[async-lift-stackful]" GUEST "#pull") void pull(u32 port) {
  result *r = malloc(sizeof *r);
  u32 socket = connect_to(port, r);
  u64 count = 0;
  if (!r->is_error) {
    u32 *received = malloc(2 * sizeof *received);
    start_receiving(socket, received);
    u8 *bytes = malloc(PIECE);
    for (u32 packed = 0; COPY_RESULT(packed) == COPY_COMPLETED;) {
      packed = stream_read(received[0], bytes, PIECE);
      count += COPY_COUNT(packed);
    }
    drop_readable(received[0]);
    drop_received(received[1]);
    free(bytes);
    free(received);
  }
  drop_socket(socket);
  free(r);
  return_pull(count);
}
