"""The interfaces of WASI 0.2.12, as far as a host provides them. `interface_text.py` tells how they are written; what
came after 0.2.0 says so."""

INTERFACES = """
cli/environment
  get-environment() -> list<tuple<string, string>>
  get-arguments() -> list<string>
  initial-cwd() -> option<string>
cli/exit
  exit(status: result)
  exit-with-code(status-code: u8) @0.2.1
io/error
  resource error
  error.to-debug-string() -> string
io/poll
  resource pollable
  pollable.ready() -> bool
  pollable.block()
  poll(in: list<borrow<pollable>>) -> list<u32>
io/streams
  use io/error: error
  use io/poll: pollable
  variant stream-error = last-operation-failed(error), closed
  resource input-stream
  input-stream.read(len: u64) -> result<list<u8>, stream-error>
  input-stream.blocking-read(len: u64) -> result<list<u8>, stream-error>
  input-stream.skip(len: u64) -> result<u64, stream-error>
  input-stream.blocking-skip(len: u64) -> result<u64, stream-error>
  input-stream.subscribe() -> pollable
  resource output-stream
  output-stream.check-write() -> result<u64, stream-error>
  output-stream.write(contents: list<u8>) -> result<_, stream-error>
  output-stream.blocking-write-and-flush(contents: list<u8>) -> result<_, stream-error>
  output-stream.flush() -> result<_, stream-error>
  output-stream.blocking-flush() -> result<_, stream-error>
  output-stream.subscribe() -> pollable
  output-stream.write-zeroes(len: u64) -> result<_, stream-error>
  output-stream.blocking-write-zeroes-and-flush(len: u64) -> result<_, stream-error>
  output-stream.splice(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>
  output-stream.blocking-splice(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>
cli/stderr
  use io/streams: output-stream
  get-stderr() -> output-stream
cli/stdin
  use io/streams: input-stream
  get-stdin() -> input-stream
cli/stdout
  use io/streams: output-stream
  get-stdout() -> output-stream
cli/terminal-input
  resource terminal-input
cli/terminal-output
  resource terminal-output
cli/terminal-stderr
  use cli/terminal-output: terminal-output
  get-terminal-stderr() -> option<terminal-output>
cli/terminal-stdin
  use cli/terminal-input: terminal-input
  get-terminal-stdin() -> option<terminal-input>
cli/terminal-stdout
  use cli/terminal-output: terminal-output
  get-terminal-stdout() -> option<terminal-output>
clocks/monotonic-clock
  use io/poll: pollable
  type instant = u64
  type duration = u64
  now() -> instant
  resolution() -> duration
  subscribe-instant(when: instant) -> pollable
  subscribe-duration(when: duration) -> pollable
clocks/wall-clock
  record datetime = seconds: u64, nanoseconds: u32
  now() -> datetime
  resolution() -> datetime
clocks/timezone @0.2.1
  use clocks/wall-clock: datetime
  display(when: datetime) -> timezone-display
  utc-offset(when: datetime) -> s32
  record timezone-display = utc-offset: s32, name: string, in-daylight-saving-time: bool
filesystem/types
  use io/streams: input-stream, output-stream, error
  use clocks/wall-clock: datetime
  type filesize = u64
  enum descriptor-type = unknown, block-device, character-device, directory, fifo, symbolic-link, regular-file,
      socket
  flags descriptor-flags = read, write, file-integrity-sync, data-integrity-sync, requested-write-sync,
      mutate-directory
  record descriptor-stat = type: descriptor-type, link-count: link-count, size: filesize, data-access-timestamp:
      option<datetime>, data-modification-timestamp: option<datetime>, status-change-timestamp: option<datetime>
  flags path-flags = symlink-follow
  flags open-flags = create, directory, exclusive, truncate
  type link-count = u64
  variant new-timestamp = no-change, now, timestamp(datetime)
  record directory-entry = type: descriptor-type, name: string
  enum error-code = access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large,
      illegal-byte-sequence, in-progress, interrupted, invalid, io, is-directory, loop, too-many-links,
      message-size, name-too-long, no-device, no-entry, no-lock, insufficient-memory, insufficient-space,
      not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device, overflow, not-permitted, pipe,
      read-only, invalid-seek, text-file-busy, cross-device
  enum advice = normal, sequential, random, will-need, dont-need, no-reuse
  record metadata-hash-value = lower: u64, upper: u64
  resource descriptor
  descriptor.read-via-stream(offset: filesize) -> result<input-stream, error-code>
  descriptor.write-via-stream(offset: filesize) -> result<output-stream, error-code>
  descriptor.append-via-stream() -> result<output-stream, error-code>
  descriptor.advise(offset: filesize, length: filesize, advice: advice) -> result<_, error-code>
  descriptor.sync-data() -> result<_, error-code>
  descriptor.get-flags() -> result<descriptor-flags, error-code>
  descriptor.get-type() -> result<descriptor-type, error-code>
  descriptor.set-size(size: filesize) -> result<_, error-code>
  descriptor.set-times(data-access-timestamp: new-timestamp, data-modification-timestamp: new-timestamp) ->
      result<_, error-code>
  descriptor.read(length: filesize, offset: filesize) -> result<tuple<list<u8>, bool>, error-code>
  descriptor.write(buffer: list<u8>, offset: filesize) -> result<filesize, error-code>
  descriptor.read-directory() -> result<directory-entry-stream, error-code>
  descriptor.sync() -> result<_, error-code>
  descriptor.create-directory-at(path: string) -> result<_, error-code>
  descriptor.stat() -> result<descriptor-stat, error-code>
  descriptor.stat-at(path-flags: path-flags, path: string) -> result<descriptor-stat, error-code>
  descriptor.set-times-at(path-flags: path-flags, path: string, data-access-timestamp: new-timestamp,
      data-modification-timestamp: new-timestamp) -> result<_, error-code>
  descriptor.link-at(old-path-flags: path-flags, old-path: string, new-descriptor: borrow<descriptor>, new-path:
      string) -> result<_, error-code>
  descriptor.open-at(path-flags: path-flags, path: string, open-flags: open-flags, flags: descriptor-flags) ->
      result<descriptor, error-code>
  descriptor.readlink-at(path: string) -> result<string, error-code>
  descriptor.remove-directory-at(path: string) -> result<_, error-code>
  descriptor.rename-at(old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_,
      error-code>
  descriptor.symlink-at(old-path: string, new-path: string) -> result<_, error-code>
  descriptor.unlink-file-at(path: string) -> result<_, error-code>
  descriptor.is-same-object(other: borrow<descriptor>) -> bool
  descriptor.metadata-hash() -> result<metadata-hash-value, error-code>
  descriptor.metadata-hash-at(path-flags: path-flags, path: string) -> result<metadata-hash-value, error-code>
  resource directory-entry-stream
  directory-entry-stream.read-directory-entry() -> result<option<directory-entry>, error-code>
  filesystem-error-code(err: borrow<error>) -> option<error-code>
filesystem/preopens
  use filesystem/types: descriptor
  get-directories() -> list<tuple<descriptor, string>>
http/types
  use clocks/monotonic-clock: duration
  use io/streams: input-stream, output-stream
  use io/error: error as io-error
  use io/poll: pollable
  variant method = get, head, post, put, delete, connect, options, trace, patch, other(string)
  variant scheme = HTTP, HTTPS, other(string)
  variant error-code = DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable,
      destination-IP-prohibited, destination-IP-unroutable, connection-refused, connection-terminated,
      connection-timeout, connection-read-timeout, connection-write-timeout, connection-limit-reached,
      TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload),
      HTTP-request-denied, HTTP-request-length-required, HTTP-request-body-size(option<u64>),
      HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long,
      HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<field-size-payload>),
      HTTP-request-trailer-section-size(option<u32>), HTTP-request-trailer-size(field-size-payload),
      HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>),
      HTTP-response-header-size(field-size-payload), HTTP-response-body-size(option<u64>),
      HTTP-response-trailer-section-size(option<u32>), HTTP-response-trailer-size(field-size-payload),
      HTTP-response-transfer-coding(option<string>), HTTP-response-content-coding(option<string>),
      HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error, loop-detected, configuration-error,
      internal-error(option<string>)
  record DNS-error-payload = rcode: option<string>, info-code: option<u16>
  record TLS-alert-received-payload = alert-id: option<u8>, alert-message: option<string>
  record field-size-payload = field-name: option<string>, field-size: option<u32>
  http-error-code(err: borrow<io-error>) -> option<error-code>
  variant header-error = invalid-syntax, forbidden, immutable
  type field-name = field-key
  type field-key = string
  type field-value = list<u8>
  resource fields
  constructor fields()
  static fields.from-list(entries: list<tuple<field-name, field-value>>) -> result<fields, header-error>
  fields.get(name: field-name) -> list<field-value>
  fields.has(name: field-name) -> bool
  fields.set(name: field-name, value: list<field-value>) -> result<_, header-error>
  fields.delete(name: field-name) -> result<_, header-error>
  fields.append(name: field-name, value: field-value) -> result<_, header-error>
  fields.entries() -> list<tuple<field-name, field-value>>
  fields.clone() -> fields
  type headers = fields
  type trailers = fields
  resource incoming-request
  incoming-request.method() -> method
  incoming-request.path-with-query() -> option<string>
  incoming-request.scheme() -> option<scheme>
  incoming-request.authority() -> option<string>
  incoming-request.headers() -> headers
  incoming-request.consume() -> result<incoming-body>
  resource outgoing-request
  constructor outgoing-request(headers: headers)
  outgoing-request.body() -> result<outgoing-body>
  outgoing-request.method() -> method
  outgoing-request.set-method(method: method) -> result
  outgoing-request.path-with-query() -> option<string>
  outgoing-request.set-path-with-query(path-with-query: option<string>) -> result
  outgoing-request.scheme() -> option<scheme>
  outgoing-request.set-scheme(scheme: option<scheme>) -> result
  outgoing-request.authority() -> option<string>
  outgoing-request.set-authority(authority: option<string>) -> result
  outgoing-request.headers() -> headers
  resource request-options
  constructor request-options()
  request-options.connect-timeout() -> option<duration>
  request-options.set-connect-timeout(duration: option<duration>) -> result
  request-options.first-byte-timeout() -> option<duration>
  request-options.set-first-byte-timeout(duration: option<duration>) -> result
  request-options.between-bytes-timeout() -> option<duration>
  request-options.set-between-bytes-timeout(duration: option<duration>) -> result
  resource response-outparam
  response-outparam.send-informational(status: u16, headers: headers) -> result<_, error-code> @0.2.4
  static response-outparam.set(param: response-outparam, response: result<outgoing-response, error-code>)
  type status-code = u16
  resource incoming-response
  incoming-response.status() -> status-code
  incoming-response.headers() -> headers
  incoming-response.consume() -> result<incoming-body>
  resource incoming-body
  incoming-body.stream() -> result<input-stream>
  static incoming-body.finish(this: incoming-body) -> future-trailers
  resource future-trailers
  future-trailers.subscribe() -> pollable
  future-trailers.get() -> option<result<result<option<trailers>, error-code>>>
  resource outgoing-response
  constructor outgoing-response(headers: headers)
  outgoing-response.status-code() -> status-code
  outgoing-response.set-status-code(status-code: status-code) -> result
  outgoing-response.headers() -> headers
  outgoing-response.body() -> result<outgoing-body>
  resource outgoing-body
  outgoing-body.write() -> result<output-stream>
  static outgoing-body.finish(this: outgoing-body, trailers: option<trailers>) -> result<_, error-code>
  resource future-incoming-response
  future-incoming-response.subscribe() -> pollable
  future-incoming-response.get() -> option<result<result<incoming-response, error-code>>>
http/outgoing-handler
  use http/types: outgoing-request, request-options, future-incoming-response, error-code
  handle(request: outgoing-request, options: option<request-options>) -> result<future-incoming-response,
      error-code>
random/insecure
  get-insecure-random-bytes(len: u64) -> list<u8>
  get-insecure-random-u64() -> u64
random/insecure-seed
  insecure-seed() -> tuple<u64, u64>
random/random
  get-random-bytes(len: u64) -> list<u8>
  get-random-u64() -> u64
sockets/network
  use io/error: error @0.2.2
  resource network
  enum error-code = unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
      concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit, address-not-bindable,
      address-in-use, remote-unreachable, connection-refused, connection-reset, connection-aborted,
      datagram-too-large, name-unresolvable, temporary-resolver-failure, permanent-resolver-failure
  network-error-code(err: borrow<error>) -> option<error-code> @0.2.2
  enum ip-address-family = ipv4, ipv6
  type ipv4-address = tuple<u8, u8, u8, u8>
  type ipv6-address = tuple<u16, u16, u16, u16, u16, u16, u16, u16>
  variant ip-address = ipv4(ipv4-address), ipv6(ipv6-address)
  record ipv4-socket-address = port: u16, address: ipv4-address
  record ipv6-socket-address = port: u16, flow-info: u32, address: ipv6-address, scope-id: u32
  variant ip-socket-address = ipv4(ipv4-socket-address), ipv6(ipv6-socket-address)
sockets/instance-network
  use sockets/network: network
  instance-network() -> network
sockets/ip-name-lookup
  use io/poll: pollable
  use sockets/network: network, error-code, ip-address
  resolve-addresses(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>
  resource resolve-address-stream
  resolve-address-stream.resolve-next-address() -> result<option<ip-address>, error-code>
  resolve-address-stream.subscribe() -> pollable
sockets/tcp
  use io/streams: input-stream, output-stream
  use io/poll: pollable
  use clocks/monotonic-clock: duration
  use sockets/network: network, error-code, ip-socket-address, ip-address-family
  enum shutdown-type = receive, send, both
  resource tcp-socket
  tcp-socket.start-bind(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>
  tcp-socket.finish-bind() -> result<_, error-code>
  tcp-socket.start-connect(network: borrow<network>, remote-address: ip-socket-address) -> result<_, error-code>
  tcp-socket.finish-connect() -> result<tuple<input-stream, output-stream>, error-code>
  tcp-socket.start-listen() -> result<_, error-code>
  tcp-socket.finish-listen() -> result<_, error-code>
  tcp-socket.accept() -> result<tuple<tcp-socket, input-stream, output-stream>, error-code>
  tcp-socket.local-address() -> result<ip-socket-address, error-code>
  tcp-socket.remote-address() -> result<ip-socket-address, error-code>
  tcp-socket.is-listening() -> bool
  tcp-socket.address-family() -> ip-address-family
  tcp-socket.set-listen-backlog-size(value: u64) -> result<_, error-code>
  tcp-socket.keep-alive-enabled() -> result<bool, error-code>
  tcp-socket.set-keep-alive-enabled(value: bool) -> result<_, error-code>
  tcp-socket.keep-alive-idle-time() -> result<duration, error-code>
  tcp-socket.set-keep-alive-idle-time(value: duration) -> result<_, error-code>
  tcp-socket.keep-alive-interval() -> result<duration, error-code>
  tcp-socket.set-keep-alive-interval(value: duration) -> result<_, error-code>
  tcp-socket.keep-alive-count() -> result<u32, error-code>
  tcp-socket.set-keep-alive-count(value: u32) -> result<_, error-code>
  tcp-socket.hop-limit() -> result<u8, error-code>
  tcp-socket.set-hop-limit(value: u8) -> result<_, error-code>
  tcp-socket.receive-buffer-size() -> result<u64, error-code>
  tcp-socket.set-receive-buffer-size(value: u64) -> result<_, error-code>
  tcp-socket.send-buffer-size() -> result<u64, error-code>
  tcp-socket.set-send-buffer-size(value: u64) -> result<_, error-code>
  tcp-socket.subscribe() -> pollable
  tcp-socket.shutdown(shutdown-type: shutdown-type) -> result<_, error-code>
sockets/tcp-create-socket
  use sockets/network: network, error-code, ip-address-family
  use sockets/tcp: tcp-socket
  create-tcp-socket(address-family: ip-address-family) -> result<tcp-socket, error-code>
sockets/udp
  use io/poll: pollable
  use sockets/network: network, error-code, ip-socket-address, ip-address-family
  record incoming-datagram = data: list<u8>, remote-address: ip-socket-address
  record outgoing-datagram = data: list<u8>, remote-address: option<ip-socket-address>
  resource udp-socket
  udp-socket.start-bind(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>
  udp-socket.finish-bind() -> result<_, error-code>
  udp-socket.stream(remote-address: option<ip-socket-address>) -> result<tuple<incoming-datagram-stream,
      outgoing-datagram-stream>, error-code>
  udp-socket.local-address() -> result<ip-socket-address, error-code>
  udp-socket.remote-address() -> result<ip-socket-address, error-code>
  udp-socket.address-family() -> ip-address-family
  udp-socket.unicast-hop-limit() -> result<u8, error-code>
  udp-socket.set-unicast-hop-limit(value: u8) -> result<_, error-code>
  udp-socket.receive-buffer-size() -> result<u64, error-code>
  udp-socket.set-receive-buffer-size(value: u64) -> result<_, error-code>
  udp-socket.send-buffer-size() -> result<u64, error-code>
  udp-socket.set-send-buffer-size(value: u64) -> result<_, error-code>
  udp-socket.subscribe() -> pollable
  resource incoming-datagram-stream
  incoming-datagram-stream.receive(max-results: u64) -> result<list<incoming-datagram>, error-code>
  incoming-datagram-stream.subscribe() -> pollable
  resource outgoing-datagram-stream
  outgoing-datagram-stream.check-send() -> result<u64, error-code>
  outgoing-datagram-stream.send(datagrams: list<outgoing-datagram>) -> result<u64, error-code>
  outgoing-datagram-stream.subscribe() -> pollable
sockets/udp-create-socket
  use sockets/network: network, error-code, ip-address-family
  use sockets/udp: udp-socket
  create-udp-socket(address-family: ip-address-family) -> result<udp-socket, error-code>
"""
