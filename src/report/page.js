// The page, from the report's numbers.
// The state of the buttons, kept when new data arrive.
const state = {
  x: "step",
  log: false,
  spin: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  sample: 0,
  angle: [0.6, 0.4],
};
const axes = {
  step: ["training steps", c => c.step],
  time: ["training time / min", c => c.seconds.map(s => s / 60)],
  energy: ["energy evaluations", c => c.evaluations],
};

function curves(runs) {
  const section = make("section", { id: "curves" });
  const draw = () => {
    const [label, of] = axes[state.x];
    const several = runs.length > 1;
    const has = key => runs.some(run => run.curves[key].some(v => v !== null));
    const learned = has("validation_nll") || (has("nll") && !has("reverse")),
      weighted = has("reverse") || !has("nll"),
      moved = has("acceptance");
    const series = runs.flatMap((run, i) =>
      [
        ["reverse", "reverse", 0, "none"],
        ["forward", "forward", 1, "6 3"],
        ["after annealing", "annealed", 2, "2 3"],
      ].map(([name, key, k, dash]) => ({
        name: several ? `${run.facts.name}, ${name}` : name,
        color: color(several ? i : k),
        dash,
        points: zip(of(run.curves), run.curves[key]),
      })),
    );
    const extra = (title, key, y, form) => {
      const lines = runs.map((run, i) => ({
        name: several ? run.facts.name : y,
        color: color(i),
        points: zip(of(run.curves), run.curves[key]),
      }));
      return make(
        "div",
        {},
        make("h3", { text: title }),
        chart({ title, x: label, y, series: lines, form }),
      );
    };
    section.replaceChildren(
      make("h2", { text: "How the training went" }),
      make(
        "div",
        { class: "controls", role: "group", "aria-label": "axes" },
        ...Object.entries({ step: "steps", time: "time", energy: "energy evaluations" }).map(
          ([key, text]) =>
            toggle(text, state.x === key, () => {
              state.x = key;
              draw();
            }),
        ),
        toggle("logarithmic", state.log, () => {
          state.log = !state.log;
          draw();
        }),
      ),
      ...(weighted ? sizes(series, label) : []),
      ...runs.flatMap(run =>
        run.remarks.map(text =>
          make("p", { class: "note", text: several ? `${run.facts.name}: ${text}` : text }),
        ),
      ),
      make(
        "div",
        { class: "grid" },
        ...(learned
          ? [
              extra("NLL of validation data", "validation_nll", "NLL / nats"),
              extra("NLL of test data", "nll", "NLL / nats"),
            ]
          : []),
        extra("Loss", "loss", "loss"),
        ...(moved
          ? [
              extra("Acceptance of Hamiltonian moves", "acceptance", "acceptance", percent),
              extra("Leapfrog step size", "step_size", "step size (length)"),
            ]
          : []),
        ...levels(runs),
      ),
      shares(runs),
    );
  };
  draw();
  return section;
}
// Effective sample sizes, for targets whose energy weighs the flow's samples.
function sizes(series, x) {
  const title = "effective sample size";
  return [
    chart({ title, x, y: title, series, log: state.log, form: percent, top: 1, wide: true }),
    legend(series),
    make("p", {
      class: "note",
      text:
        "Reverse: of samples of the flow. Forward: of reference samples, which also shows what " +
        "the flow misses. Point at a curve, or use the arrow keys on it, for values.",
    }),
  ];
}
// Hamiltonian transitions from the flow to the target, in the last evaluation.
function levels(runs) {
  const found = runs.filter(run => run.evaluation && (run.evaluation.annealing || []).length);
  const plot = (title, key, y, form) => {
    const series = found.map(run => ({
      name: runs.length > 1 ? run.facts.name : y,
      color: color(runs.indexOf(run)),
      points: run.evaluation.annealing.map((level, i) => [
        (i + 1) / (run.evaluation.annealing.length + 1),
        level[key],
      ]),
    }));
    return make(
      "div",
      {},
      make("h3", { text: title }),
      chart({ title, x: "way from the flow (0) to the target (1)", y, series, form }),
    );
  };
  return found.length
    ? [
        plot("Acceptance along the annealing path", "acceptance", "acceptance", percent),
        plot("Step sizes along the annealing path", "step_size", "step size (length)"),
      ]
    : [];
}
function shares(runs) {
  const rows = runs
    .map(run => {
      const last = key => {
        const c = run.curves[key];
        return c.length ? c[c.length - 1] || 0 : 0;
      };
      const parts = ["flow", "potential", "overhead"].map(last),
        sum = parts.reduce((a, b) => a + b, 0);
      return (
        sum > 0 &&
        make(
          "tr",
          {},
          make("th", { scope: "row", text: run.facts.name }),
          ...parts.map((p, i) =>
            make("td", { text: i === 2 && p === 0 ? "not recorded" : percent(p / sum) }),
          ),
        )
      );
    })
    .filter(Boolean);
  return (
    rows.length &&
    make(
      "div",
      { class: "scroll" },
      make("h3", { text: "Where the time went" }),
      make(
        "table",
        {},
        make(
          "tr",
          {},
          ...["run", "flow and gradients", "potential", "all else"].map(t =>
            make("th", { scope: "col", text: t }),
          ),
        ),
        ...rows,
      ),
    )
  );
}

function summary(run) {
  const { facts, verdict } = run,
    last = a => (a.length ? a[a.length - 1] : 0);
  const figure = (text, value) =>
    make("div", {}, make("span", { text }), make("b", { text: value }));
  return make(
    "section",
    {},
    make("h2", { text: facts.name }),
    make("p", {
      class: "note",
      text:
        `${facts.target}: ${facts.particles} particles in ${facts.dimension} dimensions. ` +
        facts.description,
    }),
    verdict.figures.length
      ? make("div", { class: "big" }, ...verdict.figures.map(f => figure(f.label, f.value)))
      : make("p", { text: "Not evaluated yet." }),
    ...(verdict.marks || []).map(text => make("p", { class: "warn", text })),
    make("ul", { class: "verdict" }, ...verdict.sentences.map(text => make("li", { text }))),
    make(
      "div",
      { class: "scroll" },
      make(
        "table",
        {},
        ...[
          [
            "trained by",
            `${facts.objective}, ${last(run.curves.step)} of ${facts.steps} steps in ` +
              `${time(last(run.curves.seconds))}, ${short(last(run.curves.evaluations))} ` +
              "energy evaluations",
          ],
          ["flow", facts.flow],
          ["seed", facts.seed],
          ["version", facts.trained_by],
        ].map(([k, v]) =>
          make("tr", {}, make("th", { scope: "row", text: k }), make("td", { text: v })),
        ),
      ),
    ),
    make(
      "details",
      {},
      make("summary", { text: "The recipe with every default" }),
      make("pre", { text: facts.recipe }),
    ),
  );
}

function pictures(run) {
  const p = run.pictures;
  if (!p) return null;
  const kinds = [
    ["reference", 4, true],
    ["flow", 3, false],
    ["reweighted", 0, false],
  ];
  const distribution = (title, picture, x) => {
    const known = kinds.filter(([name]) => p.energy || name !== "reweighted");
    const series = known.map(([name, c, area]) => ({
      name,
      color: color(c),
      area,
      bars: true,
      points: picture[name],
    }));
    return make(
      "div",
      {},
      make("h3", { text: title }),
      chart({ title, x, y: "probability density", series, fill: true }),
      legend(series),
    );
  };
  const weights = [
    { name: "flow samples", color: color(0), area: true, bars: true, points: p.log_weight },
  ];
  const [said, heavy] = run.verdict.weights || [];
  return make(
    "section",
    {},
    make("h2", { text: `${run.facts.name}: ${grouped(p.samples)} samples` }),
    run.evaluation &&
      run.evaluation.samples === p.samples &&
      make("p", {
        class: "note",
        text: "Those on which the reverse effective sample size and log Z above rest.",
      }),
    make(
      "div",
      { class: "grid" },
      p.energy && distribution("Energies", p.energy, "energy U / kT"),
      distribution("Pair distances", p.distance, p.distance_label),
      p.energy && make(
        "div",
        {},
        make("h3", { text: "Log weights" }),
        chart({
          title: "log weights",
          x: "log weight",
          y: "probability density",
          series: weights,
          fill: true,
        }),
        said && make("p", { class: heavy ? "warn" : "note", text: said }),
      ),
      p.drawn.length ? view(run) : null,
      ...molecular(run, distribution),
    ),
  );
}

// Some configurations of the flow beside reference ones, turned by the pointer.
let stopSpinning = [];
function view(run) {
  const { drawn, reference, molecule } = run.pictures,
    d = run.facts.dimension,
    flat = d === 2;
  const canvas = make("canvas", {
    width: 560,
    height: 300,
    role: "img",
    "aria-label": "configurations of the flow, left, and of the reference, right",
  });
  const points = row =>
    Array.from({ length: row.length / d }, (_, i) => [
      row[i * d],
      row[i * d + 1],
      flat ? 0 : row[i * d + 2],
    ]);
  let reach = 1e-9;
  for (const row of [...drawn, ...reference])
    for (const q of points(row)) reach = Math.max(reach, Math.hypot(...q));
  const paint = () => {
    const style = getComputedStyle(document.documentElement),
      ink = name => style.getPropertyValue(name).trim();
    const g = canvas.getContext("2d"),
      [a, b] = flat ? [0, 0] : state.angle;
    g.clearRect(0, 0, 560, 300);
    [
      [drawn, 140, "--c0", run.pictures.energy ? "flow, by weight" : "flow"],
      [reference, 420, "--c4", "reference"],
    ].forEach(([rows, cx, name, label]) => {
      g.fillStyle = ink("--soft");
      g.font = "13px system-ui, sans-serif";
      g.textAlign = "center";
      g.fillText(rows.length ? label : "no reference", cx, 292);
      if (!rows.length) return;
      const scale = 125 / reach,
        turned = points(rows[state.sample % rows.length]).map(([x, y, z]) => {
          const u = x * Math.cos(a) + z * Math.sin(a),
            w = z * Math.cos(a) - x * Math.sin(a);
          return [u, y * Math.cos(b) - w * Math.sin(b), w * Math.cos(b) + y * Math.sin(b)];
        });
      if (molecule) {
        const at = ([x, y]) => [cx + scale * x, 138 - scale * y];
        ballAndStick(g, molecule, turned, at, z => 0.5 + (0.5 * z) / reach, ink("--soft"));
        return;
      }
      turned.sort((p, q) => p[2] - q[2]);
      for (const [x, y, z] of turned) {
        const near = 0.5 + (0.5 * z) / reach;
        g.globalAlpha = flat ? 0.9 : 0.45 + 0.55 * near;
        g.fillStyle = ink(name);
        g.beginPath();
        g.arc(cx + scale * x, 138 - scale * y, flat ? 7 : 5 + 5 * near, 0, 7);
        g.fill();
        g.globalAlpha = 1;
        g.strokeStyle = ink("--card");
        g.stroke();
      }
    });
  };
  let last = null,
    alive = true;
  const turn = now => {
    if (!alive) return;
    if (state.spin && !flat && last !== null) {
      state.angle[0] += (now - last) * 4e-4;
      paint();
    }
    last = now;
    requestAnimationFrame(turn);
  };
  stopSpinning.push(() => {
    alive = false;
  });
  if (!flat) requestAnimationFrame(turn);
  canvas.addEventListener("pointermove", event => {
    if (!event.buttons || flat) return;
    state.angle = [
      state.angle[0] + event.movementX * 0.01,
      state.angle[1] + event.movementY * 0.01,
    ];
    paint();
  });
  const number = make("span", { class: "note" });
  const step = by => {
    state.sample = (state.sample + by + drawn.length) % drawn.length;
    number.textContent = `${state.sample + 1} of ${drawn.length}`;
    paint();
  };
  const spin = toggle("turning", state.spin, () => {
    state.spin = !state.spin;
    spin.setAttribute("aria-pressed", state.spin);
  });
  const box = make(
    "div",
    {},
    make("h3", { text: "Configurations" }),
    make("figure", {}, canvas),
    make(
      "div",
      { class: "controls" },
      make("button", { type: "button", text: "previous", onclick: () => step(-1) }),
      make("button", { type: "button", text: "next", onclick: () => step(1) }),
      number,
      flat ? null : spin,
      make("span", { class: "note", text: flat ? "" : "Drag to turn." }),
    ),
  );
  repaint.push(paint);
  step(0);
  return box;
}
let repaint = [];

function render(report) {
  stopSpinning.forEach(stop => stop());
  stopSpinning = [];
  repaint = [];
  const runs = report.runs;
  const title = runs.length === 1 ? runs[0].facts.name : `${runs.length} runs`;
  document.title = `${title} – boltzflow`;
  document.getElementById("title").textContent = `boltzflow: ${title}`;
  document
    .getElementById("main")
    .replaceChildren(...runs.map(summary), curves(runs), ...runs.map(pictures).filter(Boolean));
  document.getElementById("footer").textContent = report.live
    ? "Updated while it trains. Distributions and configurations come with boltzflow report when " +
      "it is done."
    : `Made by boltzflow ${report.version}. Energies in kT, lengths in the target's unit, ` +
      "logarithms natural.";
}

const theme = document.getElementById("theme"),
  root = document.documentElement;
const dark = () =>
  root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
const mark = () => {
  theme.setAttribute("aria-pressed", dark());
  repaint.forEach(paint => paint());
};
theme.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  mark();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", mark);

const report = JSON.parse(document.getElementById("data").textContent);
let shown = report,
  width = innerWidth;
const draw = news => {
  shown = news;
  render(news);
};
draw(report);
mark();
addEventListener("resize", () => {
  if (innerWidth !== width) {
    width = innerWidth;
    draw(shown);
  }
});
if (report.live) {
  let known = JSON.stringify(report);
  setInterval(async () => {
    try {
      const text = await (await fetch("data.json")).text();
      if (text !== known) {
        known = text;
        draw(JSON.parse(text));
      }
    } catch {
      document.getElementById("footer").textContent =
        "The training does not answer any more; what is shown is its last state.";
    }
  }, 3000);
}
