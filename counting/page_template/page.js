// The page: what is shown of the network, and what a visitor can do with it.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const network = new Network(data);
const sequence = data.cycle ? new Sequence(data.tokens.length, data.ordered) : null;
const $ = (id) => document.getElementById(id);
const KEEP = data.cycle ? 90 : 240; // tokens that are remembered and drawn
const SHOWN = 12; // of a text's vocabulary
const ANSWERS = {
  kept: ["it kept its place.", "var(--negative)"],
  anew: ["it counted anew.", "var(--positive)"],
  lost: ["it lost its way.", "128 128 128"],
};
const dark = matchMedia("(prefers-color-scheme: dark)");

let logits; // of the next token; null before anything is read
let read; // {id, told, lie, mistake, states}, the last KEEP
let layer = 0;
let unit = 0;
let timer = null;
let tally;
let judged; // the lie that has been counted in the tally
let script = []; // of the demonstration

// Running the network.

function readToken(id, marks) {
  logits = network.step(id);
  read.push({ id, ...marks, states: network.states() });
  if (read.length > KEEP) read.shift();
}

function step() {
  const id = sequence ? mostLikely(logits) : sample($("daring").value);
  readToken(id, { mistake: sequence ? sequence.written(id) : false });
  judge();
  draw();
}

// An id drawn from softmax(logits / temperature); at 0 the likeliest.
function sample(temperature) {
  if (!(temperature > 0)) return mostLikely(logits);
  let rest = Math.random();
  const shares = softmax(logits.map((value) => value / temperature));
  const id = shares.findIndex((share) => (rest -= share) < 0);
  return id < 0 ? mostLikely(logits) : id;
}

function tell(ids) {
  for (const id of ids) {
    const expected = mostLikely(logits);
    const lie = sequence ? sequence.told(id, expected) : false;
    readToken(id, { told: true, lie });
  }
  judge();
  draw();
}

function reset() {
  pause();
  script = [];
  network.reset();
  read = [];
  tally = { kept: 0, anew: 0, lost: 0 };
  judged = null;
  if (sequence) {
    sequence.begin();
    for (const id of [...sequence.period, ...sequence.period]) {
      readToken(id, {});
      sequence.goOn(id);
    }
  } else {
    readToken(data.first, {});
  }
  $("verdict").textContent = "Tell it a number that is not due, and here stands what it makes of it.";
  $("verdict").style.removeProperty("--verdict");
  draw();
}

// Say what has become of the last lie.
function judge() {
  const lie = sequence && sequence.lie;
  if (!lie || lie === judged) return;
  const names = (ids) => ids.map((id) => data.tokens[id]).join(" ");
  const told = `Told ${names(lie.told)} in place of ${names([lie.expected])}`;
  const wrote = lie.written.length ? `, it wrote ${names(lie.written)}` : "";
  const [answer, color] = ANSWERS[lie.answer] || ["what will it do?", ""];
  $("verdict").textContent = `${told}${wrote}${lie.answer ? ":" : " …"} ${answer}`;
  $("verdict").style.setProperty("--verdict", color && `rgb(${color})`);
  if (lie.answer) {
    tally[lie.answer]++;
    judged = lie;
  }
}

// Running by itself, for good or, as a demonstration, until a script is done.

function pause() {
  clearTimeout(timer);
  timer = null;
  showRunning();
}

function run() {
  if (timer === null) tick();
  showRunning();
}

function tick() {
  timer = setTimeout(tick, 1000 / $("speed").value);
  const next = script[0];
  if (!next) return step();
  if (next.ready()) {
    script.shift();
    next.act();
  } else {
    step();
  }
}

function showRunning() {
  $("run").textContent = timer === null ? "Run" : "Pause";
  $("run").setAttribute("aria-pressed", String(timer !== null));
}

function demonstrate() {
  pause();
  const { largest, period } = sequence;
  const other = () => ((sequence.last + Math.min(3, largest - 2)) % largest) + 1;
  const runHasEnded = () => sequence.last >= Math.min(3, largest) && !sequence.mayGoOn();
  let steps = 0; // a few, so that one sees it at work; and no more, should it never come to an end
  const ready = () => steps++ > 3 && (runHasEnded() || steps > 2 * period.length);
  script = [
    { ready, act: () => tell([other()]) },
    { ready: () => sequence.lie?.answer, act: pause },
  ];
  run();
}

// Drawing.

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const VISIBLE = new Map([[" ", "␣"], ["\n", "⏎"], ["\t", "⇥"]]); // no object: a token can be "toString"
const visible = (token) => VISIBLE.get(token) || token;

// Viridis, without the end that would be lost on the ground; and what can be read on it.
const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"].map((color) =>
  [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16)),
);

function colorOf(number) {
  const share = (number - 1) / Math.max(1, data.tokens.length - 2);
  const t = 4 * (dark.matches ? 0.35 + 0.65 * share : 0.05 + 0.75 * share);
  const k = Math.min(3, Math.floor(t));
  const mixed = VIRIDIS[k].map((from, c) => from + (t - k) * (VIRIDIS[k + 1][c] - from));
  const light = 0.299 * mixed[0] + 0.587 * mixed[1] + 0.114 * mixed[2] > 130;
  return { fill: `rgb(${mixed.map(Math.round)})`, ink: light ? "#111" : "#fff" };
}

function draw() {
  if (sequence) drawSteps();
  else drawText();
  drawNext();
  if (sequence) drawPath();
  drawUnits();
  drawCurve();
  const { kept, anew, lost } = sequence ? tally : {};
  $("tally").textContent =
    kept + anew + lost > 0
      ? `Lies so far: kept its place ${kept}, counted anew ${anew}, lost its way ${lost}.`
      : "";
}

function drawSteps() {
  const width = $("sequence").clientWidth;
  const column = 22;
  const row = Math.min(18, 170 / sequence.largest);
  const count = Math.min(KEEP, Math.floor(width / column) - 1);
  const top = 12;
  const y = (id) => top + (sequence.largest - id) * row;
  const tile = (id, k, kind, mark, says) => {
    const { fill, ink } = colorOf(id);
    const x = k * column;
    const [paint, color] = kind === "due" ? ["", ""] : [`fill="${fill}"`, `style="fill:${ink}"`];
    return `<g class="${kind}" data-token="${id}"><title>${says}</title>
      <rect x="${x + 1}" y="${y(id)}" width="${column - 2}" height="${row - 2}" rx="3" ${paint}/>
      <text x="${x + column / 2}" y="${y(id) + row / 2 - 1}" ${color}>${data.tokens[id]}</text>
      <text class="mark" x="${x + column / 2}" y="${y(id) - 7}">${mark}</text></g>`;
  };
  const shown = read.slice(-count);
  const tiles = shown.map(({ id, told, lie, mistake }, k) => {
    if (lie) return tile(id, k, "lie", "▼", `${id}, told: a lie`);
    if (told) return tile(id, k, "told", "▾", `${id}, told`);
    return tile(id, k, mistake ? "mistake" : "", mistake ? "×" : "", mistake ? `${id}, a mistake` : id);
  });
  const due = mostLikely(logits);
  if (due > 0) tiles.push(tile(due, shown.length, "due", "", `${due}, what it will write`));
  const height = y(1) + row;
  const label = `The last numbers: ${shown.slice(-20).map(({ id }) => id).join(" ")}`;
  $("sequence").innerHTML = `<svg role="img" aria-label="${label}" height="${height}"
    viewBox="0 0 ${width} ${height}">${tiles.join("")}</svg>`;
}

function drawText() {
  const between = data.characters ? "" : " ";
  const words = read.map(({ id, told }) => {
    const text = escape(data.tokens[id]) + between;
    return told ? `<span class="told">${text}</span>` : text;
  });
  const due = escape(visible(data.tokens[mostLikely(logits)]));
  $("sequence").innerHTML = `<p>${words.join("")}<span class="due">${due}</span></p>`;
}

function drawNext() {
  const shares = softmax(logits);
  const best = mostLikely(logits);
  let ids = data.tokens.map((_, id) => id);
  if (sequence) ids = ids.slice(1);
  else ids = ids.sort((a, b) => shares[b] - shares[a]).slice(0, SHOWN);
  const focused = [...$("next").children].indexOf(document.activeElement);
  while ($("next").children.length < ids.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.innerHTML = '<span class="share"></span><span class="bar"></span><span></span>';
    button.addEventListener("click", () => tell([Number(button.dataset.id)]));
    $("next").append(button);
  }
  ids.forEach((id, k) => {
    const button = $("next").children[k];
    const percent = Math.round(100 * shares[id]);
    const [share, bar, name] = button.children;
    const token = visible(data.tokens[id]);
    button.dataset.id = id;
    button.className = id === best ? "likeliest" : "";
    button.setAttribute("aria-label", `Tell it ${token}; it expects that with ${percent} %`);
    share.textContent = percent >= 1 ? percent : "";
    bar.style.height = `${(sequence ? 62 : 45) * shares[id]}%`;
    name.textContent = token;
  });
  if (focused >= 0) $("next").children[focused].focus();
}

// Of a layer's state, on the two axes along which it moves most during a period.
function project(state, { mean, axes }) {
  return axes.map((axis) => axis.reduce((sum, a, k) => sum + a * (state[k] - mean[k]), 0));
}

let curves; // by layer: the numbers of the two periods, their points, and where those lie

function drawPath() {
  const width = Math.max(220, Math.min(420, $("path").clientWidth));
  const height = 0.85 * width;
  const margin = 22;
  const { ids, points, middle, size } = (curves ||= trueCurves())[layer];
  const scale = Math.min(...size.map((extent, k) => ([width, height][k] - 2 * margin) / extent));
  const at = ([a, b]) => [width / 2 + scale * (a - middle[0]), height / 2 - scale * (b - middle[1])];
  const places = points.map(at);
  const dots = places.map(([x, y], k) => {
    const [fromX, fromY] = places[k - 1] || places.at(-1);
    const { fill } = colorOf(ids[k]);
    return `<line x1="${fromX}" y1="${fromY}" x2="${x}" y2="${y}" stroke="${fill}" stroke-width="1.2"
      opacity=".7"/><circle cx="${x}" cy="${y}" r="3" fill="${fill}"/>`;
  });
  const labels = data.tokens.slice(1).map((token, k) => {
    const own = places.filter((_, place) => ids[place] === k + 1);
    const [x, y] = own[Math.floor(own.length / 4)];
    const far = Math.hypot(x - width / 2, y - height / 2) || 1;
    const [dx, dy] = [(13 * (x - width / 2)) / far, (13 * (y - height / 2)) / far];
    return `<text x="${x + dx}" y="${y + dy}" style="fill:${colorOf(k + 1).fill}">${token}</text>`;
  });
  const inside = ([x, y]) => [Math.min(width - 9, Math.max(9, x)), Math.min(height - 9, Math.max(9, y))];
  const about = data.layers[layer];
  const recent = read.slice(-8).map(({ states }) => inside(at(project(states[layer], about))));
  const [x, y] = recent.at(-1);
  $("path").innerHTML = `<svg role="img" aria-label="The path of the state of layer ${layer + 1}"
    viewBox="0 0 ${width} ${height}">${dots.join("")}${labels.join("")}
    <polyline class="trail" points="${recent.map((point) => point.join()).join(" ")}"/>
    <circle class="now" cx="${x}" cy="${y}" r="8"/>
    <circle class="centre" cx="${x}" cy="${y}" r="2.5"/></svg>`;
}

// The states of two true periods after one, read by a network of its own.
function trueCurves() {
  const reader = new Network(data);
  const ids = [];
  const states = [];
  [...Array(3)].flatMap(() => sequence.period).forEach((id, place) => {
    reader.step(id);
    if (place < sequence.period.length) return;
    ids.push(id);
    states.push(reader.states());
  });
  return data.layers.map((about, k) => {
    const points = states.map((state) => project(state[k], about));
    const ends = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [low, high] = [Math.min, Math.max].map((end) => ends.map((values) => end(...values)));
    return {
      ids,
      points,
      middle: low.map((value, axis) => (value + high[axis]) / 2),
      size: low.map((value, axis) => high[axis] - value || 1),
    };
  });
}

function drawUnits() {
  const { order, limit } = data.layers[layer];
  const state = read.at(-1).states[layer];
  const units = $("units");
  while (units.children.length < order.length) {
    const button = document.createElement("button");
    const place = units.children.length;
    button.type = "button";
    button.tabIndex = -1;
    const choose = () => {
      unit = place;
      drawUnits();
      drawCurve();
    };
    button.addEventListener("pointerenter", choose);
    button.addEventListener("focus", choose);
    units.append(button);
  }
  order.forEach((number, place) => {
    const button = units.children[place];
    const share = Math.min(1, Math.abs(state[number]) / limit);
    const color = state[number] < 0 ? "--negative" : "--positive";
    button.style.setProperty("--value", `rgb(var(${color}) / ${share.toFixed(3)})`);
    button.setAttribute("aria-label", `Unit ${number}: ${state[number].toFixed(2)}`);
    button.setAttribute("aria-pressed", String(place === unit));
    button.tabIndex = place === unit ? 0 : -1;
  });
}

function drawCurve() {
  const { order, correlations, limit } = data.layers[layer];
  const number = order[unit];
  const width = $("curve").clientWidth;
  const height = 90;
  const values = read.map(({ states }) => states[layer][number]);
  const largest = Math.max(limit, ...values.map(Math.abs));
  const x = (k) => 4 + ((width - 8) * k) / (KEEP - 1);
  const y = (value) => (height / 2) * (1 - (0.92 * value) / largest);
  const points = values.map((value, k) => `${x(k).toFixed(1)} ${y(value).toFixed(1)}`);
  const lies = read.map(({ lie }, k) =>
    lie ? `<line class="lie" x1="${x(k)}" x2="${x(k)}" y1="0" y2="${height}"/>` : "",
  );
  $("curve").innerHTML = `<svg role="img" aria-label="Unit ${number} over the last tokens"
    height="${height}" viewBox="0 0 ${width} ${height}">
    <line x1="0" x2="${width}" y1="${height / 2}" y2="${height / 2}"/>${lies.join("")}
    <path d="M${points.join("L")}"/>
    <circle cx="${x(values.length - 1)}" cy="${y(values.at(-1))}" r="3.5"/></svg>`;
  const follows = correlations
    ? `; it follows the place in a run with a correlation of ${correlations[unit].toFixed(2)}`
    : "";
  $("curve-note").textContent =
    `Unit ${number} over the last ${values.length} tokens, now ${values.at(-1).toFixed(2)}${follows}.`;
}

function showLayers() {
  for (const group of document.querySelectorAll(".layers")) {
    if (data.layers.length < 2) continue;
    group.replaceChildren(
      ...data.layers.map((_, k) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `Layer ${k + 1}`;
        button.addEventListener("click", () => {
          layer = k;
          for (const other of document.querySelectorAll(".layers button")) {
            const same = other.textContent === button.textContent;
            other.setAttribute("aria-pressed", String(same));
          }
          draw();
        });
        button.setAttribute("aria-pressed", String(k === layer));
        return button;
      }),
    );
  }
}

// What is said beside each part.

function write() {
  const { arch, layers, tokens } = data;
  const size = `${layers.length === 1 ? "one layer" : `${layers.length} layers`} of ${network.nUnits} units`;
  const held = arch === "lstm" ? "the cells" : "the units";
  if (sequence) {
    const runs = "runs like 3 3 3 or 5 5 5 5 5, each number as often as it says";
    let learnt = "1 2 2 3 3 3 4 4 4 4 …, each number as often as it says";
    if (data.ordered === false) learnt = `${runs}, in random order`;
    if (data.ordered === null) learnt = `${runs}; its older file does not say in which order`;
    $("about").textContent =
      `This recurrent network (${arch}, ${size}) has learnt to go on with ${learnt}. It reads its own ` +
      "prediction and predicts the next. Does it count, or does it know its place by heart? " +
      "Let it run, then tell it a number that is not due, and see whether it believes you.";
    $("told-note").textContent =
      "The latest numbers on the right, larger ones higher; the dashed one is what it will write " +
      "next. ▼ is a lie that you told, × a mistake of its own. It begins with two periods read.";
    $("next-note").textContent =
      "How sure it is of each number, in per cent. Click one to say it in place of the network.";
    $("path-note").textContent =
      `All of ${held}, seen along the two directions in which they move most. The curve is two true ` +
      "periods, a colour for each number; the ring is now. A lie throws it off the curve: where " +
      "does it come back?";
    $("units-note").textContent =
      `The values of ${held}, from blue (negative) to orange (positive), those first that follow ` +
      "best how far a run has come. Point at one to see its curve; a dashed line there is a lie.";
    $("words-label").textContent = "Or type some, as 7 7 7";
    if (tokens.length < 11) $("digits").lastElementChild.textContent = tokens.length - 1;
    else $("digits").hidden = true;
  } else {
    $("about").textContent =
      `This recurrent network (${arch}, ${size}) has learnt a text, token by token. It reads its ` +
      "own prediction and predicts the next. Let it run, or put words into its mouth.";
    $("told-note").textContent =
      "The latest tokens; underlined is what you told it, dashed what is likeliest next. The more " +
      "daring it is, the more often it writes something else.";
    $("next-note").textContent =
      "The likeliest tokens, in per cent. Click one to say it in place of the network.";
    $("units-note").textContent =
      `The values of ${held}, from blue (negative) to orange (positive). Point at one to see its curve.`;
    $("words-label").textContent = "Or type a text";
    for (const id of ["path-card", "demo", "digits", "verdict", "tally"]) $(id).hidden = true;
    $("daring-label").hidden = false;
    document.querySelector("main").className = "text";
    document.querySelector("h1").textContent = "What comes next?";
  }
}

// What can be typed: tokens between spaces, or commas where no token holds one; of a text by
// characters, anything.
function parse(text) {
  const between = data.tokens.some((token) => token.includes(",")) ? /\s+/ : /[\s,]+/;
  const words = data.characters ? [...text] : text.split(between).filter(Boolean);
  const ids = words.map((word) => data.tokens.indexOf(word));
  const unknown = words[ids.findIndex((id) => id < (sequence ? 1 : 0))];
  if (!words.length) throw new Error("Nothing to tell: type a token or more.");
  if (unknown !== undefined) {
    const known = sequence ? `; it knows 1 to ${sequence.largest}` : "";
    throw new Error(`It does not know ${unknown}${known}.`);
  }
  return ids;
}

// What a visitor can do.

$("step").addEventListener("click", () => (pause(), step()));
$("run").addEventListener("click", () => ((script = []), timer === null ? run() : pause()));
$("reset").addEventListener("click", reset);
$("demo").addEventListener("click", demonstrate);
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    tell(parse($("words").value));
    $("words").value = $("refusal").textContent = "";
  } catch (error) {
    $("refusal").textContent = error.message;
  }
});
$("units").addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  event.stopPropagation();
  $("units").children[unit + move]?.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = sequence && !$("digits").hidden && data.tokens.indexOf(event.key);
  if (event.key === "ArrowRight") $("step").click();
  else if (event.key.toLowerCase() === "r") $("run").click();
  else if (event.key === "Escape") $("reset").click();
  else if (digit > 0) tell([digit]);
});
dark.addEventListener("change", draw);
new ResizeObserver(draw).observe(document.querySelector("main"));

write();
showLayers();
reset();
