// One layer: its maps or bars, its scale, and the unit under the pointer or the keys.
import {element, button, brief, nameOf, unitName} from "./dom.js";
import {atlasOf, rampOf, scaleOf, placeOn, colorOf, sharpContext, frame, token} from "./paint.js";
import {tilesOf, barsOf} from "./tiles.js";
import {isSwitchedOff} from "./state.js";

const PAGE = 32; // channels are asked for in pages of this many

export class Card {
  constructor(state, one, act) {
    this.state = state;
    this.one = one;
    this.act = act; // what other parts do: {changed, redraw, next}
    this.isOnScreen = false;
    const page = state.get("page");
    this.isVector = one.shape.length < 2 || one.shape.slice(1).every(size => size === 1);
    this.names = one.id === page.cards.length - 1 ? page.classes : null;
    this.canvas = element("canvas", {"aria-hidden": "true"});
    this.spacer = element("div", {class: "spacer"}, this.canvas);
    this.body = element("div", {
      class: "maps", tabindex: 0, role: "application",
      "aria-label": `${nameOf(one)}, ${one.text}, ${one.shape.join(" by ")}. ` +
        "Arrow keys move the unit, Enter explains it.",
    }, this.spacer);
    this.eye = button("", () => act.hide(one.id), {
      class: "eye", title: "Hide this layer", "aria-label": `Hide ${nameOf(one)}`,
    });
    this.range = element("span", {class: "range"}, "\u00a0");
    this.legend = element("canvas", {class: "legend", width: 64, height: 8, "aria-hidden": "true"});
    const from = one.inputs.length > 1
      ? `from ${one.inputs.map(id => nameOf(page.cards[id])).join(" + ")}` : "";
    this.box = element("article", {class: `card kind-${one.kind}`, "data-card": one.id,
      "aria-label": nameOf(one)},
      element("header", {},
        element("h3", {title: one.text}, nameOf(one)), this.eye,
        element("p", {title: from || one.text}, (nameOf(one).startsWith(one.kind) ? "" : `${one.kind} `) +
          one.shape.join("\u00d7"))),
      this.body,
      element("footer", {}, this.legend, this.range));
    this.tab = button(nameOf(one), () => act.show(one.id), {
      class: "slim", title: `Show ${nameOf(one)}`, "aria-label": `Show ${nameOf(one)}`, hidden: true,
    });
    this.listen();
  }

  listen() {
    const {body, state} = this;
    body.addEventListener("scroll", () => this.changed(), {passive: true});
    body.addEventListener("pointermove", event => {
      if (event.pointerType !== "touch") this.point(this.unitAt(event));
    });
    body.addEventListener("pointerleave", () => this.point(null));
    body.addEventListener("click", event => {
      const unit = this.unitAt(event);
      if (unit) this.choose(unit);
    });
    body.addEventListener("focus", () => {
      if (body.matches(":focus-visible")) this.point(this.keyed ?? this.beginning());
    });
    body.addEventListener("blur", () => this.point(null));
    body.addEventListener("keydown", event => this.key(event));
    state.on(["arrays", "edits", "perMap", "lit", "pointed", "chosen", "overlay"], () => this.redraw());
  }

  beginning() {
    const position = this.one.shape.slice(1).map(size => Math.floor(size / 2));
    return {card: this.one.id, channel: this.shown().from, position};
  }

  key(event) {
    const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    const unit = this.keyed ?? this.beginning();
    const last = this.one.shape[0] - 1;
    if (event.key === "Enter") {
      if (this.state.get("chosen") === unit) {
        this.state.set({entering: this.state.get("entering") + 1});
      }
      this.choose(unit);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      const by = event.key === "PageDown" ? 1 : -1;
      this.move({...unit, channel: Math.max(0, Math.min(last, unit.channel + by))});
    } else if (steps[event.key]) {
      this.move(this.stepped(unit, steps[event.key]));
    } else {
      return;
    }
    event.preventDefault();
  }

  stepped(unit, step) {
    const {shape} = this.one;
    if (this.isVector) {
      const channel = Math.max(0, Math.min(shape[0] - 1, unit.channel + step[0] + step[1]));
      return {...unit, channel};
    }
    const axes = shape.length - 1;
    const position = unit.position.map((at, axis) =>
      Math.max(0, Math.min(shape[axis + 1] - 1, at + step[axis + 2 - axes])));
    return {...unit, position};
  }

  move(unit) {
    this.keyed = unit;
    const {top, bottom} = this.layout.spanOf(unit.channel);
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    const height = this.body.clientHeight;
    if (bottom > this.body.scrollTop + height) this.body.scrollTop = bottom - height;
    this.point(unit);
  }

  choose(unit) {
    this.keyed = unit;
    this.state.set({chosen: unit, tab: this.state.get("tab") === "changes" ? "unit"
      : this.state.get("tab")});
  }

  point(unit) {
    const now = this.state.get("pointed");
    if (unit === now) return;
    if (unit && now && unit.card === now.card && unit.channel === now.channel &&
        String(unit.position) === String(now.position)) return;
    if (!unit && now?.card !== this.one.id) return;
    this.state.set({pointed: unit});
  }

  unitAt(event) {
    const box = this.body.getBoundingClientRect();
    const found = this.layout?.unitAt(
      event.clientX - box.left, event.clientY - box.top + this.body.scrollTop);
    return found && {card: this.one.id, ...found};
  }

  fit(height, width) {
    const make = this.isVector ? barsOf : tilesOf;
    this.layout = make(this.one.shape, height, width, this.names);
    const {layout, body, spacer, box} = this;
    this.height = Math.min(height, layout.height);
    body.style.height = `${this.height}px`;
    if (layout.across) body.dataset.tiles = `${layout.across} of ${layout.size} by ${layout.tall}`;
    spacer.style.height = `${layout.height}px`;
    box.style.width = width ? "" : `${Math.max(152, layout.width + 18)}px`;
    body.style.overflowY = layout.height > height ? "scroll" : "hidden";
    this.redraw();
  }

  changed() {
    this.redraw();
    this.act.changed();
  }

  shown() {
    return this.layout.channelsIn(this.body.scrollTop, this.height);
  }

  wanted() {
    const {from, to} = this.shown();
    const last = this.one.shape[0];
    return {
      card: this.one.id, from: Math.floor(from / PAGE) * PAGE,
      to: Math.min(last, Math.ceil(to / PAGE) * PAGE),
    };
  }

  redraw() {
    if (!this.isOnScreen || this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      if (this.layout && this.box.isConnected) this.draw();
    });
  }

  valueAt(unit) {
    const array = this.array();
    if (!array?.values.length) return null;
    const sizes = this.one.shape.slice(1);
    let at = unit.channel - (array.from ?? 0);
    sizes.forEach((size, axis) => { at = at * size + unit.position[axis]; });
    return at < 0 || at >= array.values.length ? null : array.values[at];
  }

  array() {
    return this.state.get("arrays").get(String(this.one.id));
  }

  draw() {
    const {state, layout, one} = this;
    const pen = sharpContext(this.canvas, layout.width, this.height);
    const array = this.array();
    const palette = array?.palette ?? one.palette;
    const ramp = rampOf(state.get("page"), palette);
    const perMap = state.get("perMap");
    const top = this.body.scrollTop;
    const {from, to} = this.shown();
    const colors = {mark: token("mark"), halo: token("paper"), empty: token("empty"),
      accent: token("accent"), other: colorOf(ramp, 40), ink: token("ink"), muted: token("muted")};
    const filled = array && array.values.length ? array : null;
    if (this.isVector) {
      const scale = filled && scaleOf(palette, filled.low, filled.high);
      layout.paint(pen, {from, to, top, array: filled, scale, colors, placeOn});
    } else {
      const key = perMap ? "perMap" : "own";
      if (filled && (this.painted?.array !== array || this.painted.key !== key ||
          this.painted.ramp !== ramp)) {
        this.painted = {array, key, ramp, atlas: atlasOf(
          filled, layout.rows, layout.columns, palette, ramp, perMap)};
      }
      layout.paint(pen, {from, to, top, colors, first: filled?.from ?? 0,
        atlas: filled && this.painted.atlas, off: this.switchedOff()});
    }
    this.drawRelations(pen, top, from, to, colors);
    this.drawRange(filled, palette, ramp, perMap);
  }

  switchedOff() {
    return new Set(this.state.get("edits").filter(edit =>
      edit.card === this.one.id && isSwitchedOff(edit)).map(edit => edit.channel));
  }

  drawRelations(pen, top, from, to, colors) {
    const {state, one, layout} = this;
    const lit = state.get("lit").get(one.id);
    const isAll = Boolean(lit) && lit.channel === null && lit.spans.every(([first, last], axis) =>
      first === 0 && last === one.shape[axis + 1] - 1);
    this.box.classList.toggle("lit", isAll);
    this.box.dataset.lit = lit ? lit.spans.map(span => span.join("-")).join(" ") || "all" : "";
    const unit = state.get("pointed") ?? state.get("chosen");
    const isOwn = unit?.card === one.id;
    for (let channel = from; channel < to; channel++) {
      if (lit && !isAll && !isOwn && (lit.channel === null || lit.channel === channel)) {
        const box = layout.boxOf(channel, lit.spans);
        frame(pen, box.x, box.y - top, box.width, box.height, colors.mark, colors.halo);
      } else if (isOwn && unit.channel === channel) {
        const box = layout.boxOf(channel, unit.position.map(at => [at, at]));
        frame(pen, box.x, box.y - top, box.width, box.height, colors.mark, colors.halo);
      }
    }
  }

  drawRange(array, palette, ramp, perMap) {
    const {low, high} = array ?? {low: 0, high: 0};
    const text = !array ? "\u00a0" : perMap && !this.isVector
      ? "each map its own" : `${brief(low)} to ${brief(high)}`;
    if (this.range.textContent !== text) this.range.textContent = text;
    this.range.title = array ? `${low} to ${high}` : "";
    if (this.legend.ramp === ramp) return;
    this.legend.ramp = ramp;
    const pen = this.legend.getContext("2d");
    for (let x = 0; x < 64; x++) {
      pen.fillStyle = colorOf(ramp, x * 4);
      pen.fillRect(x, 0, 1, 8);
    }
  }

  describe(unit) {
    const name = unitName(this.state.get("page"), unit);
    const guess = this.names && this.state.get("answer")?.guesses.find(one =>
      one.class === unit.channel);
    if (guess) return {name, value: guess.probability};
    const value = this.valueAt(unit);
    if (value === null || this.array().type !== "float16") return {name, value};
    return {name, value: Number(Math.abs(value) < 2 ** -14 ? value.toFixed(7)
      : value.toPrecision(4))}; // as many digits as were sent
  }
}
