// How one number was made, rule by rule: the files of analysis/explaining over again.
// Each gives {value, tolerance, follows, lines, record}.
import {flatOf, indexOf} from "./indices.js";
import {COPYING, FORMULAS} from "./formulas.js";
import {PAIRS} from "./elementwise.js";
import {windowSum} from "./window_sum.js";
import {added, placeText, shown, total} from "./words.js";

const UNIT = 2 ** -23; // of float32

const constant = (explainer, at) => at == null ? null : explainer.program.constants[at].values;

// Taps of one window, one after the other: the place in a map under each, null on padding.
function placesOf(rows, space) {
  let places = [0];
  rows.forEach((row, axis) => {
    places = places.flatMap(before => row.map(one =>
      before === null || one === null ? null : before * space[axis] + one));
  });
  return places;
}

function under(x, channel, rows, fill) {
  const space = x.shape.slice(2);
  const size = space.reduce((all, one) => all * one, 1);
  return placesOf(rows, space).map(place => place === null ? fill : x.values[channel * size + place]);
}

function sum({recipe, index, inputs, explainer}) {
  const x = explainer.values[inputs[0]];
  const weight = recipe.w == null ? null : explainer.program.constants[recipe.w];
  const biases = constant(explainer, recipe.b);
  const common = {what: recipe.what, scale: 1, scaleText: "", unit: UNIT, window: []};
  if (recipe.form === "dense") {
    const [, length] = weight.shape;
    const row = index.at(-1);
    const start = flatOf([...index.slice(0, -1), 0], x.shape);
    const patch = Array.from({length}, (_, i) => [x.values[start + i]]);
    const kernel = patch.map((_, i) => [weight.values[row * length + i]]);
    return windowSum({...common, patch, kernel, inside: patch.map(() => [true]),
      channels: patch.map((_, i) => i), bias: biases ? biases[row] : null});
  }
  const rows = recipe.windows.map((axis, i) => axis[index[i + 2]]);
  const inside = placesOf(rows, x.shape.slice(2)).map(place => place !== null);
  const [channel] = index.slice(1);
  if (recipe.form === "pool") {
    const middle = recipe.shares.map((axis, i) => axis[recipe.middle[i]]);
    const share = recipe.shares.reduce((all, axis, i) => all * axis[index[i + 2]], 1) /
      (middle[0] ?? 1) ** (middle.length - 1);
    const what = recipe.divided ? `${recipe.what}, each 1/${Math.round(1 / share)}` : recipe.what;
    return windowSum({...common, what, window: rows, patch: [under(x, channel, rows, 0)],
      kernel: [inside.map(() => share)], inside: [inside], channels: [channel],
      bias: recipe.biases[channel], scale: recipe.scales[channel], scaleText: recipe.scale_text});
  }
  const taps = weight.shape.slice(2).reduce((all, one) => all * one, 1);
  const turned = recipe.form === "convt";
  const outputs = turned ? weight.shape[1] : weight.shape[0] / recipe.groups;
  const group = Math.floor(channel / outputs);
  const each = turned ? weight.shape[0] / recipe.groups : weight.shape[1];
  const channels = Array.from({length: each}, (_, i) => group * each + i);
  const kernel = channels.map((input, i) => {
    const start = turned ? (input * outputs + channel % outputs) * taps : (channel * each + i) * taps;
    const own = Array.from(weight.values.subarray(start, start + taps));
    return turned ? own.map((value, tap) => inside[tap] ? value : 0) : own;
  });
  return windowSum({...common, what: recipe.what.replace("group #", `group ${group}`), window: rows,
    patch: channels.map(one => under(x, one, rows, recipe.fill)), kernel,
    inside: channels.map(() => inside), channels, bias: biases ? biases[channel] : null});
}

function winner({recipe, index, inputs, explainer}) {
  const x = explainer.values[inputs[0]];
  const rows = recipe.windows.map((axis, i) => axis[index[i + 2]]);
  const space = x.shape.slice(2);
  const places = placesOf(rows, space);
  const patch = under(x, index[1], rows, -Infinity);
  const value = patch.some(one => one !== one) ? NaN : Math.max(...patch);
  const fits = tap => places[tap] !== null && Object.is(patch[tap] + 0, value + 0);
  const at = patch.findIndex((_, tap) => fits(tap));
  const ties = value !== value ? 0 : patch.filter((_, tap) => fits(tap)).length;
  const place = indexOf(places[at], space);
  const numbers = patch.map(one => Number.isFinite(one) ? shown(one) : "[ ]");
  const few = numbers.length <= 25 ? numbers : [...numbers.slice(0, 24), "..."];
  const equal = ties > 1 ? `, first of ${ties} that are equal` : "";
  return {
    value, tolerance: 0, follows: {input: 0, index: [0, index[1], ...place]},
    lines: [`max pooling: largest of ${few.join(", ")}`,
      `winner at ${placeText(place)}${equal}: ${shown(value)}`],
    record: {operation: "max pooling", window: rows,
      patch: patch.map(one => Number.isFinite(one) ? one : null),
      winner: [index[1], ...place], how: "largest", ties},
  };
}

function norm({recipe, index, inputs, explainer}) {
  const {what, eps, statistics} = recipe;
  const x = explainer.numberAt(inputs[0], index);
  const [mean, variance, weight, bias] = [recipe.mean, recipe.var, recipe.w, recipe.b].map(at =>
    constant(explainer, at)?.[index[1]] ?? null);
  const deviation = Math.sqrt(variance + eps);
  const scale = (weight ?? 1) / deviation;
  const value = (x - mean) * scale + (bias ?? 0);
  const spread = Math.abs(scale) * (Math.abs(x) + Math.abs(mean) + deviation);
  const now = (x - mean) / deviation;
  const lines = [`${what}: mean ${shown(mean)}, variance ${shown(variance)} (${statistics})`,
    `(${shown(x)} - ${shown(mean)}) / sqrt(${shown(variance)} + ${shown(eps)}) = ${shown(now)}`];
  if (weight !== null || bias !== null) {
    lines.push(`scale and shift: ${shown(now)} x ${shown(weight ?? 1)} + ${shown(bias ?? 0)} = ` +
      shown(value));
  }
  return {
    value, tolerance: 8 * UNIT * (spread + Math.abs(bias ?? 0)), follows: {input: 0, index}, lines,
    record: {operation: what, x, mean, variance, eps, weight, bias, statistics, values: 0},
  };
}

function formula(what, text, value, tolerance, index, operands) {
  return {value, tolerance, follows: {input: 0, index}, lines: [`${what}: ${text} = ${shown(value)}`],
    record: {operation: what, text, operands}};
}

function one({recipe, index, inputs, explainer}) {
  const x = explainer.numberAt(inputs[0], index);
  const slopes = constant(explainer, recipe.w);
  const args = slopes ? [slopes[slopes.length > 1 ? index[1] : 0]] : recipe.args;
  const [value, text] = FORMULAS[recipe.what](x, args);
  const copied = (value === x || value === 0) && COPYING.includes(recipe.what);
  const size = Math.max(Math.abs(x), Math.abs(value));
  return formula(recipe.what, text, value, copied ? 0 : 16 * UNIT * size, index, [x]);
}

function unchanged({recipe, index, inputs, explainer}) {
  const x = explainer.numberAt(inputs[0], index);
  return formula(recipe.what, "unchanged", x, 0, index, [x]);
}

function broadcast(index, shape) {
  return index.slice(index.length - shape.length).map((at, axis) => shape[axis] === 1 ? 0 : at);
}

function two({recipe, index, explainer}) {
  const {program} = explainer;
  const operation = program.operations[recipe.at - 1];
  const [[first, place], [given]] = operation.in.map(at => {
    const {shape, values} = at >= 0 ? explainer.values[at] : program.constants[-1 - at];
    const spot = broadcast(index, shape);
    return [values[flatOf(spot, shape)], at >= 0 ? spot : null];
  });
  const second = given * (operation.alpha ?? 1);
  const value = PAIRS[operation.name](1)(first, second);
  const {sign} = recipe;
  const sums = sign === "+" || sign === "-";
  const text = sums ? added([first, sign === "+" ? second : -second])
    : `${shown(first)} ${sign} ${shown(second)}`;
  const size = sums ? Math.abs(first) + Math.abs(second) : Math.abs(value);
  return formula(recipe.what, text, value, 4 * UNIT * size, place ?? index, [first, second]);
}

function soft({recipe, index, inputs, explainer}) {
  const {axis} = explainer.program.operations[recipe.at - 1];
  const {shape} = explainer.values[inputs[0]];
  const numbers = Array.from({length: shape[axis]}, (_, i) =>
    explainer.numberAt(inputs[0], index.map((at, a) => a === axis ? i : at)));
  return softmaxOf(recipe.what, numbers, index[axis], index);
}

export function softmaxOf(what, numbers, at, index) {
  const largest = Math.max(...numbers);
  const x = numbers[at];
  const sumOf = total(numbers.map(value => Math.exp(value - largest)));
  const top = Math.exp(x - largest);
  const log = what === "log softmax";
  const value = log ? x - largest - Math.log(sumOf) : top / sumOf;
  const text = log ? `${shown(x)} - log of ${numbers.length} exponentials`
    : `exp(${shown(x)} - ${shown(largest)}) / sum of ${numbers.length} exponentials = ` +
      `${shown(top)} / ${shown(sumOf)}`;
  const reach = Math.abs(x) + Math.abs(largest) + numbers.length + 16;
  const size = Math.max(Math.abs(value), log ? Math.abs(x - largest) : 0);
  return formula(what, text, value, reach * UNIT * size, index, [x]);
}

export function quotientOf(over, under, index) {
  const value = over / under;
  return formula("quotient", `${shown(over)} / ${shown(under)}`, value, 4 * UNIT * Math.abs(value),
    index, [over, under]);
}

// Where an element of a value comes from, if it was only moved: serve/portable/sources.py.
function sourceOf({program, values}, start, first, stops) {
  let [at, element] = [start, first];
  while (!stops.includes(at)) {
    const {op, in: taken, shape, axes, base, axis} = program.operations[at - 1];
    if (op === "gather") {
      const steps = indexOf(element, shape).map((place, a) => axes[a][place]);
      if (steps.includes(null)) return null;
      element = base + total(steps);
      [at] = taken;
    } else if (op === "cat") {
      const places = indexOf(element, shape);
      at = taken.find(one => {
        const size = values[one].shape[axis];
        if (places[axis] < size) return true;
        places[axis] -= size;
        return false;
      });
      element = flatOf(places, values[at].shape);
    } else {
      [at] = taken;
    }
  }
  return {input: stops.indexOf(at), index: indexOf(element, values[at].shape)};
}

function moved({recipe, index, inputs, network, explainer}) {
  const {shape} = explainer.values[recipe.at];
  const source = sourceOf(explainer, recipe.at, flatOf(index, shape), inputs);
  const which = source && recipe.several ? `input ${source.input + 1} at ` : "";
  const text = source ? `from ${which}${placeText(source.index)}` : "a constant";
  return {value: network, tolerance: 0, follows: source,
    lines: [`${recipe.what}: ${text} = ${shown(network)}`],
    record: {operation: recipe.what, source}};
}

// A mean or a sum over axes.
function weighted({recipe, index, inputs, explainer}) {
  const {axes, shape: made} = explainer.program.operations[recipe.at - 1];
  const x = explainer.values[inputs[0]];
  const kept = made.length === x.shape.length;
  let next = 0;
  let indices = [[]];
  x.shape.forEach((size, axis) => {
    const at = kept ? index[axis] : axes.includes(axis) ? 0 : index[next++];
    const places = axes.includes(axis) ? Array.from({length: size}, (_, i) => i) : [at];
    indices = indices.flatMap(before => places.map(place => [...before, place]));
  });
  const weight = recipe.what === "mean" ? 1 / indices.length : 1;
  const numbers = indices.map(one => x.values[flatOf(one, x.shape)]);
  const products = numbers.map(number => number * weight);
  const value = total(products);
  const parts = numbers.slice(0, 16).map(number => `${shown(number)}*${shown(weight)}`);
  if (numbers.length > 16) {
    parts.push(`(${numbers.length - 16} more: ${shown(total(products.slice(16)))})`);
  }
  return {
    value, tolerance: (numbers.length + 32) * UNIT * total(products.map(Math.abs)), follows: null,
    lines: [`${recipe.what}: ${parts.join(" + ")} = ${shown(value)}`],
    record: {operation: recipe.what, indices, numbers, weights: numbers.map(() => weight), constant: 0},
  };
}

export const RULES = {sum, winner, norm, one, unchanged, two, soft, moved, weighted};
