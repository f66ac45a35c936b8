"use strict";
// What all of the page needs, and its charts.
const SVG = "http://www.w3.org/2000/svg";
const color = i => `var(--c${i % 6})`;
const make = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter(Boolean));
  return node;
};
const shape = (tag, props, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const percent = v => (v === null || v === undefined ? "–" : `${(100 * v).toFixed(1)} %`);
// A number for the eye; of numbers that are `step` apart, with the digits in which they differ.
const short = (v, step = Infinity) => {
  if (v === 0) return "0";
  const a = Math.abs(v);
  const differ = Math.min(12, Math.floor(Math.log10(a)) - Math.floor(Math.log10(step)) + 1);
  const digits = least => Math.max(least, differ);
  if (a >= 1e15) return v.toExponential(digits(3) - 1).replace(/\.?0+e/, "e");
  if (a >= 1e6) return `${+(v / 1e6).toPrecision(digits(3))}M`;
  if (a >= 1e4) return `${+(v / 1e3).toPrecision(digits(3))}k`;
  return a < 1e-3 ? v.toExponential(digits(1) - 1) : String(+v.toPrecision(digits(4)));
};
// 10 000, with spaces that keep it on one line.
const grouped = v =>
  v < 1e4 ? String(v) : v.toLocaleString("en", { maximumFractionDigits: 9 }).replaceAll(",", "\u00a0");
const time = s =>
  s < 180
    ? `${s.toFixed(0)} s`
    : s < 10800
      ? `${(s / 60).toFixed(1)} min`
      : `${(s / 3600).toFixed(1)} h`;
const ticks = (low, high, count) => {
  const raw = (high - low) / count,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(m => m * power >= raw * 0.999);
  const found = [];
  // By number, since a small step may vanish in a large sum.
  const first = Math.ceil(low / step - 1e-9);
  for (let i = 0; i <= 2 * count && (first + i) * step <= high + step * 1e-9; i++)
    found.push((first + i) * step || 0);
  return found;
};
// Ticks, their texts, and what is taken off these and said in the label: a round number, where they
// would be long.
const axis = (low, high, count) => {
  const marks = ticks(low, high, count),
    width = high - low;
  const step = marks.length > 1 ? marks[1] - marks[0] : width;
  const unit = 10 ** Math.ceil(Math.log10(width));
  const large = Math.max(Math.abs(low), Math.abs(high)) / width;
  const narrow = large > 2e3 || (large > 20 && marks.some(t => short(t, step).length > 6));
  const offset = narrow ? Math.round((low + high) / 2 / unit) * unit : 0;
  const size = grouped(Math.abs(offset));
  const label = offset ? ` ${offset < 0 ? "+" : "−"} ${size}` : "";
  return { marks, step, label, text: t => short(t - offset, step) };
};
const toggle = (label, pressed, act) =>
  make("button", { type: "button", "aria-pressed": pressed, text: label, onclick: act });

// A chart: series of [x, y] points over common axes, where [null, null] is a gap and an axis of a
// whole turn is in degrees; the pointer or the arrow keys show the values.
function chart({
  title,
  x,
  y,
  series,
  log = false,
  form = short,
  fill = null,
  top = null,
  wide = false,
  turn = false,
}) {
  const figure = make("figure", {
    tabindex: 0,
    role: "img",
    "aria-label": `${title}: ${y} against ${x}`,
  });
  const shown = series.filter(s => s.points.length);
  const good = v => v !== null && (!log || v > 0);
  const all = shown.flatMap(s => s.points.filter(p => good(p[1])));
  if (!all.length) {
    figure.append(make("p", { class: "note", text: "Nothing to show yet." }));
    return figure;
  }
  // One unit is one pixel, so that its text is as large as all other text.
  const room = document.getElementById("main").clientWidth - 34;
  const W = Math.max(280, wide || room < 800 ? room : (room - 16) / 2),
    H = wide ? 340 : 280,
    L = 68,
    R = 12,
    T = 10,
    B = 42;
  let x0 = Infinity,
    x1 = -Infinity,
    y0 = Infinity,
    y1 = -Infinity;
  for (const [a, b] of all) {
    x0 = Math.min(x0, a);
    x1 = Math.max(x1, a);
    y0 = Math.min(y0, b);
    y1 = Math.max(y1, b);
  }
  if (fill === null && !log && y0 > 0 && y0 < y1 / 2) y0 = 0;
  if (top !== null && !log) {
    y0 = 0;
    y1 = Math.max(top, y1);
  }
  if (turn) [x0, x1] = [-180, 180];
  if (x0 === x1) x1 = x0 + 1;
  if (y0 === y1) {
    y0 -= Math.abs(y0) / 2 || 1;
    y1 += Math.abs(y1) / 2 || 1;
  }
  if (log) {
    y0 = 10 ** Math.floor(Math.log10(y0));
    y1 = 10 ** Math.ceil(Math.log10(y1) - 1e-9);
    if (y0 === y1) y1 *= 10;
  }
  const px = v => L + ((v - x0) / (x1 - x0)) * (W - L - R);
  const f = log ? Math.log10 : v => v;
  const py = v => H - B - ((f(v) - f(y0)) / (f(y1) - f(y0))) * (H - T - B);
  const svg = shape("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": true });
  const below = axis(x0, x1, W > 420 ? 5 : 3),
    beside = axis(y0, y1, 5);
  if (turn) below.marks = [-180, -90, 0, 90, 180];
  const plain = form === short && !log;
  for (const t of below.marks) {
    svg.append(shape("line", { class: "axis", x1: px(t), x2: px(t), y1: T, y2: H - B }));
    svg.append(shape("text", { x: px(t), y: H - B + 16, "text-anchor": "middle" }, below.text(t)));
  }
  const marks = log
    ? ticks(f(y0), f(y1), 4)
        .filter(Number.isInteger)
        .map(t => 10 ** t)
    : beside.marks;
  for (const t of marks) {
    svg.append(shape("line", { class: "axis", x1: L, x2: W - R, y1: py(t), y2: py(t) }));
    svg.append(
      shape(
        "text",
        { x: L - 6, y: py(t) + 4, "text-anchor": "end" },
        plain ? beside.text(t) : form === percent ? `${short(100 * t, 100 * beside.step)} %` : form(t),
      ),
    );
  }
  const middle = (L + W - R) / 2;
  svg.append(shape("text", { x: middle, y: H - 6, "text-anchor": "middle" }, x + below.label));
  svg.append(
    shape(
      "text",
      {
        x: 12,
        y: (T + H - B) / 2,
        "text-anchor": "middle",
        transform: `rotate(-90 12 ${(T + H - B) / 2})`,
      },
      plain ? y + beside.label : y,
    ),
  );
  shown.forEach(s => {
    const points = s.points.filter(p => good(p[1]));
    const drawn = turn ? s.points : points;
    const path = drawn
      .map((p, i) => {
        if (!good(p[1])) return "";
        const follows = i && good(drawn[i - 1][1]);
        return `${follows ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`;
      })
      .join("");
    if (s.area && points.length) {
      const base = (H - B).toFixed(1),
        ends = [points[points.length - 1][0], points[0][0]].map(v => px(v).toFixed(1));
      svg.append(
        shape("path", {
          d: `${path}L${ends[0]} ${base}L${ends[1]} ${base}Z`,
          fill: s.color,
          opacity: 0.18,
        }),
      );
    }
    svg.append(
      shape("path", {
        d: path,
        fill: "none",
        stroke: s.color,
        "stroke-width": 1.8,
        "stroke-dasharray": s.dash || "none",
        "stroke-linejoin": "round",
      }),
    );
    if (points.length <= 40 && !s.bars && !turn)
      for (const p of points)
        svg.append(shape("circle", { cx: px(p[0]), cy: py(p[1]), r: 2.5, fill: s.color }));
  });
  const cursor = shape("line", {
    x1: 0,
    x2: 0,
    y1: T,
    y2: H - B,
    stroke: "currentColor",
    opacity: 0,
  });
  svg.append(cursor);
  const tip = make("div", { class: "tip", hidden: "", role: "status" });
  const xs = [...new Set(all.map(p => p[0]))].sort((a, b) => a - b);
  let at = -1;
  const show = index => {
    at = Math.max(0, Math.min(xs.length - 1, index));
    const v = xs[at];
    tip.replaceChildren(
      make("div", { text: `${x}: ${short(v, below.step / 100)}` }),
      ...shown
        .map(s => {
          let best = null;
          for (const p of s.points)
            if (good(p[1]) && (!best || Math.abs(p[0] - v) < Math.abs(best[0] - v))) best = p;
          if (!best) return null;
          const value = plain ? short(best[1], beside.step / 100) : form(best[1]);
          return make("div", { text: `${s.name}: ${value}`, style: `color:${s.color}` });
        })
        .filter(Boolean),
    );
    cursor.setAttribute("x1", px(v));
    cursor.setAttribute("x2", px(v));
    cursor.setAttribute("opacity", 0.4);
    tip.hidden = false;
    const share = px(v) / W;
    tip.style.top = "0.5rem";
    tip.style.left = share < 0.5 ? `${100 * share + 3}%` : "auto";
    tip.style.right = share < 0.5 ? "auto" : `${100 * (1 - share) + 3}%`;
  };
  const hide = () => {
    tip.hidden = true;
    cursor.setAttribute("opacity", 0);
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const v = x0 + ((((event.clientX - box.left) / box.width) * W - L) / (W - L - R)) * (x1 - x0);
    let best = 0;
    xs.forEach((c, i) => {
      if (Math.abs(c - v) < Math.abs(xs[best] - v)) best = i;
    });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  figure.addEventListener("keydown", event => {
    if (event.key === "ArrowRight") {
      show(at + 1);
      event.preventDefault();
    }
    if (event.key === "ArrowLeft") {
      show(at < 0 ? xs.length - 1 : at - 1);
      event.preventDefault();
    }
    if (event.key === "Escape") hide();
  });
  figure.addEventListener("blur", hide);
  figure.append(svg, tip);
  return figure;
}
const legend = series =>
  make(
    "ul",
    { class: "legend" },
    ...series
      .filter(s => s.points.length)
      .map(s => {
        const key = shape("svg", { viewBox: "0 0 28 10", "aria-hidden": true });
        key.append(
          shape("line", {
            x1: 0,
            x2: 28,
            y1: 5,
            y2: 5,
            stroke: s.color,
            "stroke-width": 3,
            "stroke-dasharray": s.dash || "none",
          }),
        );
        return make("li", {}, key, s.name);
      }),
  );
const zip = (xs, ys) => xs.map((v, i) => [v, ys[i]]).filter(p => p[1] !== null);
