// Sockets of WASI 0.2 in blocking code. No call leaves anything on the shadow stack to the host for longer than it takes.
#include "component.h"

#define GUEST "p3host:c-sockets-p2/guest@0.1.0"
#define SOCKETS(interface) "wasi:sockets/" interface "@0.2.12"
#define IO(interface) "wasi:io/" interface "@0.2.12"

// An ipv4 or ipv6 address, flattened; ours are all ipv4.
#define ADDRESS u32 family, u32 port, u32 a, u32 b, u32 c, u32 d, u32, u32, u32, u32, u32, u32
#define LOCALHOST(port) 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0

// Whatever a call returns: where its result is ok, the value is four bytes in.
typedef union {
  u8 is_error;
  struct {
    u32 _tag, value[3]; // handles, or a pointer and a length
  };
  struct {
    u8 _address_tags[8];
    uint16_t port; // of an address
  };
  struct {
    u8 _option_tags[2], has_address, _1, address_case, _2, ipv4[4]; // of an optional IP address
  };
  u8 _size[40];
} result;

typedef struct {
  void *data;
  u32 size;
  u8 remote[32];
} incoming_datagram;

typedef struct {
  void *data;
  u32 size;
  u32 has_remote;
  u8 remote[32];
} outgoing_datagram;

IMPORT(IO("poll"), "[method]pollable.block") void block(u32 pollable);
IMPORT(IO("poll"), "[resource-drop]pollable") void drop_pollable(u32 pollable);
IMPORT(IO("streams"), "[method]input-stream.blocking-read") void blocking_read(u32 stream, u64 size, result *);
IMPORT(IO("streams"), "[method]output-stream.check-write") void check_write(u32 stream, result *);
IMPORT(IO("streams"), "[method]output-stream.write") void write(u32 stream, const void *, u32 size, result *);
IMPORT(IO("streams"), "[method]output-stream.subscribe") u32 subscribe_output(u32 stream);
IMPORT(IO("streams"), "[resource-drop]input-stream") void drop_input(u32 stream);
IMPORT(IO("streams"), "[resource-drop]output-stream") void drop_output(u32 stream);

IMPORT(SOCKETS("instance-network"), "instance-network") u32 instance_network(void);
IMPORT(SOCKETS("tcp-create-socket"), "create-tcp-socket") void create_tcp_socket(u32 family, result *);
IMPORT(SOCKETS("udp-create-socket"), "create-udp-socket") void create_udp_socket(u32 family, result *);

#define TCP(method) IMPORT(SOCKETS("tcp"), "[method]tcp-socket." method)
TCP("start-bind") void tcp_start_bind(u32 socket, u32 network, ADDRESS, result *);
TCP("finish-bind") void tcp_finish_bind(u32 socket, result *);
TCP("start-listen") void start_listen(u32 socket, result *);
TCP("finish-listen") void finish_listen(u32 socket, result *);
TCP("accept") void tcp_accept(u32 socket, result *);
TCP("start-connect") void start_connect(u32 socket, u32 network, ADDRESS, result *);
TCP("finish-connect") void finish_connect(u32 socket, result *);
TCP("local-address") void tcp_local_address(u32 socket, result *);
TCP("subscribe") u32 tcp_subscribe(u32 socket);
TCP("shutdown") void tcp_shutdown(u32 socket, u32 direction, result *);
IMPORT(SOCKETS("tcp"), "[resource-drop]tcp-socket") void drop_tcp_socket(u32 socket);

#define UDP(method) IMPORT(SOCKETS("udp"), "[method]" method)
UDP("udp-socket.start-bind") void udp_start_bind(u32 socket, u32 network, ADDRESS, result *);
UDP("udp-socket.finish-bind") void udp_finish_bind(u32 socket, result *);
UDP("udp-socket.local-address") void udp_local_address(u32 socket, result *);
UDP("udp-socket.stream") void udp_stream(u32 socket, u32 has_remote, ADDRESS, result *);
UDP("incoming-datagram-stream.receive") void udp_receive(u32 stream, u64 most, result *);
UDP("incoming-datagram-stream.subscribe") u32 udp_subscribe(u32 stream);
UDP("outgoing-datagram-stream.check-send") void check_send(u32 stream, result *);
UDP("outgoing-datagram-stream.send") void udp_send(u32 stream, outgoing_datagram *, u32 count, result *);

#define LOOKUP SOCKETS("ip-name-lookup")
IMPORT(LOOKUP, "resolve-addresses") void resolve_addresses(u32 network, const u8 *name, u32 length, result *);
IMPORT(LOOKUP, "[method]resolve-address-stream.resolve-next-address") void next_address(u32 stream, result *);
IMPORT(LOOKUP, "[method]resolve-address-stream.subscribe") u32 lookup_subscribe(u32 stream);

static u32 listener, incoming, outgoing;

static void wait_for(u32 pollable) {
  block(pollable);
  drop_pollable(pollable);
}

EXPORT(GUEST "#listen") u32 listen(void) {
  result r;
  create_tcp_socket(0, &r);
  if (r.is_error) return 0;
  listener = r.value[0];
  tcp_start_bind(listener, instance_network(), LOCALHOST(0), &r);
  if (!r.is_error) tcp_finish_bind(listener, &r);
  if (!r.is_error) start_listen(listener, &r);
  if (!r.is_error) finish_listen(listener, &r);
  if (!r.is_error) tcp_local_address(listener, &r);
  return r.is_error ? 0 : r.port;
}

static void write_all(u32 output, const u8 *bytes, u32 size) {
  result r;
  while (size) {
    check_write(output, &r);
    if (r.is_error) return;
    u32 permitted = r.value[1]; // a u64 lies eight bytes in
    if (!permitted) {
      wait_for(subscribe_output(output));
      continue;
    }
    if (permitted > size) permitted = size;
    write(output, bytes, permitted, &r);
    bytes += permitted, size -= permitted;
  }
}

static u64 read_all(u32 input, u32 output) {
  u64 count = 0;
  for (;;) {
    result r;
    blocking_read(input, 1 << 20, &r);
    if (r.is_error) return count;
    count += r.value[1];
    if (output) write_all(output, (u8 *)r.value[0], r.value[1]);
    free((void *)r.value[0]);
  }
}

EXPORT(GUEST "#echo") u64 echo(void) {
  result r;
  wait_for(tcp_subscribe(listener));
  tcp_accept(listener, &r);
  if (r.is_error) return 0;
  u32 socket = r.value[0], input = r.value[1], output = r.value[2];
  u64 count = read_all(input, output);
  tcp_shutdown(socket, 1, &r);
  drop_input(input);
  drop_output(output);
  drop_tcp_socket(socket);
  return count;
}

EXPORT(GUEST "#pull") u64 pull(u32 port) {
  result r;
  create_tcp_socket(0, &r);
  if (r.is_error) return 0;
  u32 socket = r.value[0];
  u64 count = 0;
  start_connect(socket, instance_network(), LOCALHOST(port), &r);
  if (!r.is_error) {
    wait_for(tcp_subscribe(socket));
    finish_connect(socket, &r);
  }
  if (!r.is_error) {
    u32 input = r.value[0], output = r.value[1];
    count = read_all(input, 0);
    drop_input(input);
    drop_output(output);
  }
  drop_tcp_socket(socket);
  return count;
}

EXPORT(GUEST "#bind") u32 bind(void) {
  result r;
  create_udp_socket(0, &r);
  if (r.is_error) return 0;
  u32 socket = r.value[0];
  udp_start_bind(socket, instance_network(), LOCALHOST(0), &r);
  if (!r.is_error) udp_finish_bind(socket, &r);
  if (!r.is_error) udp_stream(socket, 0, LOCALHOST(0), &r);
  if (r.is_error) return 0;
  incoming = r.value[0], outgoing = r.value[1];
  udp_local_address(socket, &r);
  return r.is_error ? 0 : r.port;
}

EXPORT(GUEST "#reflect") u32 reflect(void) {
  result r;
  do {
    wait_for(udp_subscribe(incoming));
    udp_receive(incoming, 1, &r);
    if (r.is_error) return 0;
  } while (!r.value[1]);
  incoming_datagram *in = (void *)r.value[0];
  outgoing_datagram *out = malloc(sizeof *out);
  out->data = in->data;
  out->size = in->size;
  out->has_remote = 1;
  for (u32 i = 0; i < sizeof in->remote; i++) out->remote[i] = in->remote[i];
  check_send(outgoing, &r);
  if (!r.is_error) udp_send(outgoing, out, 1, &r);
  u32 size = r.is_error ? 0 : in->size;
  free(in->data);
  free(in);
  free(out);
  return size;
}

EXPORT(GUEST "#resolve") u32 resolve(const u8 *name, u32 length) {
  result r;
  resolve_addresses(instance_network(), name, length, &r);
  if (r.is_error) return 0;
  u32 stream = r.value[0];
  wait_for(lookup_subscribe(stream));
  next_address(stream, &r);
  if (r.is_error || !r.has_address || r.address_case != 0) return 0;
  return (u32)r.ipv4[0] << 24 | (u32)r.ipv4[1] << 16 | (u32)r.ipv4[2] << 8 | r.ipv4[3];
}
