// First guess, second guess, all probabilities.
import {element, percent, count} from "./dom.js";

const MOST = 12; // classes shown as bars in their own order; more are sorted, the best first

export class Guesses {
  constructor(state) {
    this.state = state;
    this.page = state.get("page");
    this.first = this.line("First guess");
    this.second = this.line("Second guess");
    this.says = element("p", {class: "unseen", role: "status", "aria-live": "polite"});
    this.summary = element("div", {class: "guesses"},
      this.first.box, this.second.box, this.says);
    const shown = Math.min(MOST, this.page.classes.length);
    this.bars = Array.from({length: shown}, (_, i) => this.bar(this.page.classes[i]));
    const rest = this.page.classes.length - shown;
    this.all = element("div", {class: "probabilities"},
      element("h3", {}, "All probabilities"),
      element("ol", {}, ...this.bars.map(bar => bar.row)),
      rest ? element("p", {class: "muted"}, `and ${count(rest)} classes less likely`) : null);
    state.on(["answer"], () => this.show());
  }

  line(title) {
    const name = element("span", {class: "guess-name"}, "\u2013");
    const share = element("span", {class: "guess-share"}, "");
    return {name, share, box: element("div", {class: "guess"},
      element("span", {class: "guess-title"}, title), name, share)};
  }

  bar(label) {
    const name = element("span", {class: "bar-name", title: label}, label);
    const fill = element("span", {class: "bar-fill"});
    const share = element("span", {class: "bar-share"}, "");
    return {name, fill, share, row: element("li", {}, name,
      element("span", {class: "bar-track"}, fill), share)};
  }

  show() {
    const {guesses} = this.state.get("answer");
    const {classes} = this.page;
    for (const [line, guess] of [[this.first, guesses[0]], [this.second, guesses[1]]]) {
      line.name.textContent = guess ? classes[guess.class] : "\u2013";
      line.share.textContent = guess ? percent(guess.probability) : "";
      line.share.title = guess ? String(guess.probability) : "";
    }
    const sorted = classes.length > MOST;
    guesses.forEach((guess, rank) => {
      const bar = this.bars[sorted ? rank : guess.class];
      if (!bar) return;
      if (sorted) {
        bar.name.textContent = bar.name.title = classes[guess.class];
      }
      bar.fill.style.transform = `scaleX(${guess.probability})`;
      bar.row.classList.toggle("best", rank === 0);
      bar.share.textContent = percent(guess.probability);
      bar.share.title = String(guess.probability);
    });
    clearTimeout(this.saying); // once the stroke rests
    this.saying = setTimeout(() => {
      const words = guesses.slice(0, 2).map(each =>
        `${classes[each.class]}, ${percent(each.probability)}`);
      this.says.textContent = `First guess ${words[0]}` +
        (words[1] ? `; second guess ${words[1]}` : "");
    }, 600);
  }
}
