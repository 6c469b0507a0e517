// An HTTP service of WASI 0.3 in JavaScript. See ../README.md for what it answers.
import types from "wasi:http/types@0.3.0";
import clock from "wasi:clocks/monotonic-clock@0.3.0";

const { Fields, Request, Response } = types;
const MILLISECOND = 1e6; // nanoseconds

export const handler = {
  async handle(request) {
    const path = request.getPathWithQuery();
    if (path.startsWith("/sleep/")) {
      const milliseconds = Number(path.slice("/sleep/".length));
      await clock.waitFor(milliseconds * MILLISECOND);
      return respond([text(`slept ${milliseconds} ms\n`)]);
    }
    if (path.startsWith("/meet/")) {
      await meet(Number(path.slice("/meet/".length)));
      return respond([text("met\n")]);
    }
    const handled = wit.Future(wit.Future.RESULT_VOID_ERROR_CODE);
    const [body, trailers] = Request.consumeBody(request, handled.readable);
    trailers.drop();
    give(handled.writable, { tag: "ok" });
    return respond(upper(body));
  },
};

let arrived = 0;

// Returns once so many requests are here. A task can't wait for another, so it looks again and again.
async function meet(count) {
  arrived++;
  while (arrived < count) {
    await clock.waitFor(MILLISECOND);
  }
}

async function* upper(body) {
  for await (const chunk of body) {
    yield chunk.map((c) => (c >= 97 && c <= 122 ? c - 32 : c));
  }
}

function respond(body) {
  const headers = Fields.fromList([["content-type", text("text/plain")]]);
  const trailers = wit.Future(wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
  const [response, sent] = Response.new(headers, body, trailers.readable);
  sent.drop();
  give(trailers.writable, { tag: "ok", val: null });
  response.setStatusCode(201);
  return response;
}

// What is not dropped stays until it is collected, if ever.
async function give(future, value) {
  await future.write(value);
  future.drop();
}

function text(ascii) {
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}
