// Follows runs that go on: asks for their charts every two seconds, and shows what has changed.
"use strict";
(() => {
  const EVERY = 2000;
  const here = location.pathname.replace(/\/?$/, "/");
  const state = document.getElementById("state");
  const all = document.querySelector(".charts");
  let tag = null;
  let lost = null;

  const figures = new Map();
  JSON.parse(document.getElementById("data").textContent)
    .forEach(({ title }, index) => figures.set(title, document.getElementById(`chart-${index}`)));

  /** The figure of a chart: one that is there, or a new one. */
  const figureOf = (chart) => {
    if (!figures.has(chart.title)) {
      const figure = document.createElement("figure");
      figure.innerHTML = "<figcaption><h2></h2></figcaption><p class=\"note\"></p>"
        + "<div class=\"still\"></div><div class=\"live\" hidden></div>";
      figure.querySelector("h2").textContent = chart.title;
      figures.set(chart.title, figure);
    }
    return figures.get(chart.title);
  };

  /** Puts figures in the order of their charts; those of charts that are no more leave. */
  const arrange = (charts) => {
    const wanted = charts.map(figureOf);
    const is = [...all.querySelectorAll("figure")];
    if (is.length !== wanted.length || is.some((figure, index) => figure !== wanted[index])) {
      all.replaceChildren(...wanted);
    }
    charts.forEach((chart, index) => {
      const note = wanted[index].querySelector(".note");
      if (note) note.textContent = chart.note;
    });
  };

  /** Puts text of the server, which has escaped it, in its place. What was open stays open. */
  const fill = (id, html) => {
    const place = document.getElementById(id);
    const name = (details) => details.querySelector("summary").textContent;
    const open = new Set([...place.querySelectorAll("details[open]")].map(name));
    place.innerHTML = html;
    place.querySelectorAll("details").forEach((details) => { details.open = open.has(name(details)); });
  };

  const clock = () => new Date().toLocaleTimeString();

  const follow = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(here + "charts.json", { cache: "no-cache", signal: AbortSignal.timeout(30000) });
      if (!answer.ok) throw new Error(await answer.text());
      const now = answer.headers.get("etag");
      const next = now === tag ? null : await answer.json();
      lost = null;
      state.textContent = `as of ${clock()}`;
      state.classList.remove("lost");
      if (!next) return;
      tag = now;
      document.title = next.title;
      document.querySelector("h1").textContent = next.title;
      ["head", "before", "after"].forEach((id) => fill(id, next[id]));
      arrange(next.charts);
      showCharts(next.charts, figureOf);
    } catch (error) {
      lost ??= clock();
      // A failed fetch says nothing that a reader could use.
      const why = error instanceof TypeError ? "its program has ended, or the connection is lost" : error.message;
      state.textContent = `not reached since ${lost}: ${why}; trying again`;
      state.classList.add("lost");
    }
  };

  const again = async () => {
    await follow();
    setTimeout(again, EVERY);
  };
  document.addEventListener("visibilitychange", follow);
  again();
})();
