// The binary answer: a JSON header and arrays; see serve/encoding.py.

export function decoded(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length;
  const arrays = new Map();
  for (const one of header.arrays) {
    const count = one.shape.reduce((product, size) => product * size, 1);
    const values = one.type === "float32"
      ? new Float32Array(buffer, start + one.offset, count)
      : fromHalf(new Uint16Array(buffer, start + one.offset, count));
    arrays.set(one.name, {...one, values});
  }
  return {...header, arrays};
}

let table = null; // 65,536 float16 numbers as float32

function fromHalf(halves) {
  table ??= halfTable();
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = table[halves[i]];
  return values;
}

function halfTable() {
  const all = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) all[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) all[bits] = fraction ? NaN : sign * Infinity;
    else all[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return all;
}
