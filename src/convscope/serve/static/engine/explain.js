// The record of explain_unit, from the values of a program and the recipes in the file
// (serve/portable/recipes.py): analysis/explaining/chain.py over again.
import {PageError} from "../page_error.js";
import {flatOf} from "./indices.js";
import {placeText, shown} from "./words.js";
import {RULES, quotientOf, softmaxOf} from "./rules.js";

const LONGEST = 16; // layers of a chain

export class Explainer {
  // A program, what run() gave, and a recipe for each label, null where there is none.
  constructor(program, values, recipes) {
    this.program = program;
    this.values = values;
    this.recipes = recipes;
  }

  explain(number, label, channel, position) {
    const at = this.program.cards[number];
    const shape = at === null ? [] : this.values[at].shape;
    const index = [0, channel, ...position].slice(0, shape.length);
    if (index.length !== shape.length || index.some((one, axis) => !(one >= 0 && one < shape[axis]))) {
      throw new PageError(`There is no unit at ${placeText(index)}. Choose one within ${shape.join(" x ")}.`);
    }
    return recordOf(label, channel, index.slice(2), this.chain(number, index, label));
  }

  // Of the answer's softmax, which the page adds: serve/explaining.py.
  explainProbability(channel, temperature) {
    const at = this.program.output;
    const index = [0, channel];
    const number = this.program.cards.indexOf(at);
    const steps = this.chain(number, index, "Probabilities");
    let numbers = Array.from(this.values[at].values);
    if (temperature !== 1) {
      const detail = quotientOf(numbers[channel], temperature, index);
      numbers = numbers.map(one => Math.fround(one / temperature));
      steps.push(stepOf({label: "temperature", kind: `div(${shown(temperature)})`,
        inputs: [steps.at(-1).label]}, index, numbers[channel], detail));
    }
    const detail = softmaxOf("softmax", numbers, channel, index);
    steps.push(stepOf({label: "softmax", kind: "softmax(-1)", inputs: [steps.at(-1).label]}, index,
      Math.fround(detail.value), detail));
    return recordOf("softmax", channel, [], steps);
  }

  chain(start, begin, label) {
    const steps = [];
    const seen = new Set();
    let [number, index] = [start, begin];
    while (!seen.has(number) && steps.length < LONGEST) {
      seen.add(number);
      const recipe = this.recipes[number];
      if (!recipe) throw new PageError(unknown(label, steps));
      if (recipe.as !== undefined) {
        number = recipe.as;
        continue;
      }
      const step = this.step(recipe, index);
      steps.push(step);
      const source = step.follows && recipe.sources[step.follows.input];
      if (!step.follows || !recipe.inputs[step.follows.input]) break;
      [number, index] = [source, step.follows.index];
    }
    return steps.reverse();
  }

  step(recipe, index) {
    const network = this.numberAt(recipe.at, index);
    const inputs = recipe.sources.map(source => this.program.cards[source]);
    const detail = RULES[recipe.rule]({recipe, index, inputs, network, explainer: this});
    return stepOf(recipe, index, network, detail);
  }

  numberAt(at, index) {
    const {shape, values} = this.values[at];
    return values[flatOf(index, shape)];
  }
}

function recordOf(layer, channel, position, steps) {
  const last = steps.at(-1);
  return {
    layer, image: 0, channel, position, value: last.value, network_value: last.network_value,
    tolerance: last.tolerance, steps: steps.map(({lines, follows, ...step}) => step),
    lines: steps.flatMap(({lines}) => lines), notes: [],
  };
}

function stepOf({label, kind, inputs}, index, network, detail) {
  const {value, tolerance, follows, record} = detail;
  if (!(Math.abs(value - network) <= tolerance || Object.is(value, network) || value === network)) {
    throw new PageError(`${label} has ${network} at ${placeText(index)}, but its parts give ${value}. ` +
      "Report this to convscope.");
  }
  const [image, ...rest] = index;
  const where = rest.length ? `channel ${rest[0]}` : `image ${image}`;
  const place = rest.length > 1 ? ` at ${placeText(rest.slice(1))}` : "";
  return {
    label, kind, index, value, network_value: network, tolerance, inputs, ...record, follows,
    lines: [`${label || "the network"} = ${kind}, ${where}${place}`, ...detail.lines],
  };
}

function unknown(label, steps) {
  const [last] = steps.slice(-1);
  const what = last ? `${label} goes back to a layer that this file` : `${label} is a layer that this file`;
  return `${what} does not explain. The page with its server does: convscope play RUN.` +
    (last ? ` Here it is ${shown(steps[0].value)}.` : "");
}
