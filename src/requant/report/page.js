"use strict";
// What answers on the page: tables that sort, charts, the slider between two pictures. Nothing is fetched.

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function chartColours() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const soft = style.getPropertyValue("--soft").trim();
  const line = style.getPropertyValue("--line").trim();
  const text = { labelColor: soft, titleColor: ink };
  return {
    background: "transparent",
    view: { stroke: line },
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: line, domainColor: soft, tickColor: soft, labelFontSize: 12, titleFontSize: 13 },
    legend: { ...text, labelFontSize: 12, titleFontSize: 12, titleLimit: 300 },
  };
}

function drawCharts() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    window
      .requantEmbed(place, spec, { actions: false, renderer: "svg", config: chartColours() })
      .then(() => place.closest("figure").classList.add("drawn"))
      .catch((error) => console.error(error));
  }
}

function keyOf(cell) {
  const key = cell.dataset.key ?? cell.textContent.trim();
  const number = Number(key);
  return key !== "" && !Number.isNaN(number) ? number : key;
}

function compare(first, second) {
  if (typeof first === typeof second) return first < second ? -1 : first > second ? 1 : 0;
  return typeof first === "number" ? -1 : 1; // figures before what has none
}

function sortBy(button) {
  const heading = button.closest("th");
  const body = heading.closest("table").tBodies[0];
  const index = [...heading.parentNode.children].indexOf(heading);
  const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const rows = [...body.rows].map((row) => [keyOf(row.cells[index]), row]);
  rows.sort((a, b) => (typeof a[0] === typeof b[0] ? direction : 1) * compare(a[0], b[0]));
  body.classList.add("sorted");
  body.append(...rows.map(([, row]) => row));
}

function load(source) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = reject;
    picture.src = source;
  });
}

function difference(first, second, amplification) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [first.naturalWidth, first.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = [first, second].map((picture) => {
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  });
  const [a, b] = pixels.map((each) => each.data);
  for (let i = 0; i < a.length; i += 4) {
    for (let c = i; c < i + 3; c += 1) a[c] = Math.min(255, amplification * Math.abs(a[c] - b[c]));
    a[i + 3] = 255;
  }
  context.putImageData(pixels[0], 0, 0);
  return canvas;
}

function startViewer(viewer) {
  const record = JSON.parse(document.getElementById(viewer.dataset.viewer).textContent);
  const find = (name) => viewer.querySelector(`[data-part="${name}"]`);
  const [sample, left, right, wipe, zoom, differ, stage, notes] = [
    "sample", "left", "right", "wipe", "zoom", "difference", "stage", "notes",
  ].map(find);
  const option = (text) => Object.assign(document.createElement("option"), { value: text, textContent: text });
  sample.append(...record.samples.map((each) => option(each.name)));
  const names = record.samples[0].layers.map((layer) => layer.name);
  for (const select of [left, right]) select.append(...names.map(option));
  left.value = "float model";
  right.value = names.includes(viewer.dataset.chosen) ? viewer.dataset.chosen : names[names.length - 1];

  async function show() {
    const layers = record.samples[sample.selectedIndex].layers;
    const [first, second] = [left, right].map((select) => layers.find((layer) => layer.name === select.value));
    const [below, above] = await Promise.all([first, second].map((layer) => load(layer.source)));
    const shown = differ.checked ? difference(below, above, Number(differ.value)) : above;
    below.alt = `${first.name} of ${sample.value}`;
    if (shown instanceof Image) shown.alt = `${second.name} of ${sample.value}`;
    shown.classList.add("above");
    stage.style.setProperty("--natural", `${below.naturalWidth}px`);
    stage.replaceChildren(below, shown);
    notes.textContent = `${first.name} (${first.note}) on the left, `
      + (differ.checked ? `${differ.value} times the difference to ` : "") + `${second.name} (${second.note}) on the right`;
    move();
  }

  function move() {
    stage.style.setProperty("--wipe", `${wipe.value}%`);
    stage.style.setProperty("--zoom", zoom.value);
  }

  for (const each of [sample, left, right, differ]) each.addEventListener("change", show);
  for (const each of [wipe, zoom]) each.addEventListener("input", move);
  show().catch((error) => console.error(error));
}

document.documentElement.classList.add("scripted");
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sortBy(button));
for (const viewer of document.querySelectorAll("[data-viewer]")) startViewer(viewer);
drawCharts();
dark.addEventListener("change", drawCharts);
