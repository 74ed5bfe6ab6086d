// The five architectures, a step at a time, in float32 as in NumPy: every value is rounded when it
// is stored in a Float32Array. What the parameters are called is the public format of model files.
"use strict";

const sigmoid = (v) => Math.tanh(v / 2) / 2 + 0.5;

class Network {
  // data: {arch, shapes: [[path, shape], ...], weights}, the weights in base64, one after another.
  constructor(data) {
    const bytes = Uint8Array.from(atob(data.weights), (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer); // little-endian on any machine
    let offset = 0;
    this.params = {};
    for (const [path, shape] of data.shapes) {
      const values = new Float32Array(shape.reduce((a, b) => a * b));
      for (let k = 0; k < values.length; k++, offset += 4) values[k] = view.getFloat32(offset, true);
      this.params[path] = { values, rows: shape[0] };
    }
    const architecture = ARCHITECTURES[data.arch];
    this.output = architecture.output;
    this.layers = architecture.layers.map(([kind, ...names]) => new kind(this, ...names));
    const embedding = this.params["embed/W"];
    this.embedding = embedding.values;
    this.nUnits = embedding.values.length / embedding.rows;
  }

  reset() {
    for (const layer of this.layers) layer.reset();
  }

  // Read an id; give the logits of what comes next.
  step(id) {
    let x = this.embedding.subarray(id * this.nUnits, (id + 1) * this.nUnits);
    for (const layer of this.layers) x = layer.step(x);
    return this.linear(this.output, x);
  }

  // What each layer remembers; of an LSTM its cells.
  states() {
    return this.layers.map((layer) => layer.state.slice());
  }

  // W x, and b if there is one.
  linear(name, x) {
    const { values: W, rows } = this.params[`${name}/W`];
    const b = this.params[`${name}/b`];
    const y = new Float32Array(rows);
    for (let row = 0, k = 0; row < rows; row++) {
      let sum = 0;
      for (let column = 0; column < x.length; column++, k++) sum += W[k] * x[column];
      y[row] = b ? Math.fround(sum) + b.values[row] : sum;
    }
    return y;
  }
}

class Layer {
  constructor(network, ...names) {
    this.network = network;
    this.names = names;
    this.reset();
  }

  get nUnits() {
    return this.network.params["embed/W"].values.length / this.network.params["embed/W"].rows;
  }

  reset() {
    this.state = new Float32Array(this.nUnits);
    this.first = true; // in a first step the terms that hold a state are absent, their biases too
  }

  // The sum of what comes from below and from the step before.
  sum(inward, recurrent, x, h) {
    const a = this.network.linear(inward, x);
    if (this.first) return a;
    const b = this.network.linear(recurrent, h);
    return a.map((value, k) => value + b[k]);
  }
}

class Elman extends Layer {
  step(x) {
    this.state = this.sum(...this.names, x, this.state).map(Math.tanh);
    this.first = false;
    return this.state;
  }
}

// One product of input and state; its first half is the output, its second the next state.
class Concat extends Layer {
  step(x) {
    const joined = new Float32Array(x.length + this.state.length);
    joined.set(x);
    joined.set(this.state, x.length);
    const y = this.network.linear(this.names[0], joined).map(Math.tanh);
    this.state = y.slice(x.length);
    return y.slice(0, x.length);
  }
}

class LSTM extends Layer {
  reset() {
    super.reset();
    this.h = new Float32Array(this.nUnits);
  }

  step(x) {
    const [name] = this.names;
    const gates = this.sum(`${name}/upward`, `${name}/lateral`, x, this.h);
    this.state = this.state.map((c, k) => {
      const [a, i, f] = gates.subarray(4 * k, 4 * k + 3); // interleaved, unit by unit
      return sigmoid(i) * Math.tanh(a) + sigmoid(f) * c;
    });
    this.h = this.state.map((c, k) => sigmoid(gates[4 * k + 3]) * Math.tanh(c));
    this.first = false;
    return this.h;
  }
}

class GRU extends Layer {
  step(x) {
    const [name] = this.names;
    const gate = (letter) => this.sum(`${name}/W_${letter}`, `${name}/U_${letter}`, x, this.state);
    const [r, z] = [gate("r").map(sigmoid), gate("z").map(sigmoid)];
    const kept = this.state.map((h, k) => r[k] * h);
    const a = this.sum(`${name}/W`, `${name}/U`, x, kept).map(Math.tanh);
    this.state = this.state.map((h, k) => h + z[k] * (a[k] - h));
    this.first = false;
    return this.state;
  }
}

const BLOCKS = ["r1", "r2", "r3"];
const ARCHITECTURES = {
  rnn: { layers: [[Elman, "l1", "r1"]], output: "l2" },
  rnn2: { layers: BLOCKS.map((name) => [Elman, `${name}/l`, `${name}/r`]), output: "l5" },
  rnn3: { layers: BLOCKS.map((name) => [Concat, `${name}/l`]), output: "l5" },
  lstm: { layers: [[LSTM, "l1"], [LSTM, "l2"]], output: "l3" },
  gru: { layers: [[GRU, "l1"]], output: "l2" },
};

const softmax = (logits) => {
  const largest = Math.max(...logits);
  const weights = Array.from(logits, (value) => Math.exp(value - largest));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
};

// The smallest of the likeliest ids, as models/generation.py takes it.
const mostLikely = (logits) => logits.indexOf(Math.max(...logits));
