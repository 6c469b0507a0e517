// A command of WASI 0.3 in JavaScript. Prints its arguments, sleeps three times at once, then copies standard input to
// standard output in upper case.
import clock from "wasi:clocks/monotonic-clock@0.3.0";
import environment from "wasi:cli/environment@0.3.0";
import stdin from "wasi:cli/stdin@0.3.0";
import stdout from "wasi:cli/stdout@0.3.0";

const MILLISECOND = 1e6; // nanoseconds

export const run = {
  async run() {
    const { readable, writable } = wit.Stream(wit.Stream.U8);
    const written = stdout.writeViaStream(readable);
    await writable.writeAll(text(environment.getArguments().join(" ") + "\n"));
    await Promise.all(
      [30, 20, 10].map(async (milliseconds) => {
        await clock.waitFor(milliseconds * MILLISECOND);
        await writable.writeAll(text(`slept ${milliseconds} ms\n`));
      }),
    );
    const [input, ended] = stdin.readViaStream();
    ended.drop();
    for await (const chunk of input) {
      await writable.writeAll(chunk.map((c) => (c >= 97 && c <= 122 ? c - 32 : c)));
    }
    writable.drop();
    const outcome = await written.read();
    if (outcome.tag === "err") {
      throw undefined;
    }
  },
};

function text(ascii) {
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}
