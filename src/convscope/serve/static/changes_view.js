// What differs from the run: restored one by one, or kept as a run of its own.
import {element, button} from "./dom.js";
import {can} from "./state.js";
import {asked} from "./asking.js";

export class ChangesView {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.list = element("ul", {class: "edits"});
    this.name = element("input", {type: "text", "aria-label": "Name of the new run",
      placeholder: "name of the new run", maxlength: 80});
    this.says = element("p", {role: "status"});
    this.all = button("Restore all", () => this.restore(null));
    this.keep = element("form", {class: "keep", onsubmit: event => this.save(event)},
      this.name, element("button", {}, "Keep as a new run"));
    this.box = element("div", {class: "changes"}, this.list, this.all,
      can(state, "keep") ? this.keep : null, this.says);
    state.on(["edits"], () => this.draw());
    this.draw();
  }

  shown() {}

  draw() {
    const edits = this.state.get("edits");
    this.list.replaceChildren(...edits.map((edit, index) => element("li", {},
      element("span", {}, edit.text),
      button("Restore", () => this.restore(index), {"aria-label": `Restore: ${edit.text}`}))));
    if (!edits.length) {
      this.list.replaceChildren(element("li", {class: "muted"},
        "The network is as the run has it. Change a kernel under Filters."));
    }
    this.all.hidden = edits.length < 2;
    this.keep.hidden = !edits.length;
    this.says.textContent = "";
    const tab = document.querySelector("#tab-changes");
    if (tab) tab.textContent = edits.length ? `Changes (${edits.length})` : "Changes";
  }

  async restore(index) {
    const found = await asked(this.state, "inspector", () => this.source.restore(index));
    if (found) this.state.set({edits: found.edits});
  }

  async save(event) {
    event.preventDefault();
    const found = await asked(this.state, "inspector", () => this.source.keep(this.name.value));
    if (found) this.says.textContent = `Kept: ${found.run}`;
  }
}
