// What serve/portable/packing.py put into the file: deflated JSON and numbers.
import {PageError} from "../page_error.js";

export async function factsOf(text) {
  return JSON.parse(new TextDecoder().decode(await unpacked(text)));
}

// One Float32Array for all arrays, from bytes that lie together by their place in a number.
export async function numbersOf(text, type) {
  const bytes = new Uint8Array(await unpacked(text));
  const width = type === "float16" ? 2 : 4;
  const count = bytes.length / width;
  const together = new Uint8Array(bytes.length);
  for (let place = 0; place < width; place++) {
    for (let i = 0; i < count; i++) together[i * width + place] = bytes[place * count + i];
  }
  return width === 4 ? new Float32Array(together.buffer)
    : Float32Array.from(new Uint16Array(together.buffer), fromHalf);
}

async function unpacked(text) {
  if (!globalThis.DecompressionStream) {
    throw new PageError("This browser is too old for this page. Use one of 2023 or later.");
  }
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
