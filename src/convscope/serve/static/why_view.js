// Why the network decides as it does: a map over the input, and how far to trust it.
import {element, button} from "./dom.js";
import {asked} from "./asking.js";

const METHODS = [{name: "grad_cam", label: "Grad-CAM"}, {name: "occlusion", label: "Occlusion"}];

export class WhyView {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.page = state.get("page");
    this.target = element("select", {"aria-label": "Class to explain", onchange: () => this.ask()},
      element("option", {value: ""}, "the first guess"),
      ...this.page.classes.map((name, i) => element("option", {value: i}, name)));
    this.methods = (this.page.methods ?? METHODS).map(({name, label}) =>
      button(label, () => this.choose(name), {class: "chip", "aria-pressed": "false",
        "data-method": name}));
    this.words = element("div", {class: "trust", "aria-live": "polite"});
    this.box = element("div", {class: "why"},
      element("p", {}, "What in the input speaks for ", this.target, ". The map is laid over the " +
        "input as the network sees it."),
      element("div", {class: "chips"}, ...this.methods), this.words);
    state.on(["answer"], () => this.renew());
  }

  shown(isShown) {
    if (!isShown && this.method) this.choose(this.method); // take it away
  }

  choose(name) {
    this.method = this.method === name ? null : name;
    for (const each of this.methods) {
      each.setAttribute("aria-pressed", each.dataset.method === this.method);
    }
    if (this.method) {
      this.ask();
    } else {
      this.words.replaceChildren();
      this.state.set({overlay: null});
    }
  }

  renew() {
    clearTimeout(this.waiting);
    if (!this.method) return;
    this.state.set({overlay: null});
    this.waiting = setTimeout(() => this.ask(), 400);
  }

  async ask() {
    const {method} = this;
    const answer = this.state.get("answer");
    if (!method || !answer) return;
    const target = this.target.value === "" ? answer.guesses[0].class : Number(this.target.value);
    this.words.replaceChildren(element("p", {class: "muted"}, "Computing\u2026"));
    const found = await asked(this.state, "inspector", () => this.source.why(method, target));
    if (method !== this.method || answer !== this.state.get("answer")) return;
    this.words.replaceChildren();
    if (!found) return;
    const {trust, arrays} = found;
    this.state.set({overlay: arrays.get ? arrays.get("map") : arrays.map});
    if (trust) {
      this.words.append(
        element("p", {class: `verdict ${trust.grade}`}, element("strong", {}, trust.grade),
          ` \u2013 ${trust.verdict.replace(/^[a-z ]+: /, "")}`),
        element("p", {class: "muted"}, trust.figures ?? ""));
    }
  }
}
