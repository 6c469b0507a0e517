"""The interfaces of WASI 0.3.0, as far as a host provides them. `interface_text.py` tells how they are written."""

INTERFACES = """
cli/environment
  get-environment() -> list<tuple<string, string>>
  get-arguments() -> list<string>
  get-initial-cwd() -> option<string>
cli/exit
  exit(status: result)
  exit-with-code(status-code: u8)
cli/types
  enum error-code = io, illegal-byte-sequence, pipe
cli/stderr
  use cli/types: error-code
  write-via-stream(data: stream<u8>) -> future<result<_, error-code>>
cli/stdin
  use cli/types: error-code
  read-via-stream() -> tuple<stream<u8>, future<result<_, error-code>>>
cli/stdout
  use cli/types: error-code
  write-via-stream(data: stream<u8>) -> future<result<_, error-code>>
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
clocks/types
  type duration = u64
clocks/monotonic-clock
  use clocks/types: duration
  type mark = u64
  now() -> mark
  get-resolution() -> duration
  async wait-until(when: mark)
  async wait-for(how-long: duration)
clocks/system-clock
  use clocks/types: duration
  record instant = seconds: s64, nanoseconds: u32
  now() -> instant
  get-resolution() -> duration
clocks/timezone
  use clocks/system-clock: instant
  iana-id() -> option<string>
  utc-offset(when: instant) -> option<s64>
  to-debug-string() -> string
filesystem/types
  use clocks/system-clock: instant
  type filesize = u64
  variant descriptor-type = block-device, character-device, directory, fifo, symbolic-link, regular-file, socket,
      other(option<string>)
  flags descriptor-flags = read, write, file-integrity-sync, data-integrity-sync, requested-write-sync,
      mutate-directory
  record descriptor-stat = type: descriptor-type, link-count: link-count, size: filesize, data-access-timestamp:
      option<instant>, data-modification-timestamp: option<instant>, status-change-timestamp: option<instant>
  flags path-flags = symlink-follow
  flags open-flags = create, directory, exclusive, truncate
  type link-count = u64
  variant new-timestamp = no-change, now, timestamp(instant)
  record directory-entry = type: descriptor-type, name: string
  variant error-code = access, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large,
      illegal-byte-sequence, in-progress, interrupted, invalid, io, is-directory, loop, too-many-links,
      message-size, name-too-long, no-device, no-entry, no-lock, insufficient-memory, insufficient-space,
      not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device, overflow, not-permitted, pipe,
      read-only, invalid-seek, text-file-busy, cross-device, other(option<string>)
  enum advice = normal, sequential, random, will-need, dont-need, no-reuse
  record metadata-hash-value = lower: u64, upper: u64
  resource descriptor
  descriptor.read-via-stream(offset: filesize) -> tuple<stream<u8>, future<result<_, error-code>>>
  descriptor.write-via-stream(data: stream<u8>, offset: filesize) -> future<result<_, error-code>>
  descriptor.append-via-stream(data: stream<u8>) -> future<result<_, error-code>>
  async descriptor.advise(offset: filesize, length: filesize, advice: advice) -> result<_, error-code>
  async descriptor.sync-data() -> result<_, error-code>
  async descriptor.get-flags() -> result<descriptor-flags, error-code>
  async descriptor.get-type() -> result<descriptor-type, error-code>
  async descriptor.set-size(size: filesize) -> result<_, error-code>
  async descriptor.set-times(data-access-timestamp: new-timestamp, data-modification-timestamp: new-timestamp) ->
      result<_, error-code>
  descriptor.read-directory() -> tuple<stream<directory-entry>, future<result<_, error-code>>>
  async descriptor.sync() -> result<_, error-code>
  async descriptor.create-directory-at(path: string) -> result<_, error-code>
  async descriptor.stat() -> result<descriptor-stat, error-code>
  async descriptor.stat-at(path-flags: path-flags, path: string) -> result<descriptor-stat, error-code>
  async descriptor.set-times-at(path-flags: path-flags, path: string, data-access-timestamp: new-timestamp,
      data-modification-timestamp: new-timestamp) -> result<_, error-code>
  async descriptor.link-at(old-path-flags: path-flags, old-path: string, new-descriptor: borrow<descriptor>,
      new-path: string) -> result<_, error-code>
  async descriptor.open-at(path-flags: path-flags, path: string, open-flags: open-flags, flags: descriptor-flags) ->
      result<descriptor, error-code>
  async descriptor.readlink-at(path: string) -> result<string, error-code>
  async descriptor.remove-directory-at(path: string) -> result<_, error-code>
  async descriptor.rename-at(old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_,
      error-code>
  async descriptor.symlink-at(old-path: string, new-path: string) -> result<_, error-code>
  async descriptor.unlink-file-at(path: string) -> result<_, error-code>
  async descriptor.is-same-object(other: borrow<descriptor>) -> bool
  async descriptor.metadata-hash() -> result<metadata-hash-value, error-code>
  async descriptor.metadata-hash-at(path-flags: path-flags, path: string) -> result<metadata-hash-value, error-code>
filesystem/preopens
  use filesystem/types: descriptor
  get-directories() -> list<tuple<descriptor, string>>
http/types
  use clocks/types: duration
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
  variant header-error = invalid-syntax, forbidden, immutable, size-exceeded, other(option<string>)
  variant request-options-error = not-supported, immutable, other(option<string>)
  type field-name = string
  type field-value = list<u8>
  resource fields
  constructor fields()
  static fields.from-list(entries: list<tuple<field-name, field-value>>) -> result<fields, header-error>
  fields.get(name: field-name) -> list<field-value>
  fields.has(name: field-name) -> bool
  fields.set(name: field-name, value: list<field-value>) -> result<_, header-error>
  fields.delete(name: field-name) -> result<_, header-error>
  fields.get-and-delete(name: field-name) -> result<list<field-value>, header-error>
  fields.append(name: field-name, value: field-value) -> result<_, header-error>
  fields.copy-all() -> list<tuple<field-name, field-value>>
  fields.clone() -> fields
  type headers = fields
  type trailers = fields
  resource request
  static request.new(headers: headers, contents: option<stream<u8>>, trailers: future<result<option<trailers>,
      error-code>>, options: option<request-options>) -> tuple<request, future<result<_, error-code>>>
  request.get-method() -> method
  request.set-method(method: method) -> result
  request.get-path-with-query() -> option<string>
  request.set-path-with-query(path-with-query: option<string>) -> result
  request.get-scheme() -> option<scheme>
  request.set-scheme(scheme: option<scheme>) -> result
  request.get-authority() -> option<string>
  request.set-authority(authority: option<string>) -> result
  request.get-options() -> option<request-options>
  request.get-headers() -> headers
  static request.consume-body(this: request, res: future<result<_, error-code>>) -> tuple<stream<u8>,
      future<result<option<trailers>, error-code>>>
  resource request-options
  constructor request-options()
  request-options.get-connect-timeout() -> option<duration>
  request-options.set-connect-timeout(duration: option<duration>) -> result<_, request-options-error>
  request-options.get-first-byte-timeout() -> option<duration>
  request-options.set-first-byte-timeout(duration: option<duration>) -> result<_, request-options-error>
  request-options.get-between-bytes-timeout() -> option<duration>
  request-options.set-between-bytes-timeout(duration: option<duration>) -> result<_, request-options-error>
  request-options.clone() -> request-options
  type status-code = u16
  resource response
  static response.new(headers: headers, contents: option<stream<u8>>, trailers: future<result<option<trailers>,
      error-code>>) -> tuple<response, future<result<_, error-code>>>
  response.get-status-code() -> status-code
  response.set-status-code(status-code: status-code) -> result
  response.get-headers() -> headers
  static response.consume-body(this: response, res: future<result<_, error-code>>) -> tuple<stream<u8>,
      future<result<option<trailers>, error-code>>>
http/client
  use http/types: request, response, error-code
  async send(request: request) -> result<response, error-code>
random/insecure
  get-insecure-random-bytes(max-len: u64) -> list<u8>
  get-insecure-random-u64() -> u64
random/insecure-seed
  get-insecure-seed() -> tuple<u64, u64>
random/random
  get-random-bytes(max-len: u64) -> list<u8>
  get-random-u64() -> u64
sockets/types
  use clocks/types: duration
  variant error-code = access-denied, not-supported, invalid-argument, out-of-memory, timeout, invalid-state,
      address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-broken,
      connection-reset, connection-aborted, datagram-too-large, other(option<string>)
  enum ip-address-family = ipv4, ipv6
  type ipv4-address = tuple<u8, u8, u8, u8>
  type ipv6-address = tuple<u16, u16, u16, u16, u16, u16, u16, u16>
  variant ip-address = ipv4(ipv4-address), ipv6(ipv6-address)
  record ipv4-socket-address = port: u16, address: ipv4-address
  record ipv6-socket-address = port: u16, flow-info: u32, address: ipv6-address, scope-id: u32
  variant ip-socket-address = ipv4(ipv4-socket-address), ipv6(ipv6-socket-address)
  resource tcp-socket
  static tcp-socket.create(address-family: ip-address-family) -> result<tcp-socket, error-code>
  tcp-socket.bind(local-address: ip-socket-address) -> result<_, error-code>
  async tcp-socket.connect(remote-address: ip-socket-address) -> result<_, error-code>
  tcp-socket.listen() -> result<stream<tcp-socket>, error-code>
  tcp-socket.send(data: stream<u8>) -> future<result<_, error-code>>
  tcp-socket.receive() -> tuple<stream<u8>, future<result<_, error-code>>>
  tcp-socket.get-local-address() -> result<ip-socket-address, error-code>
  tcp-socket.get-remote-address() -> result<ip-socket-address, error-code>
  tcp-socket.get-is-listening() -> bool
  tcp-socket.get-address-family() -> ip-address-family
  tcp-socket.set-listen-backlog-size(value: u64) -> result<_, error-code>
  tcp-socket.get-keep-alive-enabled() -> result<bool, error-code>
  tcp-socket.set-keep-alive-enabled(value: bool) -> result<_, error-code>
  tcp-socket.get-keep-alive-idle-time() -> result<duration, error-code>
  tcp-socket.set-keep-alive-idle-time(value: duration) -> result<_, error-code>
  tcp-socket.get-keep-alive-interval() -> result<duration, error-code>
  tcp-socket.set-keep-alive-interval(value: duration) -> result<_, error-code>
  tcp-socket.get-keep-alive-count() -> result<u32, error-code>
  tcp-socket.set-keep-alive-count(value: u32) -> result<_, error-code>
  tcp-socket.get-hop-limit() -> result<u8, error-code>
  tcp-socket.set-hop-limit(value: u8) -> result<_, error-code>
  tcp-socket.get-receive-buffer-size() -> result<u64, error-code>
  tcp-socket.set-receive-buffer-size(value: u64) -> result<_, error-code>
  tcp-socket.get-send-buffer-size() -> result<u64, error-code>
  tcp-socket.set-send-buffer-size(value: u64) -> result<_, error-code>
  resource udp-socket
  static udp-socket.create(address-family: ip-address-family) -> result<udp-socket, error-code>
  udp-socket.bind(local-address: ip-socket-address) -> result<_, error-code>
  udp-socket.connect(remote-address: ip-socket-address) -> result<_, error-code>
  udp-socket.disconnect() -> result<_, error-code>
  async udp-socket.send(data: list<u8>, remote-address: option<ip-socket-address>) -> result<_, error-code>
  async udp-socket.receive() -> result<tuple<list<u8>, ip-socket-address>, error-code>
  udp-socket.get-local-address() -> result<ip-socket-address, error-code>
  udp-socket.get-remote-address() -> result<ip-socket-address, error-code>
  udp-socket.get-address-family() -> ip-address-family
  udp-socket.get-unicast-hop-limit() -> result<u8, error-code>
  udp-socket.set-unicast-hop-limit(value: u8) -> result<_, error-code>
  udp-socket.get-receive-buffer-size() -> result<u64, error-code>
  udp-socket.set-receive-buffer-size(value: u64) -> result<_, error-code>
  udp-socket.get-send-buffer-size() -> result<u64, error-code>
  udp-socket.set-send-buffer-size(value: u64) -> result<_, error-code>
sockets/ip-name-lookup
  use sockets/types: ip-address
  variant error-code = access-denied, invalid-argument, name-unresolvable, temporary-resolver-failure,
      permanent-resolver-failure, other(option<string>)
  async resolve-addresses(name: string) -> result<list<ip-address>, error-code>
"""
