// Parallel coordinates: an axis for each thing that was set differently, and for what came out.

const MANY = 16, TALL = 300, TOP = 50, BOTTOM = 20, MOST_AXES = 12, MOST_METRICS = 4, MOST_WORDS = 14;
const brushes = new Map();

function dimensions() {
  const set = Object.entries(DATA.keys).filter(([key]) => key !== "seed").map(([key, name]) => dimension(name, (run) => run.settings[key]));
  const came = judging().map((metric) => dimension(metric, (run) => run.final[metric]?.[0]));
  const useful = set.filter(Boolean).slice(0, MOST_AXES - MOST_METRICS);
  return [useful, came.filter(Boolean).slice(0, MOST_METRICS)];
}

// The metrics that runs are judged by: not those of training, where there are others.
function judging() {
  const parts = DATA.charts.flatMap((chart) => chart.parts);
  const trained = new Set(parts.filter((part) => part.role === "train").map((part) => part.metric));
  const others = finalMetrics().filter((metric) => !trained.has(metric));
  return others.length ? others : finalMetrics();
}

// Where each run's value lies between 0 and 1; null where the values have no order worth drawing.
function dimension(title, of) {
  const values = RUNS.map(of);
  const known = values.filter((value) => value != null);
  const distinct = new Set(known);
  if (distinct.size < 2) return null;
  if (known.every((value) => typeof value === "number")) {
    const low = Math.min(...known), high = Math.max(...known);
    const logarithmic = low > 0 && high / low >= 30;
    const scale = (value) => (logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const back = (share) => (logarithmic ? low * (high / low) ** share : low + share * (high - low));
    const ticks = distinct.size <= 4 ? [...distinct] : [0, 0.25, 0.5, 0.75, 1].map(back);
    return { title, at: values.map((value) => (value == null ? null : scale(value))), ticks: ticks.map((value) => [scale(value), shownNumber(value)]) };
  }
  const words = [...new Set(known.map((value) => shownNumber(value)))].sort((a, b) => compare(a, b, true));
  if (words.length > MOST_WORDS) return null;
  const scale = (value) => (words.length > 1 ? words.indexOf(shownNumber(value)) / (words.length - 1) : 0.5);
  return { title, at: values.map((value) => (value == null ? null : scale(value))), ticks: words.map((word) => [scale(word), word]) };
}

function drawCoordinates() {
  const [set, came] = RUNS.length > 2 ? dimensions() : [[], []];
  const axes = [...set, ...came];
  if (!set.length || axes.length < 2) return;
  const place = document.getElementById("coordinates");
  const card = make("div", { class: "card" });
  const judge = RUNS.length > MANY && came.length ? { axis: came[0], sign: direction(came[0].title) || 1 } : null;
  const colors = judge ? `; the better ${judge.axis.title}, the stronger` : "";
  const note = make("small", {}, ` drag along an axis to choose runs, click it to choose all again${colors}`);
  place.append(make("h2", {}, "What leads to what", note), card);
  place.hidden = false;
  const render = () => card.replaceChildren(coordinates(axes, card.clientWidth - 18, judge));
  listeners.push((what) => (what === "visible" || what === "theme") && render());
  listeners.push((what) => what === "near" && emphasize(card));
  new ResizeObserver(render).observe(place);
}

function coordinates(axes, width, judge) {
  const side = Math.min(90, width / axes.length / 2);
  const x = (i) => side + (i * (width - 2 * side)) / (axes.length - 1);
  const y = (share) => TOP + (1 - share) * (TALL - TOP - BOTTOM);
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${TALL}`, height: TALL, role: "img", "aria-label": "parallel coordinates of the runs" });
  const good = (number) => (judge.sign > 0 ? judge.axis.at[number] ?? 0 : 1 - (judge.axis.at[number] ?? 1));
  const order = judge ? [...state.visible].sort((a, b) => good(a) - good(b)) : state.visible;
  for (const number of order) svg.append(lineOf(number, axes, x, y, judge ? shade(good(number)) : RUNS[number].color));
  axes.forEach((axis, i) => svg.append(...axisOf(axis, i, x(i), y, width / axes.length)));
  return svg;
}

// Of very many runs colors tell nothing apart: how good they are does.
function shade(share) {
  return `color-mix(in oklab, var(--good-line) ${Math.round(share * 100)}%, var(--bad-line))`;
}

function lineOf(number, axes, x, y, color) {
  const points = axes.map((axis, i) => `${x(i).toFixed(1)},${(axis.at[number] === null ? TALL - 6 : y(axis.at[number])).toFixed(1)}`);
  const title = drawing("title");
  title.textContent = RUNS[number].name;
  return drawing("path", {
    d: `M${points.join("L")}`, style: `stroke: ${color}`, "data-run": number,
    onclick: () => isolate(number), onmouseenter: () => point(number), onmouseleave: () => point(null),
  }, title);
}

function emphasize(card) {
  for (const path of card.querySelectorAll("path")) path.classList.toggle("near", Number(path.dataset.run) === state.near);
}

function axisOf(axis, i, x, y, room) {
  const label = drawing("text", { x, y: 14 + (i % 2) * 15, "text-anchor": "middle" });
  const most = Math.max(8, Math.floor((room * 2) / 7));
  label.textContent = axis.title.length > most ? `${axis.title.slice(0, most - 1)}…` : axis.title;
  const line = drawing("line", { class: "axis", x1: x, x2: x, y1: y(1), y2: y(0) });
  const ticks = axis.ticks.map(([share, text]) => {
    const tick = drawing("text", { class: "tick", x: x + 6, y: y(share) + 4 });
    tick.textContent = text.length > 14 ? `${text.slice(0, 13)}…` : text;
    return tick;
  });
  const brush = brushes.get(axis);
  const chosen = brush ? [drawing("rect", { class: "brush", x: x - 7, width: 14, y: y(brush[1]), height: y(brush[0]) - y(brush[1]) })] : [];
  const grip = drawing("rect", { class: "grip", x: x - 12, width: 24, y: TOP - 8, height: TALL - TOP - BOTTOM + 16 });
  grip.addEventListener("pointerdown", (event) => drag(event, axis, y));
  return [label, line, ...ticks, ...chosen, grip];
}

function drag(event, axis, y) {
  const svg = event.target.ownerSVGElement;
  const share = (each) => Math.min(1, Math.max(0, (y(0) - (each.clientY - svg.getBoundingClientRect().top)) / (y(0) - y(1))));
  const begun = share(event);
  const move = (each) => {
    const range = [begun, share(each)].sort((a, b) => a - b);
    if (range[1] - range[0] < 0.01) brushes.delete(axis);
    else brushes.set(axis, range);
  };
  const end = (each) => {
    move(each);
    removeEventListener("pointerup", end);
    const inside = (number) => [...brushes].every(([each, [low, high]]) => each.at[number] !== null && each.at[number] >= low && each.at[number] <= high);
    state.visible = new Set([...RUNS.keys()].filter(inside));
    changed("visible");
  };
  addEventListener("pointerup", end);
}
