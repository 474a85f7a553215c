// Lines between cards: whose values each takes; jumps go above the cards between.

const SVG = "http://www.w3.org/2000/svg";

export class Wires {
  constructor(flow, cards) {
    this.flow = flow;
    this.cards = cards;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("class", "wires");
    this.svg.setAttribute("aria-hidden", "true");
    flow.prepend(this.svg);
  }

  draw(shown) {
    this.svg.replaceChildren();
    if (!shown) return;
    const boxes = this.cards.map(({holder}) => ({
      left: holder.offsetLeft, right: holder.offsetLeft + holder.offsetWidth,
      top: holder.offsetTop, y: holder.offsetTop + 24,
    }));
    this.svg.setAttribute("width", String(this.flow.scrollWidth));
    this.svg.setAttribute("height", String(this.flow.scrollHeight));
    const jumps = [];
    for (const {one} of this.cards) {
      for (const from of one.inputs) {
        const [start, end] = [boxes[from], boxes[one.id]];
        const near = (one.column ?? one.id) - (this.cards[from].one.column ?? from) <= 1;
        if (near || start.top !== end.top) this.near(start, end);
        else jumps.push([from, one.id]);
      }
    }
    const ends = []; // the last card of each height that is taken
    for (const [from, to] of jumps) {
      let level = ends.findIndex(end => end <= from);
      if (level < 0) level = ends.length;
      ends[level] = to;
      this.jump(boxes[from], boxes[to], Math.min(level, 3));
    }
  }

  near(start, end) {
    const middle = end.left - 10;
    this.path(`M${start.right} ${start.y}H${middle}V${end.y}H${end.left - 1}`);
    this.arrow(end.left, end.y);
  }

  jump(start, end, level) {
    const high = Math.min(start.top, end.top) - 6 - 5 * level;
    this.path(`M${start.right} ${start.y}h6V${high}H${end.left - 8}V${end.y}H${end.left - 1}`);
    this.arrow(end.left, end.y);
  }

  path(d) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    this.svg.append(path);
  }

  arrow(x, y) {
    const head = document.createElementNS(SVG, "path");
    head.setAttribute("d", `M${x} ${y}l-6 -4v8z`);
    head.setAttribute("class", "head");
    this.svg.append(head);
  }
}
