// What is right in the sequence 1 2 2 3 3 3 ..., and what a network does that is told something
// false. The rules are those of counting/lies.py; nothing here knows of networks or of the page.
"use strict";

class Sequence {
  // ordered: whether another number than the next one is a mistake at the end of a run; null if
  // that is not known, and then it is none.
  constructor(nVocab, ordered) {
    this.period = [];
    for (let number = 1; number < nVocab; number++) {
      for (let count = 0; count < number; count++) this.period.push(number);
    }
    this.largest = nVocab - 1;
    this.ordered = ordered;
    this.begin();
  }

  // At the beginning of a period.
  begin() {
    this.places = [0]; // in the period, of what is due next; several after a lie or a mistake
    this.lie = null;
    this.last = null;
  }

  at(place) {
    return this.period[place % this.period.length];
  }

  // Whether the present run is not at its end, as far as is known.
  mayGoOn() {
    return this.places.some((place) => this.at(place) === this.last);
  }

  isDue(token) {
    return this.places.some((place) => this.at(place) === token) || this.mayBegin(token);
  }

  // Without an order any other number may begin where a run has ended.
  mayBegin(token) {
    const last = this.last;
    const ended = this.places.some((place) => this.at(place) !== last);
    return !this.ordered && ended && token !== last && token > 0;
  }

  // Someone says the next token, where the network expected another. True if it is a lie: not what
  // is due in the period, even where the network has learnt no order.
  told(token, expected) {
    const isLie = !this.places.some((place) => this.at(place) === token);
    const open = this.lie && !this.lie.answer;
    if (open && !this.lie.written.length) this.lie.told.push(token);
    else if (isLie) this.lie = { told: [token], expected, written: [], places: [...this.places] };
    else if (open) this.lie = null; // what the network would have gone on with is not known now
    if (isLie) {
      const next = [...this.places, ...this.places.map((place) => place + 1)];
      this.places = [...new Set([...next, ...this.first(token)])];
      this.last = token;
    } else {
      this.goOn(token);
    }
    return isLie;
  }

  // The network says the next token. True if it is a mistake.
  written(token) {
    const isMistake = !this.isDue(token);
    if (this.lie && !this.lie.answer) {
      this.lie.written.push(token);
      this.lie.answer = this.answer(this.lie);
    }
    this.goOn(token);
    return isMistake;
  }

  goOn(token) {
    const before = this.places.filter((place) => this.at(place) === token);
    if (before.length) this.places = before.map((place) => place + 1);
    else if (this.mayBegin(token)) this.places = this.first(token);
    else this.places = this.anywhere(token);
    this.last = token;
  }

  // After the first of the run of a number; after any of them. Nothing, of a number without a run.
  first(token) {
    return this.anywhere(token).slice(0, 1);
  }

  anywhere(token) {
    return this.period.flatMap((number, place) => (number === token ? [place + 1] : []));
  }

  // "kept", "anew" or "lost", as soon as that is certain; null before.
  answer({ told, written, places }) {
    const ways = places.flatMap((place) => [place, place + told.length]).map((place) => {
      const due = [this.at(place)];
      while (due.at(-1) === due[0]) due.push(this.at(place + due.length));
      return due;
    });
    const agree = (due) => due.slice(0, written.length).every((token, k) => token === written[k]);
    const open = ways.filter(agree);
    if (open.some((due) => written.length >= due.length)) return "kept";
    let anew = "open";
    const runs = [];
    for (const token of [told.at(-1), ...written]) {
      if (runs.length && runs.at(-1)[0] === token) runs.at(-1)[1]++;
      else runs.push([token, 1]);
    }
    const judged = told.at(-1) === 1 ? 2 : 1;
    runs.slice(0, judged).forEach(([number, length], k) => {
      const ended = k < runs.length - 1;
      if (length > number || (ended && length < number)) anew = "refuted";
    });
    if (anew === "open" && runs.length > judged) anew = "shown";
    if (ways.some((due) => agree(due) && written.length < due.length)) return null;
    if (anew === "shown") return "anew";
    return anew === "open" ? null : "lost";
  }
}
