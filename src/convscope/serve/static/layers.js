// The row of cards: what is visible, what is hidden, wires between them.
import {element, button, exact, nameOf, count} from "./dom.js";
import {Card} from "./card.js";
import {Wires} from "./wires.js";

const LONG = 12; // cards; more cannot be found by scrolling alone

export class Layers {
  constructor(state) {
    this.state = state;
    this.page = state.get("page");
    const act = {
      changed: () => this.want(), hide: id => this.toggle(id, true),
      show: id => this.toggle(id, false),
    };
    this.cards = this.page.cards.map(one => new Card(state, one, act));
    this.flow = element("div", {class: "flow"});
    this.scroller = element("div", {class: "scroller"}, this.flow);
    this.wires = new Wires(this.flow, this.cards);
    this.readout = element("output", {class: "readout"}, "\u00a0");
    this.says = element("p", {class: "unseen", role: "status", "aria-live": "polite"});
    this.timing = element("span", {class: "timing"}, "");
    this.box = element("div", {class: "layers-box"},
      this.makeToolbar(), this.scroller,
      element("div", {class: "layers-foot"}, this.readout, this.timing, this.says));
    this.place();
    this.watch();
    state.on(["hiddenCards", "hiddenKinds"], () => this.arrange());
    state.on(["pointed", "chosen", "arrays"], () => this.read());
    state.on(["answer"], () => {
      const {milliseconds, by} = state.get("answer");
      if (milliseconds != null) {
        this.timing.textContent = `${milliseconds.toFixed(1)} ms${by ? `, ${by}` : ""}`;
      }
    });
  }

  makeToolbar() {
    const all = this.page.cards.map(one => one.kind);
    const several = [...new Set(all)].filter(kind => all.indexOf(kind) !== all.lastIndexOf(kind));
    const eyes = several.map(kind => {
      const each = button(kind, () => {
        const hidden = new Set(this.state.get("hiddenKinds"));
        if (!hidden.delete(kind)) hidden.add(kind);
        each.setAttribute("aria-pressed", !hidden.has(kind));
        this.state.set({hiddenKinds: hidden});
      }, {"aria-pressed": "true", class: "chip", title: `Show or hide every ${kind}`});
      return each;
    });
    const scale = button("Own scales", () => {
      this.state.set({perMap: !this.state.get("perMap")});
      scale.setAttribute("aria-pressed", this.state.get("perMap"));
    }, {"aria-pressed": "false", class: "chip",
      title: "Pressed: dark to bright within each map. Else one scale for a layer."});
    const jump = element("select", {"aria-label": "Go to a layer", class: "jump", onchange: () => {
      if (jump.value !== "") this.go(Number(jump.value));
      jump.value = "";
    }}, element("option", {value: ""}, "Go to\u2026"),
    ...this.page.cards.map(one => element("option", {value: one.id}, nameOf(one))));
    const total = this.page.cards.reduce((sum, one) => sum + (one.parameters ?? 0), 0);
    return element("div", {class: "layers-head"},
      element("h2", {title: total ? `${count(total)} parameters` : ""}, "Layers"),
      element("div", {class: "chips", role: "group", "aria-label": "Kinds shown"}, ...eyes),
      this.page.cards.length > LONG ? jump : null, scale);
  }

  place() {
    this.cards.forEach((card, index) => {
      const holder = element("div", {class: "holder"}, card.box, card.tab);
      holder.style.gridColumn = String((card.one.column ?? index) + 1);
      holder.style.gridRow = String((card.one.lane ?? 0) + 1);
      card.holder = holder;
      this.flow.append(holder);
    });
    this.lanes = Math.max(...this.cards.map(card => card.one.lane ?? 0)) + 1;
  }

  watch() {
    this.seer = new IntersectionObserver(entries => {
      for (const {target, isIntersecting} of entries) {
        const card = this.cards[Number(target.dataset.card)];
        card.isOnScreen = isIntersecting;
        if (isIntersecting) card.redraw();
      }
      this.want();
    }, {rootMargin: "160px"});
    for (const card of this.cards) this.seer.observe(card.box);
    new ResizeObserver(() => this.arrange()).observe(this.scroller);
  }

  arrange() {
    const stacked = matchMedia("(max-width: 640px)").matches;
    const size = `${this.scroller.clientWidth} ${this.scroller.clientHeight} ${stacked}`;
    const part = Math.floor((this.scroller.clientHeight - 56) / (this.lanes + 1));
    const roomIn = lane => stacked ? 224 : this.lanes === 1 ? Math.max(176, 2 * part - 96)
      : lane ? Math.max(72, part - 96) : Math.max(176, 2 * part - 96); // branches are small
    const hidden = this.state.get("hiddenCards");
    const kinds = this.state.get("hiddenKinds");
    for (const card of this.cards) {
      const isHidden = hidden.has(card.one.id) || kinds.has(card.one.kind);
      card.box.hidden = isHidden;
      card.tab.hidden = !isHidden;
      if (size !== this.size) card.fit(roomIn(card.one.lane ?? 0), stacked ? this.scroller.clientWidth - 26 : 0);
    }
    this.size = size;
    this.wires.draw(!stacked);
    this.want();
  }

  toggle(id, hide) {
    const hidden = new Set(this.state.get("hiddenCards"));
    const kinds = new Set(this.state.get("hiddenKinds"));
    if (hide) {
      hidden.add(id);
    } else {
      hidden.delete(id);
      if (kinds.delete(this.page.cards[id].kind)) { // all of the kind but this one
        for (const one of this.page.cards) {
          if (one.kind === this.page.cards[id].kind && one.id !== id) hidden.add(one.id);
        }
      }
    }
    this.state.set({hiddenCards: hidden, hiddenKinds: kinds});
    const card = this.cards[id];
    (hide ? card.tab : card.body).focus({preventScroll: true});
  }

  want() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      const wanted = this.cards.filter(card => card.isOnScreen && card.layout && !card.box.hidden)
        .map(card => card.wanted());
      if (JSON.stringify(wanted) !== JSON.stringify(this.state.get("wanted"))) {
        this.state.set({wanted});
      }
    });
  }

  read() {
    const unit = this.state.get("pointed") ?? this.state.get("chosen");
    if (!unit) {
      this.box.classList.remove("told");
      this.readout.textContent = "Point at a unit, or move to a layer with Tab.";
      return;
    }
    this.box.classList.add("told");
    const {name, value} = this.cards[unit.card].describe(unit);
    this.readout.textContent = value === null ? name : `${name} = ${exact(value)}`;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.says.textContent = this.readout.textContent; }, 500);
  }

  card(id) {
    return this.cards[id];
  }

  go(id) {
    this.toggle(id, false);
    this.cards[id].holder.scrollIntoView({inline: "center", block: "nearest"});
  }
}
