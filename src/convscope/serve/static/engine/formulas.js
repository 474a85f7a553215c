// Functions of one number with their formula in numbers: analysis/explaining/activations.py.
import {FUNCTIONS, erf} from "./elementwise.js";
import {shown} from "./words.js";

const held = (x, [low, high]) => [FUNCTIONS.clamp([low, high])(x),
  `${shown(x)} held within ${limit(low, "-inf")} and ${limit(high, "inf")}`];
const limit = (value, none) => value == null ? none : shown(value);
const plain = (word, name) => x => [FUNCTIONS[name]([])(x), `${word}(${shown(x)})`];
const hardSigmoid = FUNCTIONS.hardsigmoid([]);

export const FORMULAS = {
  "ReLU": x => [Math.max(x, 0), `max(0, ${shown(x)})`],
  "ReLU6": x => held(x, [0, 6]),
  "hard tanh": held,
  "clamp": held,
  "leaky ReLU": leaky,
  "PReLU": leaky,
  "ELU": (x, [alpha]) => x > 0 ? [x, `${shown(x)}, above 0 unchanged`]
    : [alpha * Math.expm1(x), `${shown(alpha)} x (exp(${shown(x)}) - 1)`],
  "GELU": (x, [how]) => {
    if (how === "tanh") return [FUNCTIONS.gelu(["tanh"])(x), `${shown(x)} x (1 + tanh(...)) / 2`];
    const part = (1 + erf(x / Math.SQRT2)) / 2;
    return [x * part, `${shown(x)} x ${shown(part)}, the normal distribution below it`];
  },
  "SiLU": x => times(x, FUNCTIONS.sigmoid([])(x)),
  "Mish": x => {
    const inner = FUNCTIONS.softplus([1, 20])(x);
    return [x * Math.tanh(inner), `${shown(x)} x tanh(${shown(inner)})`];
  },
  "hard swish": x => times(x, hardSigmoid(x)),
  "hard sigmoid": x => [hardSigmoid(x), `${shown(x)} / 6 + 1/2, in 0 to 1`],
  "sigmoid": plain("sigmoid", "sigmoid"),
  "tanh": plain("tanh", "tanh"),
  "exponential": plain("exp", "exp"),
  "logarithm": plain("log", "log"),
  "root": plain("sqrt", "sqrt"),
  "softplus": (x, [beta, threshold]) => x * beta > threshold
    ? [x, `${shown(x)}, as above ${shown(threshold)}`]
    : [FUNCTIONS.softplus([beta, threshold])(x),
      `log(1 + exp(${shown(beta)} x ${shown(x)})) / ${shown(beta)}`],
  "absolute value": x => [Math.abs(x), `|${shown(x)}|`],
  "negative": x => [-x, `-(${shown(x)})`],
  "square": x => [x * x, `${shown(x)} squared`],
};
export const COPYING = ["ReLU", "ReLU6", "threshold", "hard shrink", "absolute value", "negative"];

function leaky(x, [slope]) {
  return x >= 0 ? [x, `${shown(x)}, from 0 on unchanged`]
    : [x * slope, `${shown(x)} x ${shown(slope)}, below 0`];
}

function times(x, part) {
  return [x * part, `${shown(x)} x ${shown(part)}`];
}
