// Pictures of the test set and mistakes to choose from.
import {element, button, percent, count} from "./dom.js";
import {asked} from "./asking.js";

const PAGE = 12;

export class Examples {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.page = state.get("page");
    const froms = this.page.remembers ?? [{name: "test", label: "Test images"},
      {name: "mistakes", label: "Mistakes"}];
    this.start = 0;
    this.count = 0;
    this.choices = froms.map(({name, label}) => button(label, () => this.open(name),
      {class: "chip", "aria-pressed": "false", "data-from": name}));
    this.list = element("div", {class: "thumbnails", role: "group", "aria-label": "Examples"});
    this.where = element("span", {class: "muted"}, "");
    this.back = button("\u2039", () => this.turn(-PAGE), {"aria-label": "Earlier examples"});
    this.next = button("\u203a", () => this.turn(PAGE), {"aria-label": "Later examples"});
    this.pager = element("div", {class: "pager", hidden: true}, this.back, this.where, this.next);
    this.box = element("div", {class: "examples"},
      element("h3", {}, "Examples"),
      element("div", {class: "chips"}, ...this.choices), this.list, this.pager);
  }

  open(name) {
    const again = this.from === name;
    this.from = again ? null : name;
    this.start = 0;
    for (const choice of this.choices) {
      choice.setAttribute("aria-pressed", choice.dataset.from === this.from);
    }
    if (again) {
      this.list.replaceChildren();
      this.pager.hidden = true;
    } else {
      this.load();
    }
  }

  turn(by) {
    this.start = Math.max(0, Math.min(this.count - 1, this.start + by));
    this.load();
  }

  async load() {
    const {from, start} = this;
    if (!this.list.children.length) {
      this.list.append(element("p", {class: "muted"}, from === "mistakes"
        ? "Judging the test images\u2026" : "Reading the test images\u2026"));
    }
    const found = await asked(this.state, "input", () =>
      this.source.examples(from, start, PAGE));
    if (!found || from !== this.from || start !== this.start) return;
    this.count = found.count;
    this.list.replaceChildren(...found.examples.map(each => this.thumbnail(each)));
    if (!found.count) this.list.append(element("p", {class: "muted"}, "There are none."));
    this.pager.hidden = found.count <= PAGE;
    this.where.textContent = `${start + 1}\u2013${start + found.examples.length} of ` +
      count(found.count);
    this.back.disabled = start === 0;
    this.next.disabled = start + PAGE >= found.count;
  }

  thumbnail({id, name, label, guess, probability}) {
    const {classes} = this.page;
    const word = one => typeof one === "number" ? classes[one] : one;
    const said = guess == null || guess === label ? `${word(label)}`
      : `${word(label)}, taken for ${word(guess)}` +
        (probability == null ? "" : ` (${percent(probability)})`);
    const image = element("img", {alt: "", width: 48, height: 48});
    Promise.resolve(this.source.thumbnail(id)).then(address => { image.src = address; }, () => {});
    return button(image, () => this.state.set({input: {kind: "example", id}}), {
      class: `thumbnail${guess != null && guess !== label ? " wrong" : ""}`,
      title: `${name ? `${name}: ` : ""}${said}`, "aria-label": `Example: ${said}`,
    });
  }
}
