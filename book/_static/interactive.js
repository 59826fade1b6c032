/* Figures that a reader can move. helpers/report/interactive.py says what the data are; nothing is asked of any server. */
const make = (tag, properties = {}, ...inside) => {
  const { style = {}, dataset = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.entries(style).forEach(([name, value]) => element.style.setProperty(name, value));
  Object.assign(element.dataset, dataset);
  element.append(...inside);
  return element;
};
const drawn = (tag, attributes, ...inside) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...inside);
  return element;
};
const decimals = (thousandths) => (thousandths / 1000).toFixed(2).replace("-", "−");

/* A picture of the sheet, at a column and a row. */
const place = (index, count) => `${count > 1 ? (100 * index) / (count - 1) : 0}%`;
const picture = (data, column, row) => make("span", { className: "picture", ariaHidden: "true", style: {
  "background-image": `url(${data.sheet})`, "background-size": `${100 * data.size[0]}% ${100 * data.size[1]}%`,
  "background-position": `${place(column, data.size[0])} ${place(row, data.size[1])}` } });
const move = (element, data, column, row) => {
  element.style.backgroundPosition = `${place(column, data.size[0])} ${place(row, data.size[1])}`;
};

/* A slider for numbers, a list for words; `changed` hears the index. */
function control(choice, start, changed) {
  const said = make("output", { textContent: choice.values[start] });
  const input = choice.words
    ? make("select", {}, ...choice.values.map((text, k) => make("option", { value: k, textContent: text })))
    : make("input", { type: "range", min: 0, max: choice.values.length - 1, step: 1 });
  input.value = start;
  const name = make("span", { textContent: choice.name });
  const tell = () => {
    const index = Number(input.value);
    said.textContent = choice.values[index];
    if (!choice.words) input.setAttribute("aria-valuetext", `${choice.name} ${choice.values[index]}`);
    changed(index);
  };
  input.addEventListener("input", tell);
  return { label: make("label", {}, name, input, ...(choice.words ? [] : [said])), tell };
}

/* Where the similarity of systems i and j stands in a list of all pairs, row by row. */
const pairIndex = (i, j, count) => {
  const [a, b] = i < j ? [i, j] : [j, i];
  return a * count - (a * (a + 1)) / 2 + b - a - 1;
};

function pictures(data) {
  const labels = data.blocks.flatMap((block) => block.labels);
  const chosen = data.choices.map(() => 0);
  const compared = data.similarity.length > 0;
  let pointed = 0;
  const status = make("output", { className: "said" });
  status.setAttribute("role", "status");
  const tiles = labels.map((label, row) => {
    const shown = picture(data, 0, row), number = make("span", { className: "number" });
    const tile = make(compared ? "button" : "div", { className: "tile" }, shown,
      make("span", { className: "name", textContent: label }), number);
    if (compared) {
      tile.type = "button";
      tile.addEventListener("click", () => { pointed = row; show(); });
    }
    return { tile, shown, number };
  });
  const show = () => {
    const column = chosen.reduce((sum, index, k) => sum * data.choices[k].values.length + index, 0);
    const mark = Math.round(1000 * data.threshold);
    let same = 0;
    tiles.forEach(({ tile, shown, number }, row) => {
      move(shown, data, column, row);
      if (!compared) return;
      const M = row === pointed ? null : data.similarity[column][pairIndex(row, pointed, labels.length)];
      const passes = M !== null && M > mark;
      same += passes;
      number.textContent = M === null ? "this one" : `${passes ? "✓ " : ""}${decimals(M)}`;
      tile.classList.toggle("same", passes);
      tile.setAttribute("aria-pressed", String(row === pointed));
    });
    if (compared) {
      status.textContent = `Similarity to “${labels[pointed]}”; ✓: the same picture (above ${data.threshold}): `
        + `${same} of ${labels.length - 1}.`;
    }
  };
  const controls = data.choices.map((choice, k) => control(choice, 0, (index) => { chosen[k] = index; show(); }));
  const blocks = [];
  let row = 0;
  data.blocks.forEach((block) => {
    if (block.title) blocks.push(make("p", { className: "block", textContent: block.title }));
    blocks.push(make("div", { className: "tiles" }, ...block.labels.map(() => tiles[row++].tile)));
  });
  controls.forEach((one) => one.tell());
  return [make("div", { className: "controls" }, ...controls.map((one) => one.label)), status, ...blocks];
}

const WIDE = 420, HIGH = 170, LEFT = 34, LOW = 28;

/* The curves over the threshold, and the line that the slider moves. */
function plot(data) {
  const ends = [data.thresholds[0], data.thresholds.at(-1)];
  const x = (t) => LEFT + ((t - ends[0]) / (ends[1] - ends[0])) * (WIDE - LEFT - 8);
  const y = (share) => 8 + (1 - share) * (HIGH - LOW - 8);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", class: "plot" },
    drawn("title", {}, "Share of pairs above the threshold, over the threshold"));
  [0, 0.5, 1].forEach((share) => svg.append(drawn("line", { class: "rule", x1: LEFT, x2: WIDE - 8, y1: y(share), y2: y(share) }),
    drawn("text", { x: LEFT - 6, y: y(share) + 4, "text-anchor": "end" }, String(share))));
  data.thresholds.filter((t) => t % 100 === 0).forEach((t) =>
    svg.append(drawn("text", { x: x(t), y: HIGH - 8, "text-anchor": "middle" }, (t / 1000).toFixed(1))));
  Object.values(data.curves).forEach((values, k) => svg.append(drawn("polyline", { class: `curve curve-${k}`,
    points: values.map((v, i) => `${x(data.thresholds[i]).toFixed(1)},${y(v).toFixed(1)}`).join(" ") })));
  const line = drawn("line", { class: "mark", y1: 8, y2: HIGH - LOW });
  svg.append(line);
  return { svg, to: (t) => { line.setAttribute("x1", x(t)); line.setAttribute("x2", x(t)); } };
}

function threshold(data) {
  const curve = plot(data);
  const shares = Object.keys(data.curves).map((name, k) => {
    const value = make("output", {});
    const key = drawn("svg", { viewBox: "0 0 30 8", class: "key", "aria-hidden": "true" },
      drawn("line", { class: `curve curve-${k}`, x1: 0, x2: 30, y1: 4, y2: 4 }));
    return { value, line: make("div", {}, key, make("span", { textContent: name }), value) };
  });
  const pairs = data.labels.map((label, k) => make("div", { className: "tile pair" },
    make("span", { className: "two" }, picture(data, k, 0), picture(data, k, 1)),
    make("span", { className: "name", textContent: label }), make("span", { className: "number" })));
  const status = make("output", { className: "said" });
  status.setAttribute("role", "status");
  const show = (index) => {
    const t = data.thresholds[index];
    curve.to(t);
    Object.values(data.curves).forEach((values, k) => { shares[k].value.textContent = `${(100 * values[index]).toFixed(1)} %`; });
    let passed = 0;
    pairs.forEach((pair, k) => {
      const passes = data.similarity[k] > t;
      passed += passes;
      pair.classList.toggle("same", passes);
      pair.classList.toggle("other", !passes);
      pair.querySelector(".number").textContent = `${passes ? "✓ " : ""}${decimals(data.similarity[k])}`;
    });
    status.textContent = `At t = ${decimals(t)}, ${passed} of these ${pairs.length} pairs count as the same picture (✓).`;
  };
  const slider = control({ name: "threshold t", values: data.thresholds.map(decimals) }, data.start, show);
  slider.tell();
  return [make("div", { className: "controls" }, slider.label),
    make("div", { className: "sides" }, curve.svg, make("div", { className: "shares" }, ...shares.map((one) => one.line))),
    status, make("div", { className: "tiles" }, ...pairs)];
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".interactive[data-kind]").forEach((holder) => {
    const data = JSON.parse(holder.querySelector("script").textContent);
    holder.append(...{ pictures, threshold }[holder.dataset.kind](data));
    holder.setAttribute("role", "group");
    holder.setAttribute("aria-label", "A figure to move");
    holder.hidden = false;
  });
});
