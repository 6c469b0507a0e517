const element = (id) => document.getElementById(id);

async function sum() {
  const numbers = element("numbers").value.split(",").map(Number);
  const answer = await fetch("sum", { method: "POST", body: JSON.stringify(numbers) });
  const result = await answer.json();
  element("sum").value = answer.ok ? result.sum : result.error;
}

// Sends a file, and counts the pieces in which it comes back.
async function echo(file) {
  const answer = await fetch("echo", { method: "POST", body: file });
  let bytes = 0;
  let pieces = 0;
  await read(answer, (piece) => {
    bytes += piece.length;
    pieces += 1;
  });
  element("echo").value = `${bytes} bytes came back in ${pieces} piece${pieces === 1 ? "" : "s"}`;
}

// Shows the last line of what goes on until the button is pressed.
async function ticks() {
  const stop = new AbortController();
  element("stop").onclick = () => stop.abort();
  const answer = await fetch("ticks", { signal: stop.signal });
  const text = new TextDecoder();
  try {
    await read(answer, (piece) => (element("ticks").value = text.decode(piece).trim().split("\n").at(-1)));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    element("ticks").value += ", then it was stopped";
  }
}

async function read(answer, take) {
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(value);
  }
}

element("numbers").onchange = sum;
element("file").onchange = () => echo(element("file").files[0]);
sum();
echo(new Blob([new Uint8Array(200_000)]));
ticks();
