// Replaces each picture by a chart that can be zoomed and inspected. Without it the pictures stay.
"use strict";
const showCharts = (() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** A number of at most five digits. */
  const shown = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(3);
    return String(+value.toPrecision(size >= 1e5 ? 9 : 5));
  };

  /** A label of an axis. */
  const label = (value) => {
    const size = Math.abs(value);
    const [scale, unit] = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : size >= 1e4 ? [1e3, "k"] : [1, ""];
    const text = size !== 0 && size < 1e-3 ? value.toExponential(0) : String(+(value / scale).toPrecision(6));
    return text + unit;
  };

  /** The points of a series in order of `x`, each place once, without those that have none. */
  const table = (series, x) => {
    const points = series.x[x].map((at, index) => [at, series.y[index]]).filter(([at]) => at !== null);
    points.sort(([one], [other]) => one - other);
    const kept = points.filter(([at], index) => index + 1 === points.length || points[index + 1][0] !== at);
    return [kept.map(([at]) => at), kept.map(([, y]) => y)];
  };

  /** Where series `of` has a value next to place `at`; what lasts until the next place has it before that. */
  const nearest = (lasts) => (plot, of, at) => {
    const values = plot.data[of];
    if (of === 0) return at;
    for (let away = 0; away < values.length; away++) {
      if (at - away >= 0 && values[at - away] !== undefined) return at - away;
      if (!lasts && at + away < values.length && values[at + away] !== undefined) return at + away;
    }
    return at;
  };

  const look = (series, ink, rows) => {
    const color = series.color === "ink" ? ink : series.color;
    const dash = series.gap ? [6, series.gap] : [];
    const value = (plot, at) => (rows.length ? (at == null ? "–" : rows[at]) : shown(at));
    const base = { label: series.name, stroke: color, value, spanGaps: false };
    switch (series.shape) {
      case "band": return { ...base, width: 13, cap: "butt", points: { show: false } };
      case "core": return { ...base, width: 4, cap: "butt", points: { show: false } };
      case "dots": return { ...base, width: 0, paths: () => null, points: { show: true, size: 9, fill: color } };
      default: return { ...base, width: series.color === "ink" ? 3 : 2, dash, points: { size: 5, fill: color } };
    }
  };

  /** Whether a chart has a value that a logarithmic axis can show. */
  const positive = (chart) => !chart.rows.length && chart.series.some((series) => series.y.some((y) => y > 0));

  /** What of a chart its drawing is made for; anything else is its data. */
  const shape = (chart) => JSON.stringify([
    chart.rows, chart.xs, chart.y, positive(chart),
    chart.series.map(({ name, color, gap, shape }) => [name, color, gap, shape]),
  ]);

  /** Makes the chart of a figure. Returns what puts a later state of it in its place. */
  const build = (chart, figure) => {
    const live = figure.querySelector(".live");
    const state = { x: 0, log: false, hidden: new Set() };
    let plot = null;

    const values = () => {
      // A gap reaches to the places next to it, whichever series these are of.
      const data = uPlot.join(chart.series.map((series) => table(series, state.x)), chart.series.map(() => [0, 2]));
      if (state.log) {
        for (const values of data.slice(1)) values.forEach((y, at) => { if (y <= 0) values[at] = null; });
      }
      return data;
    };

    const draw = () => {
      if (plot) plot.destroy();
      const rows = chart.rows;
      const lasts = chart.series.some(({ shape }) => shape === "band" || shape === "core");
      const ink = style("--ink");
      const line = style("--line");
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
      const labels = (_, values) => values.map((value) => (value == null ? "" : label(value)));
      const y = rows.length
        ? { range: () => [-0.6, rows.length - 0.4] }
        : { distr: state.log ? 3 : 1 };
      plot = new uPlot({
        width: live.clientWidth,
        height: rows.length ? 84 + 26 * rows.length : 280,
        scales: { x: { time: false }, y },
        cursor: { drag: { x: true, y: false }, focus: { prox: 24 }, dataIdx: nearest(lasts) },
        focus: { alpha: 0.35 },
        legend: {
          markers: {
            width: 1.5,
            dash: (_, index) => (chart.series[index - 1].gap ? "dashed" : "solid"),
            stroke: (_, index) => look(chart.series[index - 1], ink, rows).stroke,
            fill: "none",
          },
        },
        axes: [
          { ...axis, label: chart.xs[state.x], labelSize: 22, values: labels },
          rows.length
            ? { ...axis, size: 112, splits: () => rows.map((_, row) => row), values: () => rows }
            : { ...axis, label: chart.y, labelSize: 20, size: 58, values: labels },
        ],
        series: [
          { label: chart.xs[state.x], value: (_, at) => shown(at) },
          ...chart.series.map((series) => ({
            ...look(series, ink, rows),
            show: !state.hidden.has(series.name),
          })),
        ],
        hooks: {
          setSeries: [(_, index, change) => {
            if (index == null || change.show == null) return;
            state.hidden[change.show ? "delete" : "add"](chart.series[index - 1].name);
            const toggle = plot.root.querySelectorAll(".u-legend .u-series")[index]?.querySelector("th");
            toggle?.setAttribute("aria-checked", change.show);
          }],
        },
      }, values(), live);
      reach();
    };

    /** Moves or zooms along the horizontal axis by a key; nothing is shown beyond the data. */
    const byKey = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const { min, max } = plot.scales.x;
      const [xs] = plot.data;
      const [first, last] = [xs[0], xs[xs.length - 1]];
      const span = max - min;
      const ranges = {
        "+": [min + span / 4, max - span / 4],
        "=": [min + span / 4, max - span / 4],
        "-": [min - span / 2, max + span / 2],
        ArrowLeft: [Math.max(min - span / 4, first), Math.max(max - span / 4, first + span)],
        ArrowRight: [Math.min(min + span / 4, last - span), Math.min(max + span / 4, last)],
        Home: [first, last],
      };
      const range = ranges[event.key];
      if (!range) return;
      event.preventDefault();
      plot.setScale("x", { min: Math.max(range[0], first), max: Math.min(range[1], last) });
    };

    /** Makes of what only a mouse reaches what a keyboard reaches too. */
    const reach = () => {
      plot.over.tabIndex = 0;
      plot.over.setAttribute("role", "group");
      plot.over.setAttribute("aria-label", `${chart.title}: + and - zoom, the arrows move, Home shows the whole range`);
      plot.over.addEventListener("keydown", byKey);
      plot.root.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
        // The first is the horizontal axis.
        if (index === 0) return;
        const toggle = row.querySelector("th");
        toggle.tabIndex = 0;
        toggle.setAttribute("role", "switch");
        toggle.setAttribute("aria-label", `${chart.series[index - 1].name} in ${chart.title}`);
        toggle.setAttribute("aria-checked", plot.series[index].show);
        toggle.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          toggle.click();
        });
      });
    };

    /** The choices above the chart, and the chart. */
    const furnish = () => {
      const tools = document.createElement("div");
      tools.className = "tools";
      state.x = Math.min(state.x, chart.xs.length - 1);
      if (chart.xs.length > 1) {
        const select = document.createElement("select");
        chart.xs.forEach((name, index) => select.add(new Option(name, index)));
        select.value = state.x;
        select.setAttribute("aria-label", `horizontal axis of ${chart.title}`);
        select.onchange = () => { state.x = +select.value; draw(); };
        const named = document.createElement("label");
        named.append("over ", select);
        tools.append(named);
      }
      state.log &&= positive(chart);
      if (positive(chart)) {
        const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: state.log });
        box.setAttribute("aria-label", `logarithmic axis of ${chart.title}`);
        box.onchange = () => { state.log = box.checked; draw(); };
        const named = document.createElement("label");
        named.append(box, " logarithmic");
        tools.append(named);
      }
      const whole = Object.assign(document.createElement("button"), { type: "button", textContent: "whole range" });
      whole.title = "Drag over the chart to zoom, or press + and - there; a click on a name hides or shows it";
      whole.setAttribute("aria-label", `whole range of ${chart.title}`);
      whole.onclick = draw;
      tools.append(whole);
      live.replaceChildren(tools);
      draw();
    };

    live.hidden = false;
    figure.querySelector(".still").style.display = "none";
    furnish();
    new ResizeObserver(() => {
      if (live.clientWidth && live.clientWidth !== plot.width) plot.setSize({ width: live.clientWidth, height: plot.height });
    }).observe(live);
    dark.addEventListener("change", draw);

    return (next) => {
      const fits = shape(next) === shape(chart);
      chart = next;
      if (!fits) {
        furnish();
        return;
      }
      const [xs] = plot.data;
      const { min, max } = plot.scales.x;
      const zoomed = min > xs[0] || max < xs[xs.length - 1];
      plot.setData(values(), !zoomed);
      if (zoomed) plot.setScale("x", { min, max });
    };
  };

  /** How to show a later state of a chart, by its figure. */
  const known = new WeakMap();

  /** Shows `charts`, each in its figure. */
  return (charts, figureOf) => charts.forEach((chart, index) => {
    const figure = figureOf(chart, index);
    try {
      if (known.has(figure)) known.get(figure)(chart);
      else known.set(figure, build(chart, figure));
    } catch (error) {
      // The picture stays.
      figure.querySelector(".still").style.display = "";
      figure.querySelector(".live").hidden = true;
      console.error(error);
    }
  });
})();
showCharts(
  JSON.parse(document.getElementById("data").textContent),
  (_, index) => document.getElementById(`chart-${index}`),
);
