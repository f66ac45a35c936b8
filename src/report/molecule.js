// What a molecule's page has besides: maps of the backbone, and its atoms with their bonds.

// The colours of elements of Corey, Pauling and Koltun as Jmol has them, and all others.
const ELEMENTS = {
  H: "#f4f4f4", C: "#8a8f94", N: "#4060f0", O: "#e8352e", F: "#7fd14f", P: "#f08a24",
  S: "#e6c72e", Cl: "#32c83c", Br: "#a83232", I: "#9440a0", Si: "#d8b48c", B: "#f0a8a0",
};
const elementColor = symbol => ELEMENTS[symbol] || "#d070b0";
// viridis at equal steps, from dark to bright.
const VIRIDIS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
];
const viridis = share => {
  const place = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1),
    i = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const mix = k => Math.round(VIRIDIS[i][k] + (VIRIDIS[i + 1][k] - VIRIDIS[i][k]) * (place - i));
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
};

// Draws the molecule's atoms at `places` ([x, y, z] about the origin, z to the eye) on the canvas
// `g`: `at` gives pixels, and `depth` goes from 0, far, to 1.
function ballAndStick(g, molecule, places, at, depth, outline) {
  const items = [];
  for (const [a, b] of molecule.bonds)
    items.push({ z: (places[a][2] + places[b][2]) / 2 - 1e-3, a, b });
  places.forEach((place, atom) => items.push({ z: place[2], atom }));
  items.sort((p, q) => p.z - q.z);
  const line = (from, to, width, style) => {
    g.lineWidth = width;
    g.strokeStyle = style;
    g.beginPath();
    g.moveTo(...from);
    g.lineTo(...to);
    g.stroke();
  };
  g.lineCap = "round";
  for (const { z, a, b, atom } of items) {
    const near = depth(z);
    if (atom === undefined) {
      const [from, to] = [at(places[a]), at(places[b])];
      const middle = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2],
        width = 3 + 3 * near;
      line(from, to, width + 1.5, outline);
      line(from, middle, width, elementColor(molecule.symbols[a]));
      line(middle, to, width, elementColor(molecule.symbols[b]));
    } else {
      const symbol = molecule.symbols[atom];
      g.beginPath();
      g.arc(...at(places[atom]), (symbol === "H" ? 3.5 : 6) + 3 * near, 0, 7);
      g.fillStyle = elementColor(symbol);
      g.fill();
      g.lineWidth = 1;
      g.strokeStyle = outline;
      g.stroke();
    }
  }
}

// A map of φ and ψ.
function map(title, values, bins, top) {
  const canvas = make("canvas", {
    role: "img",
    "aria-label": `free energy over phi and psi: ${title}`,
    class: "map",
  });
  const size = 300,
    scale = Math.max(1, devicePixelRatio || 1),
    [L, T, plane] = [46, 8, 244];
  canvas.width = canvas.height = size * scale;
  const paint = () => {
    const style = getComputedStyle(document.documentElement),
      ink = name => style.getPropertyValue(name).trim();
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, size, size);
    const cell = plane / bins;
    values.forEach((value, i) => {
      if (value === null || value > top) return;
      g.fillStyle = viridis(value / top);
      const x = L + Math.floor(i / bins) * cell,
        y = T + plane - ((i % bins) + 1) * cell;
      // A little over its edge, so that no lines show between cells.
      g.fillRect(x, y, cell + 0.4, cell + 0.4);
    });
    g.strokeStyle = ink("--soft");
    g.lineWidth = 1;
    g.strokeRect(L + 0.5, T + 0.5, plane, plane);
    g.fillStyle = ink("--soft");
    g.font = "12px system-ui, sans-serif";
    for (let degrees = -180; degrees <= 180; degrees += 90) {
      const share = (degrees + 180) / 360,
        text = String(degrees).replace("-", "−");
      g.textAlign = "center";
      g.fillText(text, Math.min(L + share * plane, size - 14), T + plane + 17);
      g.textAlign = "right";
      g.fillText(text, L - 6, T + plane - share * plane + 4);
    }
    g.textAlign = "center";
    g.fillText("φ / degrees", L + plane / 2, T + plane + 34);
    g.save();
    g.translate(11, T + plane / 2);
    g.rotate(-Math.PI / 2);
    g.fillText("ψ / degrees", 0, 0);
    g.restore();
  };
  repaint.push(paint);
  paint();
  return make("figure", {}, make("figcaption", { text: title }), canvas);
}

function colorBar(top, unit) {
  const steps = VIRIDIS.map((_, i) => viridis(i / (VIRIDIS.length - 1))).join(", ");
  return make(
    "p",
    { class: "note" },
    "0 ",
    make("span", { class: "bar", style: `background: linear-gradient(to right, ${steps})` }),
    ` ${short(top)} ${unit}: free energy −ln p; blank: more, or no samples`,
  );
}

// Maps, torsions, bond lengths and angles.
function molecular(run, distribution) {
  const { molecule } = run.pictures;
  if (!molecule) return [];
  const { maps, torsions, lengths, angles, unit, length_unit } = molecule;
  const profiles = torsion => {
    const series = [
      ["reference", 4, "none"],
      ["flow", 3, "none"],
      ["reweighted", 0, "none"],
    ].map(([name, c, dash]) => ({ name, color: color(c), dash, points: torsion[name] }));
    return make(
      "div",
      {},
      make("h3", { text: `Torsion ${torsion.label}` }),
      chart({
        title: `torsion ${torsion.label}`,
        x: "degrees",
        y: `free energy / ${unit}`,
        series,
        turn: true,
      }),
      legend(series),
    );
  };
  const shown = list => list.filter(item => item.picture.flow.length);
  return [
    ...maps.map(m =>
      make(
        "div",
        { class: "wide" },
        make("h3", { text: `Backbone of ${m.label}` }),
        make(
          "div",
          { class: "maps" },
          map("flow", m.flow, m.bins, m.top),
          map("flow, reweighted", m.reweighted, m.bins, m.top),
          m.reference.length ? map("reference", m.reference, m.bins, m.top) : null,
        ),
        colorBar(m.top, unit),
      ),
    ),
    ...torsions.map(profiles),
    ...shown(lengths).map(n => distribution(`Bonds ${n.label}`, n.picture, length_unit ? `length / ${length_unit}` : "length")),
    ...shown(angles).map(n => distribution(`Angles ${n.label}`, n.picture, "angle / degrees")),
  ];
}
