"use strict";
// What all parts of the page share: the data, what is shown of it, and how things are made.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const ONE = RUNS.length === 1;
const PALETTE = ["#4269d0", "#ff725c", "#3ca951", "#efb118", "#a463f2", "#6cc5b0"];
const WINDOWS = [0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5];

const state = {
  axis: DATA.axis,
  smooth: DATA.smooth,
  logarithmic: false,
  visible: new Set(RUNS.keys()),
  near: null,
  parts: {},
  words: "",
};
const listeners = [];

// Calls each part of the page again; `what` is the name of what has changed.
function changed(what) {
  for (const listener of listeners) listener(what);
}

// An element; texts are only ever texts.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "color") element.style.setProperty("--color", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function drawing(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Plotly reads some HTML in its texts: here none is meant.
function verbatim(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function shownNumber(value, digits = 4) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const text = value.toPrecision(digits);
  return text.includes("e") ? text.replace(/\.?0*e\+?/, "e") : text.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function plural(count, noun) {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}

// Whether less is better (-1) or more (1) of a metric; 0: nobody knows.
function direction(metric) {
  return DATA.directions[metric] || 0;
}

// Show one run alone; all of them where it is alone already.
function isolate(run) {
  const alone = state.visible.size === 1 && state.visible.has(run);
  state.visible = alone ? new Set(RUNS.keys()) : new Set([run]);
  changed("visible");
}

function choose(run, on) {
  if (on) state.visible.add(run);
  else state.visible.delete(run);
  changed("visible");
}

// Lift a run out of the others; not at once, since a hand that passes over many means none of them.
let pointing;
function point(run) {
  clearTimeout(pointing);
  pointing = setTimeout(() => {
    if (state.near === run) return;
    state.near = run;
    changed("near");
  }, 80);
}
