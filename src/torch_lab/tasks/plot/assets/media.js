// Recorded images and figures, with a slider through the run.

function drawMedia() {
  if (!DATA.media.length) return;
  const place = document.getElementById("media");
  place.hidden = false;
  const left = DATA.left_out ? make("small", {}, ` ${plural(DATA.left_out, "more item")} would make this page too large`) : null;
  place.append(make("h2", {}, "Recorded", left), ...DATA.media.map(groupOf));
}

function groupOf(group) {
  const steps = [...new Set(group.items.map((item) => item.step))].sort((a, b) => a - b);
  const body = make("div", { class: "pictures" });
  const said = make("output");
  const slider = make("input", { type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, "aria-label": `step of ${group.name}`, oninput: () => show() });
  const runs = [...new Set(group.items.map((item) => item.run))];
  const show = () => {
    const step = steps[slider.value];
    said.textContent = `step ${step}`;
    body.replaceChildren(...runs.filter((run) => state.visible.has(run)).map((run) => picturesOf(group, run, step)));
  };
  const header = make("header", {}, make("h3", {}, group.name), ...(steps.length > 1 ? [make("label", {}, slider, " ", said)] : []));
  const card = make("article", { class: "card recorded", "aria-label": group.name }, header, body);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    listeners.push((what) => (what === "visible" || what === "theme") && show());
    show();
  }, { rootMargin: "300px" }).observe(card);
  return card;
}

// What a run recorded last, up to a step.
function picturesOf(group, run, step) {
  const own = group.items.filter((item) => item.run === run);
  const before = own.filter((item) => item.step <= step);
  const moment = (before.length ? before : own.slice(0, 1)).at(-1).batch;
  const items = own.filter((item) => item.batch === moment);
  const title = make("h4", {}, make("span", { class: "dot", color: RUNS[run].color }), ONE ? "" : RUNS[run].name, make("small", {}, `step ${items[0].step}, epoch ${items[0].epoch}`));
  return make("div", { "data-run": run }, title, make("div", { class: "strip" }, ...items.map(pictureOf)));
}

function pictureOf(item) {
  const content = item.image ? imageOf(item) : figureOf(item);
  return make("figure", {}, content, item.caption ? make("figcaption", {}, item.caption) : null);
}

function imageOf(item) {
  const [width, height] = item.size || [0, 0];
  const small = width && Math.max(width, height) < 128;
  const size = small ? { class: "small", width: Math.round((width * 128) / Math.max(width, height)) } : {};
  const image = make("img", { src: item.image, alt: item.caption || "", ...size, onclick: () => enlarge(item) });
  return image;
}

function enlarge(item) {
  const dialog = make("dialog", { onclick: () => dialog.close(), onclose: () => dialog.remove() }, make("img", { src: item.image, alt: item.caption || "" }));
  document.body.append(dialog);
  dialog.showModal();
}

function figureOf(item) {
  const place = make("div", { class: "plotly-figure" });
  const { width, height, template, ...layout } = item.figure.layout;
  const seen = { ...layout, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", font: { ...layout.font, color: look("--text") } };
  requestAnimationFrame(() => Plotly.newPlot(place, structuredClone(item.figure.data), seen, CONFIG).catch(() => place.replaceChildren("this figure can't be drawn here")));
  return place;
}
