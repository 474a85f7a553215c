// A window times a kernel, added up, as analysis/explaining/window_sum.py has it.
import {shown, added, total, axisText} from "./words.js";

const TAPS = 49; // of one channel that are written out
const CHANNELS = 16; // that have a line of their own

// patch, kernel, inside: of each channel a list of taps.
export function windowSum({what, patch, kernel, inside, window, channels, bias, scale, scaleText, unit}) {
  const products = patch.map((taps, c) => taps.map((value, k) => value * kernel[c][k]));
  const sums = products.map(total);
  const whole = total(sums);
  const value = whole * scale + (bias ?? 0);
  const size = total(products.flat().map(Math.abs)) * Math.abs(scale);
  const terms = kernel.flat().filter(one => one !== 0).length + 4;
  const sizes = window.map(axis => axis.length);
  const shaped = rows => window.length ? rows.map(row => nested(row, sizes)) : rows.flat();
  return {
    value,
    tolerance: terms * unit * (size + Math.abs(bias ?? 0)),
    follows: null,
    lines: linesOf({what, patch, kernel, inside, window, channels, bias, scale, scaleText, products, sums,
      whole, value}),
    record: {
      operation: what, window, channels, patch: shaped(patch), kernel: shaped(kernel),
      inside: shaped(inside), products: shaped(products), sums, scale, bias,
    },
  };
}

function nested(row, sizes) {
  if (sizes.length <= 1) return row;
  const step = row.length / sizes[0];
  return Array.from({length: sizes[0]}, (_, i) =>
    nested(row.slice(i * step, (i + 1) * step), sizes.slice(1)));
}

function linesOf(one) {
  const {what, patch, inside, window, channels, bias, scale, scaleText, sums, whole, value} = one;
  const lines = [what + (window.length ? `: window ${window.map(axisText).join(" x ")}` : "")];
  if (window.length && inside.some(row => row.includes(false))) lines.push("[ ] is padding");
  const single = patch[0].length === 1;
  const many = sums.length > CHANNELS && !single;
  const all = sums.map((_, at) => at);
  const chosen = many ? largest(sums, CHANNELS / 2).sort((a, b) => a - b) : all;
  if (single && sums.length > 1) { // as in a linear layer
    const flat = rows => [rows.flat()];
    const row = {patch: flat(patch), kernel: flat(one.kernel), inside: flat(inside),
      products: flat(one.products)};
    lines.push(`${productsOf(row, 0)} = ${shown(whole)}`);
  } else {
    for (const at of chosen) {
      lines.push(`channel ${channels[at]}: ${productsOf(one, at)} = ${shown(sums[at])}`);
    }
    const rest = all.filter(at => !chosen.includes(at)).map(at => sums[at]);
    if (many) lines.push(`the other ${rest.length} channels: ${shown(total(rest))}`);
    if (sums.length > 1) {
      const few = [...chosen.map(at => sums[at]), ...(many ? [total(rest)] : [])];
      lines.push(`sum of channels: ${added(few, CHANNELS + 1)} = ${shown(whole)}`);
    }
  }
  let now = whole;
  if (scale !== 1 || scaleText) {
    lines.push(`${scaleText}: ${shown(now)} x ${shown(scale)} = ${shown(now * scale)}`);
    now *= scale;
  }
  if (bias !== null) lines.push(`bias: ${added([now, bias])} = ${shown(value)}`);
  return lines;
}

function largest(values, count) {
  return values.map((value, at) => [Math.abs(value), at])
    .sort(([one], [other]) => other - one).slice(0, count).map(([, at]) => at);
}

function productsOf({patch, kernel, inside, products}, at) {
  const count = patch[at].length;
  const order = count > TAPS ? largest(products[at], Math.floor(TAPS / 4)).sort((a, b) => a - b)
    : patch[at].map((_, tap) => tap);
  const parts = order.map(tap => {
    const value = shown(patch[at][tap]);
    return `${inside[at][tap] ? value : `[${value}]`}*${shown(kernel[at][tap])}`;
  });
  if (count > TAPS) {
    const left = total(products[at]) - total(order.map(tap => products[at][tap]));
    parts.push(`(${count - parts.length} smaller: ${shown(left)})`);
  }
  return parts.join(" + ");
}
