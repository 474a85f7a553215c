// Where values come from in the one-file form: the program in the file, carried out
// here. README.md has the contract that every source keeps.
import {Edits} from "./engine/edits.js";
import {Explainer} from "./engine/explain.js";
import {Program} from "./engine/program.js";
import {factsOf, numbersOf} from "./engine/packed.js";
import {centered, fitted, placed, planesOf} from "./engine/pixels.js";
import {PageError} from "./page_error.js";

export class FileSource {
  constructor(page) {
    this.texts = ["#facts", "#numbers"].map(name => page.querySelector(name).textContent);
    this.sequence = 0;
  }

  async describe() {
    const [facts, numbers] = this.texts;
    this.facts ??= await factsOf(facts);
    const {program} = this.facts;
    this.program ??= new Program(program, await numbersOf(numbers, program.constants[0]?.type));
    this.edits ??= new Edits(this.program, this.facts.page.cards, program.parameters,
      this.facts.filters);
    return this.facts.page;
  }

  async run(input, wanted) {
    const sequence = ++this.sequence;
    const began = performance.now();
    const planes = placed(await this.planes(input), this.facts.preprocessing.size,
      input.shift ?? [0, 0], input.turn ?? 0);
    if (sequence !== this.sequence) return null; // a newer one is on its way
    this.input = this.normalized(planes);
    this.forward();
    const shares = this.shares;
    const guesses = Array.from(shares, (probability, at) => ({class: at, probability}))
      .sort((one, other) => other.probability - one.probability);
    const arrays = this.arrays(wanted);
    arrays.set("probabilities", arrayOf([shares.length], shares));
    const [rows, columns] = this.facts.preprocessing.size;
    arrays.set("seen", arrayOf([planes.length, rows, columns],
      Float32Array.from(planes.flatMap(plane => Array.from(plane)))));
    return {sequence, guesses, seen: arrays.get("seen"), by: "this page",
      milliseconds: performance.now() - began, arrays};
  }

  async values(wanted) {
    return {arrays: this.arrays(wanted)};
  }

  async fields(card) {
    return this.facts.fields[card];
  }

  async explain(card, channel, position) {
    const {label, kind, shape} = this.facts.page.cards[card];
    if (kind === "input") {
      throw new PageError("The input is not computed, so nothing explains it. Choose a layer's unit.");
    }
    if (!this.results) throw new PageError("Nothing was drawn or chosen yet.");
    const explainer = new Explainer(this.program, this.results, this.facts.recipes);
    if (!label) return explainer.explainProbability(channel, this.facts.temperature);
    const place = shape.length > 1 ? position : [];
    const made = explainer.explain(card, label, channel, place);
    const seen = this.facts.fields[card].before[0] ?? null;
    const spans = seen?.map(({first, last}, axis) => {
      const at = place[axis] ?? 0;
      return first[at] < 0 ? null : [first[at], last[at]];
    });
    return {...made, receptive_field: spans ?? null};
  }

  async filters(card, channel) {
    const {weight, bias} = this.edits.kernels(card, channel);
    const arrays = new Map([["weight", arrayOf(weight.shape, weight.values)]]);
    if (bias) arrays.set("bias", arrayOf(bias.shape, bias.values));
    return {arrays};
  }

  async edit(change) {
    return this.changed(this.edits.add(change));
  }

  async restore(index) {
    return this.changed(this.edits.restore(index));
  }

  changed(edits) {
    if (this.input) this.forward();
    return edits;
  }

  async examples(from, start, count) {
    const all = this.facts.examples.lists[from] ?? [];
    return {count: all.length, examples: all.slice(start, start + count)};
  }

  async thumbnail(id) {
    const [rows, columns] = this.facts.preprocessing.size;
    const planes = this.example(id);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    const image = new ImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = planes[k % planes.length][i];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas.toDataURL();
  }

  forward() {
    this.results = this.program.run(this.input);
    this.shares = softmax(this.results[this.program.output].values, this.facts.temperature);
  }

  // What a card shows, without the batch axis.
  card(number) {
    const at = this.program.cards[number];
    if (at === null) return {shape: [this.shares.length], values: this.shares};
    const {shape, values} = this.results[at];
    return {shape: shape.slice(1), values};
  }

  arrays(wanted) {
    const made = new Map();
    if (!this.results) return made;
    for (const {card, from, to} of wanted ?? []) {
      const {shape: [channels, ...rest], values} = this.card(card);
      const first = Math.min(from, channels);
      const last = Math.min(to, channels);
      const size = values.length / channels;
      made.set(String(card), {...arrayOf([channels, ...rest], values),
        shape: [last - first, ...rest], values: values.slice(first * size, last * size), from: first});
    }
    return made;
  }

  async planes(input) {
    const own = this.facts.preprocessing;
    if (input.kind === "example") return this.example(input.id);
    if (input.kind === "drawing") {
      const {pixels: plane, height, width} = input;
      const centers = own.centering !== "none";
      if (centers && input.centering) return [centeredOnce({plane, height, width}, own)];
      return [fitted({plane: centers ? plane.map(one => 255 - one) : plane, height, width}, own)];
    }
    const image = await decoded(input.blob);
    const planes = planesOf(image, own.channels, own.background);
    return planes.map(one => own.centering === "none" ? fitted(one, own) : centeredOnce(one, own));
  }

  example(id) {
    const own = this.facts.preprocessing;
    const text = atob(this.facts.examples.pictures[id]);
    const size = own.size[0] * own.size[1];
    return Array.from({length: own.channels}, (_, k) =>
      Uint8Array.from(text.slice(k * size, (k + 1) * size), one => one.charCodeAt(0)));
  }

  normalized(planes) {
    const {mean, std} = this.facts.preprocessing;
    const size = planes[0].length;
    const made = new Float32Array(planes.length * size);
    planes.forEach((plane, k) => {
      for (let i = 0; i < size; i++) made[k * size + i] = (plane[i] / 255 - mean[k]) / std[k];
    });
    return made;
  }
}

// A picture that has the network's size already is taken as it is.
function centeredOnce(image, own) {
  const fits = image.height === own.size[0] && image.width === own.size[1];
  return fits ? image.plane : centered(image, own);
}

async function decoded(blob) {
  let image;
  try {
    image = await createImageBitmap(blob);
  } catch {
    throw new PageError("This file is not a picture that the browser can read. Choose a PNG or JPEG.");
  }
  if (image.width * image.height > 50e6) {
    throw new PageError("This picture has more than 50 million pixels. Choose a smaller one.");
  }
  const canvas = new OffscreenCanvas(image.width, image.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return pen.getImageData(0, 0, image.width, image.height);
}

export function arrayOf(shape, values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return {shape, values, low: values.length ? low : 0, high: values.length ? high : 0, from: 0};
}

function softmax(values, temperature) {
  const largest = values.reduce((most, one) => Math.max(most, one), -Infinity);
  const powers = Float64Array.from(values, one => Math.exp((one - largest) / temperature));
  const sum = powers.reduce((all, one) => all + one, 0);
  return Float32Array.from(powers, one => one / sum);
}
