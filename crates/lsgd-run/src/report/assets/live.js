// Follows runs that go on: asks for their charts every two seconds, and shows what has changed.
"use strict";
(() => {
  const EVERY = 2000;
  document.documentElement.classList.add("follows");
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

  /** What can be scrolled or focused in a part of the page, in order. */
  const reached = (place) => [...place.querySelectorAll("[tabindex], summary, .wide")];

  /**
   * Puts text of the server, which has escaped it, in its place. What was open stays open, what was scrolled
   * stays where it was, and the keyboard focus stays where it was.
   */
  const filled = new Map();
  const fill = (id, html) => {
    if (filled.get(id) === html) return;
    filled.set(id, html);
    const place = document.getElementById(id);
    const name = (details) => details.querySelector("summary").textContent;
    const open = new Set([...place.querySelectorAll("details[open]")].map(name));
    const before = reached(place);
    const scrolled = before.map(({ scrollTop, scrollLeft }) => [scrollTop, scrollLeft]);
    const focused = before.indexOf(document.activeElement);
    place.innerHTML = html;
    place.querySelectorAll("details").forEach((details) => { details.open = open.has(name(details)); });
    const after = reached(place);
    if (after.length !== before.length) return;
    after.forEach((one, index) => { [one.scrollTop, one.scrollLeft] = scrolled[index]; });
    if (focused >= 0) after[focused].focus({ preventScroll: true });
  };

  /** The time, so many milliseconds from now. */
  const clock = (off = 0) => new Date(Date.now() + off).toLocaleTimeString();

  const follow = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(here + "charts.json", { cache: "no-cache", signal: AbortSignal.timeout(30000) });
      lost = null;
      state.classList.remove("lost");
      if (!answer.ok) {
        // There are no runs yet, or none that can be read.
        state.textContent = await answer.text();
        return;
      }
      const now = answer.headers.get("etag");
      const next = now === tag ? null : await answer.json();
      state.textContent = `as of ${clock(-1000 * answer.headers.get("age"))}`;
      if (!next) return;
      tag = now;
      document.title = next.title;
      document.querySelector("h1").textContent = next.title;
      ["head", "before", "after"].forEach((id) => fill(id, next[id]));
      arrange(next.charts);
      showCharts(next.charts, figureOf);
    } catch (error) {
      lost ??= clock();
      state.textContent = `not reached since ${lost}: its program has ended, or the connection is lost; trying again`;
      console.info(error);
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
