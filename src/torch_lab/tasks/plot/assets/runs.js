// The runs at the side, and the table of what was set and what came out.

function listRuns() {
  const all = make("button", { type: "button", onclick: () => { state.visible = new Set(RUNS.keys()); changed("visible"); } }, "show all");
  const title = make("b", {}, plural(RUNS.length, "run"));
  const list = make("div", { class: "list" });
  const entries = RUNS.map((run, number) => {
    const box = make("input", { type: "checkbox", "aria-label": `show ${run.name}`, onchange: () => choose(number, box.checked) });
    const name = make("b", {}, make("span", { class: "dot" }), run.name);
    const button = make("button", { type: "button", title: `only ${run.name}`, onclick: () => isolate(number) }, name, make("small", {}, subtitle(run)));
    const entry = make("div", { class: "run", color: run.color, onmouseenter: () => point(number), onmouseleave: () => point(null) }, box, button);
    return { entry, box, words: `${run.name} ${subtitle(run)}`.toLowerCase() };
  });
  list.append(...entries.map((each) => each.entry));
  const search = RUNS.length > 12 ? make("input", { type: "search", placeholder: "find a run", "aria-label": "find a run", oninput: () => {
    for (const each of entries) each.entry.hidden = !each.words.includes(search.value.toLowerCase());
  } }) : null;
  const place = document.getElementById("runs");
  place.hidden = false;
  place.classList.add("card");
  place.append(make("div", { class: "top" }, title, all), ...(search ? [search] : []), list);
  const update = () => {
    entries.forEach((each, number) => {
      each.box.checked = state.visible.has(number);
      each.entry.classList.toggle("off", !state.visible.has(number));
    });
    all.disabled = state.visible.size === RUNS.length;
  };
  listeners.push((what) => what === "visible" && update());
  update();
}

// In a few words what sets a run apart.
function subtitle(run) {
  const set = Object.entries(DATA.keys).filter(([key]) => key in run.settings).slice(0, 3).map(([key, name]) => `${name} ${shownNumber(run.settings[key], 3)}`);
  const status = run.status === "completed" ? [] : [run.status];
  return [...status, ...set].join(", ");
}

function finalMetrics() {
  const parts = DATA.charts.flatMap((chart) => chart.parts.filter((part) => part.shown && part.role !== "step"));
  return parts.map((part) => part.metric).filter((metric) => RUNS.some((run) => metric in run.final));
}

function tabulate() {
  const columns = [
    { title: "run", of: (run) => run.name, cell: (run) => ["text", make("span", { class: "dot", color: run.color }), run.name] },
    { title: "status", of: (run) => run.status, cell: (run) => [`text ${run.status}`, run.status], hint: (run) => run.reason },
    ...Object.entries(DATA.keys).map(([key, name], first) => ({ title: name, of: (run) => run.settings[key], group: first ? null : "set differently", hint: (run) => run.settings[key] })),
    ...finalMetrics().map((metric, first) => ({ title: metric, metric, of: (run) => run.final[metric]?.[0], group: first ? null : "last value",
      hint: (run) => run.final[metric] && `least ${shownNumber(run.final[metric][1])}, greatest ${shownNumber(run.final[metric][2])}` })),
  ];
  let order = { by: null, rising: true };
  const body = make("tbody");
  const heads = columns.map((column) => {
    const button = make("button", { type: "button", onclick: () => {
      order = { by: column, rising: order.by === column ? !order.rising : direction(column.metric) <= 0 };
      fill();
    } }, column.title);
    const text = RUNS.every((run) => typeof column.of(run) !== "number");
    return make("th", { scope: "col", class: `${text ? "text" : ""} ${column.group ? "split" : ""}` }, button);
  });
  const fill = () => {
    const rows = [...RUNS.keys()];
    if (order.by) rows.sort((a, b) => compare(order.by.of(RUNS[a]), order.by.of(RUNS[b]), order.rising));
    heads.forEach((head, i) => head.setAttribute("aria-sort", order.by !== columns[i] ? "none" : order.rising ? "ascending" : "descending"));
    body.replaceChildren(...rows.map((number) => row(number, columns)));
  };
  const groups = columns.some((column) => column.group) ? [make("tr", {}, ...grouped(columns))] : [];
  const table = make("table", {}, make("thead", {}, ...groups, make("tr", {}, ...heads)), body);
  const place = document.getElementById("table");
  place.append(make("h2", {}, "Side by side"), make("div", { class: "card scroll" }, table));
  listeners.push((what) => what === "visible" && fill());
  fill();
}

function grouped(columns) {
  const cells = [];
  for (const column of columns) {
    if (!cells.length || column.group) cells.push({ title: column.group || "", span: 0 });
    cells[cells.length - 1].span += 1;
  }
  return cells.map((cell) => make("th", { class: `over ${cell.title ? "split" : ""}`, colspan: cell.span }, cell.title));
}

function row(number, columns) {
  const run = RUNS[number];
  const cells = columns.map((column) => {
    const value = column.of(run);
    const [kind, ...content] = column.cell ? column.cell(run) : [typeof value === "string" && !column.metric ? "text" : "", shownNumber(value)];
    const best = column.metric && isBest(column, value) ? "best" : "";
    return make("td", { class: `${kind} ${best} ${column.group ? "split" : ""}`, title: column.hint?.(run) }, ...content);
  });
  const off = state.visible.has(number) ? "" : "off";
  return make("tr", { class: off, onmouseenter: () => point(number), onmouseleave: () => point(null), ondblclick: () => isolate(number) }, ...cells);
}

function isBest(column, value) {
  const sign = direction(column.metric);
  const values = [...state.visible].map((number) => column.of(RUNS[number])).filter((each) => typeof each === "number");
  if (!sign || new Set(values).size < 2 || typeof value !== "number") return false;
  return value === (sign < 0 ? Math.min(...values) : Math.max(...values));
}

// Numbers, then texts; what has no value comes last either way.
function compare(a, b, rising) {
  const rank = (value) => (typeof value === "number" ? 0 : value == null ? 2 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  const sign = rising ? 1 : -1;
  return sign * (typeof a === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true }));
}

// Of one run there is nothing to compare: all its values, and all that was set.
function describe() {
  const run = RUNS[0];
  const head = ["", "last", "least", "greatest"].map((text) => make("th", { scope: "col" }, text));
  const rows = finalMetrics().map((metric) => make("tr", {}, make("td", {}, metric), ...run.final[metric].map((value) => make("td", {}, shownNumber(value)))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  const other = ([key]) => !key.startsWith("config.");
  const settings = Object.entries(run.settings).sort((a, b) => other(a) - other(b));
  const list = settings.map(([key, value]) => make("div", {}, make("dt", {}, key), make("dd", {}, String(value))));
  document.getElementById("table").append(
    make("h2", {}, "Values"), make("div", { class: "card scroll" }, table),
    make("h2", { class: "next" }, "Hyperparameters"), make("dl", { class: "card settings" }, ...list),
  );
}
