// The input: the board, as the network sees it, other inputs, what is done to it.
import {element, button} from "./dom.js";
import {paintPicture, frame, token, rampOf, sharpContext} from "./paint.js";
import {can} from "./state.js";
import {Board} from "./board.js";
import {Guesses} from "./guesses.js";
import {Examples} from "./examples.js";

const SEEN = 96;
const WITHOUT_CAMERA = "Browsers lend the camera only to pages of this machine (127.0.0.1) or " +
  "over https, and this page is neither. Open it on the machine that runs it, or choose a file.";

export class InputColumn {
  constructor(state, source) {
    this.state = state;
    this.page = state.get("page");
    this.isDrawn = this.page.input.kind === "drawing";
    this.guesses = new Guesses(state);
    this.seen = element("canvas", {class: "seen", width: 1, height: 1, role: "img",
      "aria-label": "The input as the network sees it"});
    this.marks = element("canvas", {class: "seen-marks", "aria-hidden": "true"});
    const size = this.page.input.shape.slice(-2).join("\u00d7");
    const sees = element("figure", {class: "sees"},
      element("div", {class: "seen-box"}, this.seen, this.marks),
      element("figcaption", {}, `as the network sees it, ${size}`));
    this.board = this.isDrawn ? new Board(state) : null;
    this.hint = this.isDrawn ? null : element("p", {class: "board-hint"}, can(state, "examples")
      ? "Reading a test image\u2026" : "Drop a picture here");
    if (this.hint) sees.firstChild.append(this.hint);
    this.surface = this.board?.canvas ?? this.seen;
    if (!this.isDrawn) this.seen.tabIndex = 0;
    const answer = element("div", {class: "answer"}, sees, this.guesses.summary);
    const sticky = element("div", {class: `on-top${this.isDrawn ? "" : " picture"}`},
      this.board?.box, answer);
    this.box = element("div", {class: "input-box"},
      element("h2", {}, "Input"), sticky,
      element("div", {class: "input-more"},
        this.board?.tools, element("div", {class: "row"}, this.makeChoosing(), this.makePlacing()), this.guesses.all,
        can(state, "examples") ? new Examples(state, source).box : null));
    this.listen();
    state.on(["arrays", "lit", "overlay"], () => this.redraw());
  }

  makePlacing() {
    if (!this.page.input.centering) return null;
    const box = element("input", {type: "checkbox", checked: true, onchange: () =>
      this.place({centering: box.checked})});
    return element("label", {class: "switch",
      title: "As the training images were: scaled, its center of mass in the middle"},
      box, "Center");
  }

  place(change) {
    this.state.set({placing: {...this.state.get("placing"), ...change}});
  }

  makeChoosing() {
    const file = element("input", {type: "file", accept: "image/*", class: "unseen",
      "aria-label": "Choose a picture", tabindex: -1, onchange: () => this.take(file.files[0])});
    const camera = button("Camera", () => this.photograph(), {title: "Take one picture"});
    return element("div", {class: "tools", role: "group", "aria-label": "Other inputs"},
      button("Picture\u2026", () => file.click(), {title: "Or drop or paste one anywhere"}),
      camera, file);
  }

  listen() {
    addEventListener("paste", event => {
      const item = [...event.clipboardData.files].find(one => one.type.startsWith("image/"));
      if (item) this.take(item);
    });
    addEventListener("dragover", event => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    for (const end of ["dragleave", "drop"]) {
      addEventListener(end, () => document.body.classList.remove("dropping"));
    }
    addEventListener("drop", event => {
      event.preventDefault();
      this.take([...event.dataTransfer.files].find(one => one.type.startsWith("image/")));
    });
    const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    this.surface.addEventListener("keydown", event => {
      const {shift, turn} = this.state.get("placing");
      const step = steps[event.key];
      if (step) this.place({shift: [shift[0] + step[0], shift[1] + step[1]]});
      else if (event.key === "[") this.place({turn: turn - 5});
      else if (event.key === "]") this.place({turn: turn + 5});
      else if (event.key === "0") this.place({shift: [0, 0], turn: 0});
      else return;
      event.preventDefault();
    });
  }

  take(blob) {
    if (blob) this.state.set({input: {kind: "picture", blob}});
  }

  async photograph() {
    let stream;
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new Error(WITHOUT_CAMERA);
      stream = await navigator.mediaDevices.getUserMedia({video: true});
      const video = element("video", {muted: true, playsinline: true});
      video.srcObject = stream;
      await video.play();
      const still = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      still.getContext("2d").drawImage(video, 0, 0);
      this.take(await still.convertToBlob({type: "image/png"}));
    } catch (error) {
      this.state.set({problem: {where: "input", error: new Error(error.message === WITHOUT_CAMERA
        ? WITHOUT_CAMERA : `The camera gives no picture: ${error.message}. Allow it for this ` +
        "page, or choose a file.")}});
    } finally {
      for (const track of stream?.getTracks() ?? []) track.stop();
    }
  }

  redraw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      const arrays = this.state.get("arrays");
      const seen = arrays.get("seen");
      const array = seen ? {...seen, low: 0, high: 255} : arrays.get("0");
      if (array?.values.length) {
        this.hint?.remove();
        paintPicture(this.seen, array, "The input as the network sees it");
      }
      this.drawMarks();
    });
  }

  drawMarks() {
    const side = this.seen.clientWidth || SEEN;
    const pen = sharpContext(this.marks, side, side);
    const [rows, columns] = this.page.input.shape.slice(-2);
    const overlay = this.state.get("overlay");
    if (overlay) {
      const ramp = rampOf(this.page, overlay.low < 0 ? "diverging" : "sequential");
      const bound = Math.max(Math.abs(overlay.low), Math.abs(overlay.high)) || 1;
      const image = new ImageData(columns, rows);
      const pixels = new Uint32Array(image.data.buffer);
      overlay.values.forEach((value, i) => {
        const at = overlay.low < 0 ? (value / bound + 1) * 127.5 : value / bound * 255;
        pixels[i] = (ramp[Math.max(0, Math.min(255, Math.round(at)))] & 0xffffff) |
          Math.min(215, 40 + Math.abs(value) / bound * 175) << 24;
      });
      const still = new OffscreenCanvas(columns, rows);
      still.getContext("2d").putImageData(image, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(still, 0, 0, side, side);
    }
    const unit = this.state.get("pointed");
    const lit = this.state.get("lit").get(0);
    const spans = unit?.card === 0 ? unit.position.map(at => [at, at]) : lit?.spans;
    if (!spans || spans.length < 2) return;
    const [[top, bottom], [left, right]] = spans;
    frame(pen, left / columns * side + 1, top / rows * side + 1,
      Math.max(2, (right - left + 1) / columns * side - 2),
      Math.max(2, (bottom - top + 1) / rows * side - 2), token("mark"), token("paper"));
  }
}
