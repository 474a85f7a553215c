// Functions of one number, and of two arrays that are broadcast.

const sigmoid = x => x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
const clamp = (x, low, high) => low !== null && x < low ? low : high !== null && x > high ? high : x;
const softplus = (x, beta, threshold) => x * beta > threshold ? x : Math.log1p(Math.exp(x * beta)) / beta;
const elu = (x, alpha, scale, inside) => x > 0 ? x * scale : Math.expm1(x * inside) * alpha * scale;

// Series near 0, a continued fraction beyond.
export function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = size;
    let sum = size;
    for (let n = 1; n < 80 && Math.abs(term) > 1e-17 * sum; n++) {
      term *= -size * size / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
  }
  let below = 0;
  for (let n = 60; n > 0; n--) below = n / 2 / (size + below);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + below));
}

export const FUNCTIONS = {
  abs: () => Math.abs,
  celu: ([alpha = 1]) => x => x > 0 ? x : alpha * Math.expm1(x / alpha),
  clamp: ([low, high]) => x => clamp(x, low, high),
  clamp_max: ([high]) => x => clamp(x, null, high),
  clamp_min: ([low]) => x => clamp(x, low, null),
  cos: () => Math.cos,
  elu: ([alpha, scale, inside]) => x => elu(x, alpha, scale, inside),
  erf: () => erf,
  exp: () => Math.exp,
  expm1: () => Math.expm1,
  gelu: ([how]) => how === "tanh"
    ? x => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
    : x => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  hardshrink: ([by]) => x => x >= -by && x <= by ? 0 : x,
  hardsigmoid: () => x => clamp(x + 3, 0, 6) / 6,
  hardswish: () => x => x * clamp(x + 3, 0, 6) / 6,
  hardtanh: ([low, high]) => x => clamp(x, low, high),
  isinf: () => x => Math.abs(x) === Infinity ? 1 : 0,
  leaky_relu: ([slope]) => x => x > 0 ? x : x * slope,
  log: () => Math.log,
  log1p: () => Math.log1p,
  log_sigmoid_forward: () => x => Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x))),
  mish: () => x => x * Math.tanh(softplus(x, 1, 20)),
  neg: () => x => -x,
  reciprocal: () => x => 1 / x,
  relu: () => x => x > 0 || x !== x ? x : 0,
  rsqrt: () => x => 1 / Math.sqrt(x),
  sigmoid: () => sigmoid,
  sign: () => Math.sign,
  silu: () => x => x * sigmoid(x),
  sin: () => Math.sin,
  softplus: ([beta, threshold]) => x => softplus(x, beta, threshold),
  softshrink: ([by]) => x => x > by ? x - by : x < -by ? x + by : 0,
  sqrt: () => Math.sqrt,
  square: () => x => x * x,
  tanh: () => Math.tanh,
  threshold: ([limit, value]) => x => x > limit ? x : value,
};

export function unary(one, [x]) {
  const call = FUNCTIONS[one.name](one.args);
  const made = new Float32Array(x.values.length);
  for (let i = 0; i < made.length; i++) made[i] = call(x.values[i]);
  return made;
}

export const PAIRS = {
  add: k => (a, b) => a + k * b,
  sub: k => (a, b) => a - k * b,
  mul: () => (a, b) => a * b,
  div: () => (a, b) => a / b,
  max: () => Math.max,
  min: () => Math.min,
  pow: () => Math.pow,
  prelu: () => (a, b) => a >= 0 ? a : a * b,
  gt: () => (a, b) => a > b ? 1 : 0,
  ge: () => (a, b) => a >= b ? 1 : 0,
  lt: () => (a, b) => a < b ? 1 : 0,
  le: () => (a, b) => a <= b ? 1 : 0,
  eq: () => (a, b) => a === b ? 1 : 0,
  ne: () => (a, b) => a !== b ? 1 : 0,
};

export function binary(one, [left, right]) {
  const call = PAIRS[one.name](one.alpha);
  const [a, b] = [spread(left, one.shape), spread(right, one.shape)];
  return Float32Array.from(a, (value, i) => call(value, b[i]));
}

export function chosen(one, taken) {
  const [condition, yes, no] = taken.map(each => spread(each, one.shape));
  return Float32Array.from(condition, (value, i) => value ? yes[i] : no[i]);
}

// Values as a larger shape has them.
function spread({shape, values}, wanted) {
  const count = wanted.reduce((all, size) => all * size, 1);
  if (count === values.length) return values;
  const made = new Float32Array(count);
  if (values.length === 1) return made.fill(values[0]);
  const lead = wanted.length - shape.length;
  const steps = [];
  for (let axis = shape.length - 1, step = 1; axis >= 0; step *= shape[axis--]) {
    steps[axis] = shape[axis] === 1 ? 0 : step;
  }
  const at = Array(wanted.length).fill(0);
  let source = 0;
  for (let i = 0; i < count; i++) {
    made[i] = values[source];
    for (let axis = wanted.length - 1; axis >= 0; axis--) {
      const step = axis >= lead ? steps[axis - lead] : 0;
      source += step;
      if (++at[axis] < wanted[axis]) break;
      source -= step * wanted[axis];
      at[axis] = 0;
    }
  }
  return made;
}
