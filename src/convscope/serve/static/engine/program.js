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
  // operations, constants ({shape, offset}), and all numbers of those one after the other
  constructor({operations, constants, cards, output, input}, numbers) {
    this.operations = operations;
    this.cards = cards;
    this.output = output;
    this.input = input;
    this.constants = constants.map(({shape, offset}) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return {shape, values: numbers.subarray(offset, offset + count)};
    });
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
