// Drawing with mouse, finger or pen; undo, eraser, brush.
import {element, button} from "./dom.js";

const SIDE = 280;

export class Board {
  constructor(state) {
    this.state = state;
    this.strokes = [];
    this.erasing = false;
    this.width = 22;
    this.canvas = element("canvas", {
      class: "board", width: SIDE, height: SIDE, tabindex: 0, role: "application",
      "aria-label": "Board to draw on. Arrow keys shift the drawing, the bracket keys turn it.",
    });
    this.pen = this.canvas.getContext("2d", {willReadFrequently: true});
    this.hint = element("p", {class: "board-hint"}, "Draw here");
    this.box = element("div", {class: "board-box"}, this.canvas, this.hint);
    this.tools = this.makeTools();
    this.listen();
    this.redraw();
    state.on(["input"], () => {
      const drawn = state.get("input")?.kind === "drawing";
      this.box.classList.toggle("aside", !drawn && state.get("input") !== null);
      if (!drawn && this.strokes.length) this.forget();
    });
  }

  makeTools() {
    this.eraser = button("Eraser", () => {
      this.erasing = !this.erasing;
      this.eraser.setAttribute("aria-pressed", this.erasing);
    }, {"aria-pressed": "false"});
    const size = element("input", {
      type: "range", min: 8, max: 44, step: 2, value: this.width, "aria-label": "Brush size",
      oninput: () => { this.width = Number(size.value); },
    });
    return element("div", {class: "tools", role: "group", "aria-label": "Drawing"},
      button("Undo", () => this.undo(), {title: "Take back the last stroke (Ctrl+Z)"}),
      button("Clear", () => this.clear()), this.eraser, size);
  }

  listen() {
    const {canvas} = this;
    canvas.addEventListener("pointerdown", event => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({preventScroll: true});
      canvas.setPointerCapture(event.pointerId);
      this.stroke = {erase: this.erasing || event.buttons === 32, width: this.width, points: []};
      this.strokes.push(this.stroke);
      this.add(event);
    });
    canvas.addEventListener("pointermove", event => {
      if (!this.stroke) return;
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) this.add(one);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, () => { this.stroke = null; });
    }
    addEventListener("keydown", event => {
      const typing = event.target.closest?.("input, textarea, select");
      if (event.key === "z" && (event.ctrlKey || event.metaKey) && !typing) this.undo();
    });
  }

  add(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = SIDE / box.width;
    const force = event.pointerType === "pen" ? 0.5 + event.pressure : 1;
    this.stroke.points.push([
      (event.clientX - box.left) * scale, (event.clientY - box.top) * scale, force,
    ]);
    this.line(this.stroke, this.stroke.points.length - 1);
    this.announce();
  }

  line({erase, width, points}, last) {
    const {pen} = this;
    const [x, y, force] = points[last];
    const [fromX, fromY] = points[Math.max(0, last - 1)];
    pen.lineCap = pen.lineJoin = "round";
    pen.strokeStyle = erase ? "#fff" : "#111";
    pen.lineWidth = width * force * (erase ? 1.4 : 1);
    pen.beginPath();
    pen.moveTo(fromX, fromY);
    pen.lineTo(x + (last ? 0 : 0.01), y);
    pen.stroke();
  }

  redraw() {
    this.pen.fillStyle = "#fff";
    this.pen.fillRect(0, 0, SIDE, SIDE);
    for (const stroke of this.strokes) {
      for (let i = 0; i < stroke.points.length; i++) this.line(stroke, i);
    }
    this.hint.hidden = this.strokes.length > 0;
  }

  undo() {
    if (!this.strokes.pop()) return;
    this.redraw();
    this.announce();
  }

  clear() {
    this.forget();
    this.announce();
  }

  forget() {
    this.strokes = [];
    this.redraw();
  }

  announce() {
    this.hint.hidden = this.strokes.length > 0;
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      const {data} = this.pen.getImageData(0, 0, SIDE, SIDE);
      const pixels = new Uint8Array(SIDE * SIDE);
      for (let i = 0; i < pixels.length; i++) pixels[i] = data[4 * i];
      this.state.set({input: {kind: "drawing", pixels, height: SIDE, width: SIDE}});
    });
  }
}
