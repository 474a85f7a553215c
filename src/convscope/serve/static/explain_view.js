// explain_unit's record, step by step. Every number is the library's.
import {element, button, short, exact, nameOf} from "./dom.js";
import {asked} from "./asking.js";
import {sumOf} from "./sum_view.js";
import {numberGrid} from "./number_grid.js";

export class ExplainView {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.box = element("div", {class: "explain"});
    this.empty();
    state.on(["chosen"], () => this.ask(0));
    state.on(["answer"], () => this.ask(150));
  }

  empty() {
    this.box.replaceChildren(element("p", {class: "muted"},
      "Click a unit of any layer, or move to it with Tab and the arrow keys and press Enter: " +
      "here stands how its number was made, down to the products."));
  }

  shown(isShown) {
    this.isShown = isShown;
    if (isShown && this.late) this.ask(0);
  }

  ask(wait) {
    clearTimeout(this.waiting);
    this.late = !this.isShown;
    const unit = this.state.get("chosen");
    if (!unit) this.empty();
    if (!unit || !this.isShown || !this.state.get("answer")) return;
    this.waiting = setTimeout(async () => {
      const slow = setTimeout(() => this.box.replaceChildren(
        element("p", {class: "muted"}, "Computing\u2026")), wait ? 2000 : 300);
      const record = await asked(this.state, "inspector", () =>
        this.source.explain(unit.card, unit.channel, unit.position));
      clearTimeout(slow);
      if (this.state.get("chosen") !== unit) return;
      if (record) this.draw(record, unit);
      else this.box.replaceChildren();
    }, wait);
  }

  draw(record, unit) {
    const opened = new Set([...this.box.querySelectorAll("details[open]")].map(one =>
      one.dataset.name));
    const lines = linesOf(record);
    const page = this.state.get("page");
    const steps = record.steps.map((step, place) => {
      const made = element("section", {class: "step", "data-operation": step.operation ?? ""},
        element("h3", {}, element("span", {class: "step-number"}, String(place + 1)),
          named(page, step), element("small", {}, step.operation ?? step.kind)),
        ...drawingOf(step, lines[place] ?? [], page, this),
        element("p", {class: "equals"}, "= ", valueOf(step.value)));
      return made;
    });
    const words = element("details", {"data-name": "words", open: opened.has("words")},
      element("summary", {}, "In words"), element("pre", {tabindex: 0}, record.lines.join("\n")));
    this.box.replaceChildren(
      element("p", {class: "result"}, valueOf(record.value),
        element("small", {title: `network: ${record.network_value}`},
          ` \u00b1 ${short(record.tolerance)} of rounding`)),
      ...record.notes.map(note => element("p", {class: "note"}, note)),
      ...steps, words,
      button("Copy numbers", event => copied(event.currentTarget, record)));
    this.box.dataset.unit = `${unit.card}:${unit.channel}:${unit.position}`;
  }
}

function named(page, {label}) {
  const card = page.cards.find(one => one.label === label);
  return card ? nameOf(card) : label || "network";
}

function valueOf(value) {
  return element("data", {value: String(value), title: String(value)}, exact(value));
}

async function copied(pressed, record) {
  await navigator.clipboard.writeText(JSON.stringify(record, null, 1));
  pressed.textContent = "Copied";
  setTimeout(() => { pressed.textContent = "Copy numbers"; }, 1500);
}

// The record's lines, cut where each step begins.
function linesOf(record) {
  const parts = [];
  let next = 0;
  for (const line of record.lines) {
    const step = record.steps[next];
    if (step && line.startsWith(`${step.label || "the network"} = ${step.kind}, `)) {
      parts.push([]);
      next += 1;
    } else {
      parts.at(-1)?.push(line);
    }
  }
  return parts;
}

function drawingOf(step, lines, page, view) {
  if (step.products) return sumOf(step, page, view);
  if (step.winner && step.window) return [winnerOf(step, page)];
  if (step.operation === "batch norm") return [normOf(step)];
  return lines.map(line => element("p", {class: "formula"}, line));
}

function winnerOf(step, page) {
  const {window: axes, patch, winner} = step;
  const [rows, columns] = axes.length > 1 ? axes : [[0], axes[0] ?? [0]];
  const at = axes.map((axis, i) => axis.indexOf(winner[winner.length - axes.length + i]));
  const place = axes.length > 1 ? at[0] * columns.length + at[1] : at[0] ?? 0;
  return element("div", {class: "pool"},
    numberGrid(patch, rows.length, columns.length, "diverging", page, {marked: place}),
    element("p", {}, `${step.how} of ${patch.length}` +
      (step.ties > 1 ? `, the first of ${step.ties} equals` : "")));
}

function normOf({x, mean, variance, eps, weight, bias, statistics}) {
  const row = (name, value) => [element("dt", {}, name),
    element("dd", {title: String(value)}, exact(value))];
  return element("div", {},
    element("p", {class: "formula"}, weight == null
      ? "(x \u2212 mean) / \u221a(variance + \u03b5)"
      : "(x \u2212 mean) / \u221a(variance + \u03b5) \u00d7 weight + bias"),
    element("dl", {class: "numbers"}, ...row("x", x), ...row(`mean (${statistics})`, mean),
      ...row("variance", variance), ...row("\u03b5", eps),
      ...(weight == null ? [] : row("weight", weight)),
      ...(bias == null ? [] : row("bias", bias))));
}
