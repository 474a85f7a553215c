// Asks the source: one question on its way, the newest input wins, nothing is lost.

export class Asker {
  constructor(state, source) {
    this.state = state;
    this.source = source;
    this.busy = false;
    this.stale = false;
    state.on(["input", "placing", "edits"], () => this.renew());
    state.on(["wanted"], () => this.pump());
  }

  renew() {
    this.stale = true;
    this.pump();
  }

  async pump() {
    if (this.busy || this.state.get("gone") || !this.state.get("input")) return;
    this.busy = true;
    this.state.set({busy: true});
    try {
      while (this.stale || this.missing().length) await this.step();
    } catch (error) {
      if (error.gone) this.reconnect();
      else this.state.set({problem: {where: "input", error}});
    } finally {
      this.busy = false;
      this.state.set({busy: false});
    }
  }

  async step() {
    const {state, source} = this;
    if (this.stale) {
      this.stale = false;
      const input = {...state.get("input"), ...state.get("placing")};
      const answer = await source.run(input, state.get("wanted"));
      if (answer) state.set({answer, arrays: answer.arrays, problem: null});
      return;
    }
    const missing = this.missing();
    const {arrays} = await source.values(missing);
    const all = new Map(state.get("arrays"));
    for (const [name, array] of arrays) all.set(name, array);
    for (const {card} of missing) { // never ask twice for what does not come
      if (!all.has(String(card))) all.set(String(card), {shape: [], values: [], low: 0, high: 0});
    }
    state.set({arrays: all});
  }

  missing() {
    const arrays = this.state.get("arrays");
    if (!this.source.values || !this.state.get("answer")) return [];
    return this.state.get("wanted").filter(({card, from, to}) => {
      const array = arrays.get(String(card));
      if (!array) return true;
      const first = array.from ?? 0;
      return array.shape.length > 0 && (from < first || to > first + array.shape[0]);
    });
  }

  reconnect() {
    if (this.state.get("gone")) return;
    this.state.set({gone: true});
    this.stale = true;
    const again = async () => {
      try {
        await this.source.describe();
        this.state.set({gone: false, edits: []});
        this.pump();
      } catch {
        setTimeout(again, 2000);
      }
    };
    setTimeout(again, 1000);
  }
}

// For parts that ask by themselves: what went wrong is shown at `where`.
export async function asked(state, where, question) {
  try {
    const answer = await question();
    if (state.get("problem")?.where === where) state.set({problem: null});
    return answer;
  } catch (error) {
    if (!error.gone) state.set({problem: {where, error}});
    return null;
  }
}
