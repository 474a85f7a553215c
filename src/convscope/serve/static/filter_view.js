// Kernels beside their maps: looked at, changed, switched off.
import {element, button, nameOf} from "./dom.js";
import {can, isSwitchedOff} from "./state.js";
import {asked} from "./asking.js";
import {numberGrid} from "./number_grid.js";

export class FilterView {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.page = state.get("page");
    this.input = 0;
    this.box = element("div", {class: "filters"});
    state.on(["chosen", "edits"], () => this.load());
  }

  shown(isShown) {
    this.isShown = isShown;
    if (isShown) this.load();
  }

  // The unit's own layer, or the last before it that has filters.
  target() {
    const unit = this.state.get("chosen");
    if (!unit) return null;
    const {cards} = this.page;
    let at = cards[unit.card];
    while (at && !at.has_filters) at = at.inputs.length ? cards[at.inputs[0]] : null;
    if (!at) return null;
    return {card: at.id, channel: Math.min(unit.channel, at.shape[0] - 1)};
  }

  async load() {
    if (!this.isShown) return;
    const unit = this.target();
    if (!unit) {
      this.box.replaceChildren(element("p", {class: "muted"}, this.state.get("chosen")
        ? "No layer up to this unit has kernels." : "Choose a unit: its kernels stand here."));
      return;
    }
    const found = await asked(this.state, "inspector", () =>
      this.source.filters(unit.card, unit.channel));
    const now = this.target();
    if (found && now?.card === unit.card && now.channel === unit.channel) this.draw(unit, found);
  }

  draw(unit, {arrays}) {
    const get = name => arrays.get ? arrays.get(name) : arrays[name];
    const weight = get("weight");
    const bias = get("bias");
    const space = weight.shape.slice(1);
    const [rows, columns] = space.length > 1 ? space : [1, space[0] ?? 1];
    const inputs = weight.shape[0];
    const size = rows * columns;
    const bound = Math.max(Math.abs(weight.low), Math.abs(weight.high));
    this.input = Math.min(this.input, inputs - 1);
    const kernelAt = i => Array.from(weight.values.subarray(i * size, (i + 1) * size));
    const card = this.page.cards[unit.card];
    const thumbs = element("div", {class: "kernels", role: "group", "aria-label": "Kernels"});
    const many = Math.min(inputs, 64);
    const choices = Array.from({length: many}, (_, i) => button(
      numberGrid(kernelAt(i), rows, columns, "diverging", this.page, {bound}),
      () => { this.input = i; this.draw(unit, {arrays}); },
      {"aria-label": `Kernel on input channel ${i}`, "aria-pressed": i === this.input,
        title: `input channel ${i}`}));
    for (const choice of choices) {
      for (const cell of choice.querySelectorAll("td")) cell.textContent = "";
    }
    thumbs.append(...choices);
    this.box.replaceChildren(
      element("p", {}, `Kernels of ${nameOf(card)}, channel ${unit.channel}`,
        inputs > many ? element("small", {class: "muted"}, ` (the first ${many} of ${inputs})`) : null),
      thumbs,
      element("h3", {}, `Numbers on input channel ${this.input}`),
      this.numbers(unit, kernelAt(this.input), rows, columns),
      bias ? this.field("bias", bias.values[0], value => this.change(
        {kind: "bias", card: unit.card, channel: unit.channel, value})) : "",
      can(this.state, "edit") ? this.actions(unit) : "");
  }

  numbers(unit, values, rows, columns) {
    const grid = element("div", {class: "taps", role: "group", "aria-label": "Kernel"});
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    values.forEach((value, i) => {
      const at = [Math.floor(i / columns), i % columns];
      grid.append(this.field(`row ${at[0]}, column ${at[1]}`, value, given => this.change({
        kind: "tap", card: unit.card, channel: unit.channel, input: this.input, at, value: given,
      }), true));
    });
    return grid;
  }

  field(name, value, change, bare = false) {
    const box = element("input", {type: "number", step: "any", "aria-label": name,
      value: String(Number(value.toPrecision(bare ? 4 : 7))), title: String(value),
      readonly: !can(this.state, "edit"),
      onchange: () => { if (Number.isFinite(box.valueAsNumber)) change(box.valueAsNumber); }});
    return bare ? box : element("label", {class: "field"}, name, box);
  }

  actions(unit) {
    const isOff = this.state.get("edits").some(edit =>
      edit.card === unit.card && edit.channel === unit.channel && isSwitchedOff(edit));
    const named = element("select", {"aria-label": "Named filter", onchange: () => {
      if (named.value) {
        this.change({kind: "filter", card: unit.card, channel: unit.channel,
          input: this.input, name: named.value});
      }
    }}, element("option", {value: ""}, "Named filter\u2026"),
    ...(this.page.named_filters ?? []).map(name => element("option", {value: name}, name)));
    return element("div", {class: "tools"},
      this.page.named_filters?.length ? named : null,
      button(isOff ? "Channel on" : "Channel off", async () => {
        if (!isOff) {
          await this.change({kind: "channel", card: unit.card, channel: unit.channel, off: true});
          return;
        }
        const index = this.state.get("edits").findIndex(edit => edit.card === unit.card &&
          edit.channel === unit.channel && isSwitchedOff(edit));
        const found = await asked(this.state, "inspector", () => this.source.restore(index));
        if (found) this.state.set({edits: found.edits});
      }));
  }

  async change(change) {
    const found = await asked(this.state, "inspector", () => this.source.edit(change));
    if (found) this.state.set({edits: found.edits});
    return found;
  }
}
