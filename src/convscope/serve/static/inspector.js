// The chosen unit: why it has its value, its filters, why the decision, what was changed.
import {element, button, unitName, failure} from "./dom.js";
import {can} from "./state.js";
import {ExplainView} from "./explain_view.js";
import {FilterView} from "./filter_view.js";
import {WhyView} from "./why_view.js";
import {ChangesView} from "./changes_view.js";

export class Inspector {
  constructor(state, source, layers) {
    this.state = state;
    this.layers = layers;
    const page = state.get("page");
    const views = [["unit", "Unit", "explain", ExplainView], ["filters", "Filters", "filters",
      FilterView], ["why", "Why", "why", WhyView], ["changes", "Changes", "edit", ChangesView]];
    this.views = views.filter(([, , method]) => can(state, method)).map(
      ([name, label, , View]) => this.makeView(name, label, new View(state, source)));
    this.title = element("h2", {}, "Inspector");
    this.close = button("Close", () => this.shut(), {class: "quiet", "aria-keyshortcuts": "Escape"});
    this.trouble = element("div", {});
    this.box = element("div", {class: "inspector-box"},
      element("header", {}, this.title, this.close),
      element("div", {class: "tabs", role: "tablist", "aria-label": "Inspector"},
        ...this.views.map(view => view.tab)),
      this.trouble, ...this.views.map(view => view.panel));
    this.handle = button("Inspector", () => this.toggle(), {class: "handle",
      "aria-expanded": "false"});
    document.querySelector("#inspector").before(this.handle);
    const outputs = page.cards.at(-1);
    this.hint = `Click a unit, or press Enter on it. ${outputs.label || "The output"} is at the ` +
      "right end of the row.";
    state.on(["chosen", "tab"], () => this.show());
    state.on(["entering"], () => {
      this.open(true);
      this.views.find(one => one.name === state.get("tab"))?.tab.focus();
    });
    state.on(["problem"], () => this.tell(source));
    this.show();
  }

  makeView(name, label, view) {
    const tab = element("button", {type: "button", role: "tab", id: `tab-${name}`,
      "aria-controls": `panel-${name}`, onclick: () => this.state.set({tab: name})}, label);
    tab.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      const at = this.views.findIndex(one => one.name === name);
      const next = this.views.at((at + step) % this.views.length);
      this.state.set({tab: next.name});
      next.tab.focus();
      event.preventDefault();
    });
    const panel = element("div", {class: "panel", role: "tabpanel", id: `panel-${name}`,
      "aria-labelledby": `tab-${name}`, tabindex: 0}, view.box);
    return {name, label, view, tab, panel};
  }

  show() {
    const chosen = this.state.get("chosen");
    const name = this.state.get("tab");
    for (const each of this.views) {
      const isShown = each.name === name;
      each.tab.setAttribute("aria-selected", isShown);
      each.tab.tabIndex = isShown ? 0 : -1;
      each.panel.hidden = !isShown;
      each.view.shown(isShown);
    }
    this.title.textContent = chosen ? unitName(this.state.get("page"), chosen) : "Inspector";
    if (chosen !== this.before) {
      this.before = chosen;
      this.open(Boolean(chosen));
    }
    this.box.dataset.hint = this.views.length ? "" : this.hint;
  }

  open(isOpen) {
    document.body.classList.toggle("inspecting", isOpen);
    this.handle.setAttribute("aria-expanded", isOpen);
  }

  toggle() {
    this.open(!document.body.classList.contains("inspecting"));
  }

  shut() {
    const {chosen} = this.state.values;
    this.state.set({chosen: null, pointed: null});
    this.open(false);
    if (chosen) this.layers.card(chosen.card).body.focus({preventScroll: true});
  }

  tell(source) {
    const problem = this.state.get("problem");
    this.trouble.replaceChildren();
    if (problem?.where !== "inspector") return;
    this.trouble.append(failure(problem.error, async change => {
      const {edits} = await source.edit(change);
      this.state.set({edits, problem: null});
    }));
  }
}
