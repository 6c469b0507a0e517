// An HTTP service of WASI 0.2 in JavaScript. `/lengths` sends a request to each address in the headers `address`, to all
// at once, and answers with the lengths of their bodies, a line for each in the order in which they end. Any other path
// answers with the body, in upper case.
addEventListener("fetch", (event) => event.respondWith(serve(event.request)));

async function serve(request) {
  const { pathname } = new URL(request.url);
  const headers = { "content-type": "text/plain" };
  if (pathname !== "/lengths") {
    return new Response((await request.text()).toUpperCase(), { status: 201, headers });
  }
  const addresses = request.headers.get("address").split(", ");
  const lines = [];
  await Promise.all(
    addresses.map(async (address) => {
      const response = await fetch(`http://${address}/`);
      lines.push(`${address}: ${(await response.arrayBuffer()).byteLength}\n`);
    }),
  );
  return new Response(lines.join(""), { status: 201, headers });
}
