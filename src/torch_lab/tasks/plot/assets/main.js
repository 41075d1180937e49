// The head of the page, its tools, and the beginning.

function drawHead() {
  document.getElementById("head").append(make("h1", {}, DATA.title), make("p", {}, ONE && RUNS[0].status !== "completed" ? `${RUNS[0].status}, ${DATA.made}` : DATA.made));
}

function choice(title, options, chosen, choose) {
  const buttons = options.map(([value, text]) => {
    const button = make("button", { type: "button", "aria-pressed": value === chosen, onclick: () => {
      for (const each of buttons) each.setAttribute("aria-pressed", each === button);
      choose(value);
    } }, text);
    button.setAttribute("aria-pressed", value === chosen);
    return button;
  });
  return make("div", { class: "choice", role: "group", "aria-label": title }, make("span", {}, ...buttons));
}

function toggle(content, on, choose, title) {
  const button = make("button", { type: "button", class: "switch", title, onclick: () => {
    const next = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", next);
    choose(next);
  } }, ...content);
  button.setAttribute("aria-pressed", on);
  return button;
}

function smoothing() {
  const steps = [...new Set([...WINDOWS, DATA.smooth])].sort((a, b) => a - b);
  const said = make("output");
  const slider = make("input", { type: "range", id: "smooth", min: 0, max: steps.length - 1, value: steps.indexOf(DATA.smooth), oninput: () => {
    state.smooth = steps[slider.value];
    tell();
    changed("smooth");
  } });
  const tell = () => { said.textContent = state.smooth ? `${+(state.smooth * 100).toPrecision(3)} %` : "off"; };
  tell();
  return make("label", { title: "means over what came before, fading out over this share of the axis" }, "smoothing", slider, said);
}

// Train, validate and so on, wherever they are drawn.
function partSwitches() {
  const known = new Map();
  for (const chart of DATA.charts) {
    for (const part of chart.parts) {
      if (chart.parts.length < 2) continue;
      const entry = known.get(partKey(part)) || { part, shown: false };
      entry.shown ||= part.shown;
      known.set(partKey(part), entry);
    }
  }
  if (known.size < 2 || known.size > 8) return [];
  return [...known].map(([key, { part, shown }]) => toggle([sample(part, look("--soft"), ONE ? "solid" : DASHES[part.role]), part.label || part.metric], shown, (on) => {
    state.parts[key] = on;
    changed("parts");
  }, "show or hide in all charts"));
}

function theme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = toggle(["dark"], dark.matches, (on) => set(on), "light or dark");
  const set = (on) => {
    root.dataset.theme = on ? "dark" : "light";
    button.setAttribute("aria-pressed", on);
    changed("theme");
  };
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => set(dark.matches));
  return button;
}

function drawTools() {
  const tools = document.getElementById("tools");
  const find = make("input", { type: "search", placeholder: "find a metric", "aria-label": "find a metric", oninput: () => {
    state.words = find.value.toLowerCase();
    changed("words");
  } });
  const dark = theme();
  tools.append(
    choice("axis", [["step", "step"], ["epoch", "epoch"], ["time", "time"]], state.axis, (axis) => { state.axis = axis; changed("axis"); }),
    smoothing(),
    toggle(["log"], false, (on) => { state.logarithmic = on; changed("logarithmic"); }, "logarithmic values"),
    ...partSwitches(),
    make("span", { class: "grow" }),
    ...(DATA.charts.length > 6 ? [find] : []),
    dark,
  );
}

drawHead();
drawTools();
if (ONE) document.querySelector("main").classList.add("one");
else listRuns();
drawCharts();
drawCoordinates();
if (ONE) describe();
else tabulate();
drawMedia();
