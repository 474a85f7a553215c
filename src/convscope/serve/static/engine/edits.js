// Kernels changed, channels switched off, and undone: serve/edits.py over again.
import {PageError} from "../page_error.js";
import {shown} from "./words.js";

const MOST = 500; // changes at once

export class Edits {
  // A program; its cards; for each card its weight and bias among the constants; filters
  // by name: {shape, values}.
  constructor(program, cards, parameters, filters) {
    this.program = program;
    this.cards = cards;
    this.parameters = parameters;
    this.filters = filters;
    this.original = program.constants;
    this.changes = [];
  }

  add(change) {
    const kept = this.changes.filter(one => !replaced(one, change));
    if (change.kind !== "channel" || change.off) kept.push(change);
    return this.apply(kept);
  }

  restore(index) {
    if (index === null) return this.apply([]);
    if (!(index >= 0 && index < this.changes.length)) {
      throw new PageError(`play: there is no change ${index} to restore.`);
    }
    return this.apply(this.changes.filter((_, at) => at !== index));
  }

  apply(changes) {
    if (changes.length > MOST) {
      throw new PageError(`play: more than ${MOST} changes. Restore some first.`);
    }
    const constants = [...this.original];
    const own = at => {
      if (constants[at] === this.original[at]) {
        constants[at] = {shape: constants[at].shape, values: constants[at].values.slice()};
      }
      return constants[at];
    };
    for (const change of changes) this.change(change, own);
    this.changes = changes;
    this.program.constants = constants;
    return {edits: changes.map(one => ({text: this.textOf(one), card: one.card, channel: one.channel}))};
  }

  // The kernels of a channel, (inputs, *taps), and its bias.
  kernels(card, channel) {
    const {weight, bias} = this.placesOf(card, channel);
    const {shape, values} = this.program.constants[weight];
    const size = values.length / shape[0];
    return {
      weight: {shape: shape.slice(1), values: values.slice(channel * size, (channel + 1) * size)},
      bias: bias === null ? null
        : {shape: [1], values: this.program.constants[bias].values.slice(channel, channel + 1)},
    };
  }

  placesOf(card, channel) {
    const {label, kind, has_filters: has, shape: [channels]} = this.cards[card];
    if (!has) throw new PageError(`play: ${label || kind} has no kernels to show.`);
    if (!(channel >= 0 && channel < channels)) {
      throw new PageError(`play: ${label} has ${channels} channels; there is no ${channel}.`);
    }
    const [weight, bias] = this.parameters[card];
    return {weight, bias, label};
  }

  change(change, own) {
    const {kind, card, channel} = change;
    const {weight, bias, label} = this.placesOf(card, channel);
    const {shape: [, inputs, ...taps], values} = own(weight);
    const size = taps.reduce((all, one) => all * one, 1);
    const start = channel * inputs * size;
    if (kind === "channel") {
      values.fill(0, start, start + inputs * size);
      if (bias !== null) own(bias).values[channel] = 0;
    } else if (kind === "bias") {
      if (bias === null) throw new PageError(`play: ${label} has no bias to change.`);
      own(bias).values[channel] = change.value;
    } else {
      if (!(change.input < inputs)) {
        throw new PageError(`play: ${label} takes ${inputs} channels; there is no ${change.input}.`);
      }
      const kernel = values.subarray(start + change.input * size, start + (change.input + 1) * size);
      if (kind === "tap") kernel[placeOf(change.at, taps, label)] = change.value;
      else kernel.set(this.fitted(change.name, taps));
    }
  }

  // A named filter in the middle of a kernel, zeros around it.
  fitted(name, taps) {
    const {shape, values} = this.filters[name];
    if (shape.some((size, axis) => size > taps[axis])) {
      throw new PageError(`play: ${name} is (${shape.join(", ")}), the kernel (${taps.join(", ")}). ` +
        "Choose a smaller filter.");
    }
    const made = new Float32Array(taps[0] * taps[1]);
    const [top, left] = shape.map((size, axis) => Math.floor((taps[axis] - size) / 2));
    for (let row = 0; row < shape[0]; row++) {
      for (let column = 0; column < shape[1]; column++) {
        made[(top + row) * taps[1] + left + column] = values[row * shape[1] + column];
      }
    }
    return made;
  }

  textOf({kind, card, channel, input, at, value, name}) {
    const where = `${this.cards[card].label}, channel ${channel}`;
    if (kind === "tap") return `${where}: kernel on input ${input} at (${at.join(", ")}) = ${shown(value)}`;
    if (kind === "bias") return `${where}: bias = ${shown(value)}`;
    return kind === "filter" ? `${where}: kernel on input ${input} is ${name}` : `${where}: switched off`;
  }
}

function placeOf(at, taps, label) {
  const own = at.slice(-taps.length);
  if (own.length !== taps.length || own.some((place, axis) => !(place >= 0 && place < taps[axis]))) {
    throw new PageError(`play: kernels of ${label} are (${taps.join(", ")}); there is no tap at ` +
      `(${at.join(", ")}).`);
  }
  return own.reduce((sum, place, axis) => sum * taps[axis] + place, 0);
}

// Whether a change takes the place of an earlier one.
function replaced(old, change) {
  return ["kind", "card", "channel", "input"].every(name => old[name] === change[name]) &&
    String(old.at) === String(change.at);
}
