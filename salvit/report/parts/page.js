"use strict";
// What the other scripts of the page share. All text goes in as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const SERIES = 8;
const PHONE = matchMedia("(max-width: 640px)");
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

const byId = (id) => document.getElementById(id);
const show = (value, digits = 3) =>
  value === null || value === undefined || Number.isNaN(value)
    ? "–"
    : value.toFixed(digits).replace(/^-(0\.0*)$/, "$1");
const signed = (value) => (value > 0 ? "+" : "") + show(value);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A name that may be broken after an underscore and the like.
const named = (text) => text.split(/(?<=[_:,/=])/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));

function fill(select, names, chosen = 0) {
  select.replaceChildren(...names.map((name, index) => element("option", { value: index }, name)));
  select.value = chosen;
}
