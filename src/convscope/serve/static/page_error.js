// What a source throws when a question cannot be answered.

export class PageError extends Error {
  constructor(message, remedies = [], gone = false) {
    super(message);
    this.remedies = remedies; // [{label, change}]
    this.gone = gone; // nobody answered: ask again later
  }
}
