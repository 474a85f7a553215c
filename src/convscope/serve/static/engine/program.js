// Carries out a program (serve/portable/program.py) on one input, with typed arrays.
import {convolved, transposed, dense, product} from "./sums.js";
import {normed, standardized, softmaxed} from "./norms.js";
import {unary, binary, chosen} from "./elementwise.js";
import {gathered, weighted, pooled, reduced, joined} from "./moving.js";

const OPERATIONS = {
  conv: convolved, convt: transposed, dense, matmul: product, norm: normed,
  standard: standardized, softmax: softmaxed, unary, binary, where: chosen, gather: gathered,
  axes: weighted, maxpool: pooled, reduce: reduced, cat: joined,
  same: (one, [x]) => x.values,
};

export class Program {
  // operations, constants ({shape, type, offset}), and the buffer in which those lie
  constructor({operations, constants, cards, output, input}, buffer) {
    this.operations = operations;
    this.cards = cards;
    this.output = output;
    this.input = input;
    this.constants = constants.map(one => ({shape: one.shape, values: numbers(one, buffer)}));
  }

  // Every value for an input; `from` skips what came before an operation that changed.
  run(x, off = new Map()) {
    const values = [{shape: this.input, values: x}];
    this.silence(values[0], off.get(0));
    for (const one of this.operations) {
      const taken = one.in.map(at => at >= 0 ? values[at] : this.constants[-1 - at]);
      const made = {shape: one.shape, values: OPERATIONS[one.op](one, taken, this.constants)};
      const silent = off.get(values.length);
      if (silent) {
        made.values = made.values.slice();
        this.silence(made, silent);
      }
      values.push(made);
    }
    return values;
  }

  silence({shape, values}, channels) {
    const size = values.length / shape[1];
    for (const channel of channels ?? []) values.fill(0, channel * size, (channel + 1) * size);
  }
}

function numbers({shape, type, offset}, buffer) {
  const count = shape.reduce((product, size) => product * size, 1);
  if (type === "float32") return new Float32Array(buffer, offset, count);
  return Float32Array.from(new Uint16Array(buffer, offset, count), fromHalf);
}

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
