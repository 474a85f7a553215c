// Which units are connected with the one that is pointed at: looked up, never computed.

const WITHIN = ["activation", "pooling", "normalization", "add"]; // map by map

export class Relations {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.tables = new Map();
    state.on(["pointed", "chosen"], () => this.light());
  }

  async light() {
    const {state} = this;
    const unit = state.get("pointed") ?? state.get("chosen");
    this.latest = unit;
    if (!unit || !(state.get("page").can ?? []).includes("fields")) {
      state.set({lit: new Map()});
      return;
    }
    let tables = this.tables.get(unit.card);
    if (!tables) {
      try {
        tables = await this.source.fields(unit.card);
      } catch {
        tables = {before: {}, after: {}};
      }
      this.tables.set(unit.card, tables);
    }
    if (this.latest !== unit) return;
    const lit = new Map();
    const {before, after} = this.sameMap(unit.card);
    for (const [side, same] of [["before", before], ["after", after]]) {
      for (const [card, axes] of Object.entries(tables[side] ?? {})) {
        const spans = spansAt(axes, unit.position);
        if (spans) {
          lit.set(Number(card),
            {side, spans, channel: same.has(Number(card)) ? unit.channel : null});
        }
      }
    }
    state.set({lit});
  }

  // Cards whose map of the same number is the only one that is connected.
  sameMap(card) {
    const {cards} = this.state.get("page");
    const alone = (start, next, passes) => {
      const found = new Map([[start, true]]);
      const waiting = [start];
      while (waiting.length) {
        const at = waiting.shift();
        for (const other of next(at)) {
          const same = found.get(at) && passes(at, other) &&
            cards[other].shape[0] === cards[at].shape[0];
          const known = found.get(other);
          if (known === undefined || (known && !same)) {
            found.set(other, same);
            waiting.push(other);
          }
        }
      }
      return new Set([...found].filter(([, same]) => same).map(([id]) => id));
    };
    return {
      before: alone(card, at => cards[at].inputs, at => WITHIN.includes(cards[at].kind)),
      after: alone(card, at => cards.filter(one => one.inputs.includes(at)).map(one => one.id),
        (_, other) => WITHIN.includes(cards[other].kind)),
    };
  }
}

function spansAt(axes, position) {
  const spans = [];
  for (let axis = 0; axis < axes.length; axis++) {
    const at = position[axis] ?? 0;
    const [first, last] = [axes[axis].first[at], axes[axis].last[at]];
    if (first == null || first < 0 || last < first) return null;
    spans.push([first, last]);
  }
  return spans; // empty: all of it
}
