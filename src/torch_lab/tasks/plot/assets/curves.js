// The charts.

const DASHES = { train: "dot", val: "solid", test: "dashdot", step: "solid", other: "solid" };

// As the Python side does for pictures: what came before counts less the longer ago it was.
function smoothed(values, places, counts, window) {
  if (window <= 0) return values;
  let total = 0, weight = 0, before = null;
  return values.map((value, i) => {
    if (value == null) return null;
    const fading = before === null ? 1 : Math.exp((-3 * Math.max(places[i] - before, 0)) / window);
    const count = counts ? counts[i] : 1;
    total = total * fading + value * count;
    weight = weight * fading + count;
    before = places[i];
    return total / weight;
  });
}

// The first and the last place on an axis that any of the curves has.
function ends(curves, axis) {
  let first = Infinity, last = -Infinity;
  for (const curve of curves) {
    for (const place of DATA.places[curve.at][axis]) {
      if (place < first) first = place;
      if (place > last) last = place;
    }
  }
  return [first, last];
}

function span(chart) {
  const [first, last] = ends(chart.curves, state.axis);
  return last > first ? last - first : 0;
}

// Hours where there are hours: the same unit in all charts.
const LONGEST = Math.max(0, ...DATA.places.map((place) => place.time[place.time.length - 1] || 0));
const [TIME_UNIT, SECONDS] = LONGEST > 7200 ? ["h", 3600] : LONGEST > 180 ? ["min", 60] : ["s", 1];

// Runs that went on from others begin far out on an axis: then it does too.
const FROM_ZERO = Object.fromEntries(["step", "epoch", "time"].map((axis) => {
  const [first, last] = ends(DATA.charts.flatMap((chart) => chart.curves), axis);
  return [axis, first < 0.3 * last];
}));

function partColor(chart, curve) {
  return ONE ? PALETTE[curve.part % PALETTE.length] : RUNS[curve.run].color;
}

function shownParts(chart) {
  return chart.parts.map((part) => state.parts[partKey(part)] ?? part.shown);
}

function partKey(part) {
  return part.role === "other" ? part.metric : part.label;
}

function dash(chart, part) {
  const shown = shownParts(chart);
  const several = chart.parts.filter((each, i) => shown[i] && each.role !== "step").length > 1;
  return several && !ONE ? DASHES[part.role] : "solid";
}

function faded(color, opacity) {
  const value = parseInt(color.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${opacity})`;
}

function traces(chart) {
  const shown = shownParts(chart);
  const unit = state.axis === "time" ? SECONDS : 1;
  const window = (state.smooth * span(chart)) / unit;
  const found = [];
  for (const curve of chart.curves) {
    if (!state.visible.has(curve.run) || !shown[curve.part]) continue;
    const part = chart.parts[curve.part];
    const color = partColor(chart, curve);
    const near = state.near === null || state.near === curve.run || ONE;
    const x = DATA.places[curve.at][state.axis].map((place) => place / unit);
    const common = { type: "scatter", x, opacity: near ? 1 : 0.15, meta: RUNS[curve.run].name };
    if (curve.low) found.push({ ...common, ...band(x, curve), fillcolor: faded(color, 0.18) });
    const smooth = window > 0 && x.length > 2;
    const noisy = !smooth && x.length > 200 && part.role !== "val";
    if (smooth && !curve.low) found.push({ ...common, y: curve.y, mode: "lines", line: { color: faded(color, ONE ? 0.28 : 0.12), width: 1 }, hoverinfo: "skip" });
    const label = ONE ? part.label || chart.title : `${RUNS[curve.run].name}${chart.parts.length > 1 ? ` · ${part.label}` : ""}`;
    found.push({
      ...common,
      y: smooth ? smoothed(curve.y, x, curve.count, window) : curve.y,
      mode: x.length <= 30 ? "lines+markers" : "lines",
      line: { color: noisy && !ONE && chart.parts.length > 1 ? faded(color, 0.55) : color, width: state.near === curve.run && !ONE ? 3 : noisy || part.role === "step" ? (curve.low ? 1.5 : 1) : 2, dash: noisy ? "solid" : dash(chart, part) },
      marker: { color, size: x.length === 1 ? 9 : 4, symbol: x.length === 1 ? "diamond" : "circle" },
      name: verbatim(label),
      customdata: x.map(() => curve.run),
      hovertemplate: "%{y:.5~g}<extra>%{fullData.name}</extra>",
    });
  }
  return found;
}

// The least and greatest of the values that each point stands for.
function band(x, curve) {
  const known = x.map((_, i) => i).filter((i) => curve.low[i] != null && curve.high[i] != null);
  const back = [...known].reverse();
  return {
    x: [...known.map((i) => x[i]), ...back.map((i) => x[i])],
    y: [...known.map((i) => curve.low[i]), ...back.map((i) => curve.high[i])],
    mode: "lines", line: { width: 0 }, fill: "toself", hoverinfo: "skip", hoveron: "points",
  };
}

function look(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function layout(chart, count) {
  const axis = { gridcolor: look("--grid"), linecolor: look("--line"), zeroline: false, automargin: true, tickfont: { color: look("--soft"), size: 11 } };
  const names = { step: "step", epoch: "epoch", time: `time (${TIME_UNIT})` };
  return {
    margin: { l: 46, r: 16, t: 6, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, color: look("--text"), size: 12 },
    showlegend: false,
    hovermode: count <= 8 ? "x unified" : "closest",
    hoverlabel: { namelength: -1, bgcolor: look("--card"), bordercolor: look("--line"), font: { color: look("--text") } },
    xaxis: { ...axis, title: { text: names[state.axis], font: { size: 11, color: look("--soft") }, standoff: 4 }, rangemode: FROM_ZERO[state.axis] ? "tozero" : "normal" },
    yaxis: { ...axis, type: state.logarithmic && positive(chart) ? "log" : "linear", exponentformat: "power" },
    // Zooming stays while runs come and go, and ends with the axis that it was on.
    uirevision: `${state.axis} ${state.logarithmic}`,
  };
}

function positive(chart) {
  return chart.curves.every((curve) => (curve.low || curve.y).every((value) => value == null || value > 0));
}

// Dragging zooms, a double click ends that: no bar of buttons is needed over the curves.
const CONFIG = { responsive: true, displayModeBar: false, doubleClick: "reset" };

class ChartCard {
  constructor(chart) {
    this.chart = chart;
    this.seen = false;
    this.stale = true;
    this.key = make("span", { class: "key" });
    this.plot = make("div", { class: "plot" });
    const larger = small("⤢", "larger or smaller", chart, () => {
      this.card.classList.toggle("wide");
      Plotly.Plots.resize(this.plot);
    });
    const save = small("⤓", "save as a picture", chart, () => this.save());
    const header = make("header", {}, make("h3", {}, chart.title), this.key, make("span", { class: "grow" }), make("span", {}, save, larger));
    this.card = make("article", { class: "card chart", "aria-label": chart.title }, header, this.plot);
  }

  // Drawn when it is looked at: a page may have a hundred.
  see(seen) {
    this.seen = seen;
    this.draw();
  }

  change() {
    this.stale = true;
    this.draw();
  }

  draw() {
    if (!this.seen || !this.stale) return;
    this.stale = false;
    this.legend();
    const found = traces(this.chart);
    const first = !this.plot.data;
    Plotly.react(this.plot, found, layout(this.chart, found.length), CONFIG);
    if (first && !ONE) {
      this.plot.on("plotly_click", (event) => isolate(event.points[0].customdata));
    }
  }

  save() {
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    Plotly.downloadImage(this.plot, { format: "png", scale: 2, width, height, filename: this.chart.title.replace(/[^\w.-]+/g, "_") });
  }

  legend() {
    const shown = shownParts(this.chart);
    const parts = this.chart.parts.map((part, i) => [part, i]).filter(([part, i]) => shown[i] && (part.label || ONE));
    const keys = parts.filter(() => this.chart.parts.length > 1).map(([part, i]) => make("span", {}, sample(part, ONE ? PALETTE[i % PALETTE.length] : look("--soft"), dash(this.chart, part)), part.label || this.chart.title));
    this.key.replaceChildren(...keys);
  }
}

function small(sign, title, chart, onclick) {
  return make("button", { type: "button", class: "small-button", title, "aria-label": `${chart.title}: ${title}`, onclick }, sign);
}

function sample(part, color, dashed) {
  const pattern = { dot: "2 3", dashdot: "6 3 2 3", solid: null }[dashed];
  const line = drawing("line", { x1: 0, x2: 22, y1: 5, y2: 5, stroke: color, "stroke-width": part.role === "step" ? 1.2 : 2, "stroke-dasharray": pattern });
  return drawing("svg", { width: 22, height: 10, "aria-hidden": "true" }, line);
}

const cards = [];

function drawCharts() {
  const grid = make("div", { class: "charts" });
  cards.push(...DATA.charts.map((chart) => new ChartCard(chart)));
  grid.append(...cards.map((card) => card.card));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) cards.find((card) => card.card === entry.target).see(entry.isIntersecting);
  }, { rootMargin: "300px" });
  document.getElementById("curves").append(grid);
  for (const card of cards) watcher.observe(card.card);
  listeners.push((what) => {
    for (const card of cards) {
      const text = [card.chart.title, ...card.chart.parts.map((part) => part.metric)].join(" ").toLowerCase();
      card.card.hidden = !text.includes(state.words);
      card.change();
    }
  });
}
