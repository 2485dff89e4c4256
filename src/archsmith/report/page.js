"use strict";
(() => {
  const style = () => getComputedStyle(document.documentElement);
  const resolve = (node, css) => {
    if (typeof node === "string") {
      const name = /^var\((--[a-z]+)\)$/.exec(node);
      return name ? css.getPropertyValue(name[1]).trim() : node;
    }
    if (Array.isArray(node)) return typeof node[0] === "number" && typeof node[1] !== "string" ? node : node.map((part) => resolve(part, css));
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([key, part]) => [key, resolve(part, css)]));
    return node;
  };
  const axis = (own) => ({
    gridcolor: "var(--grid)", zeroline: false, linecolor: "var(--rule)", ticks: "outside", tickcolor: "var(--rule)",
    ticklen: 4, tickfont: { color: "var(--soft)" }, automargin: true, ...own,
    title: { standoff: 12, font: { color: "var(--soft)", size: 13 }, ...(own && own.title) },
  });
  const draw = (plot) => {
    const figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: "zoom",
      font: { family: getComputedStyle(document.body).fontFamily, color: "var(--ink)", size: 13 },
      margin: { l: 8, r: 12, t: 24, b: 8 },
      legend: { orientation: "h", xref: "container", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom", font: { color: "var(--soft)" } },
      hoverlabel: { bgcolor: "var(--panel)", bordercolor: "var(--rule)", align: "left",
        font: { color: "var(--ink)", size: 12, family: "inherit" } },
      ...figure.layout, xaxis: axis(figure.layout.xaxis), yaxis: axis(figure.layout.yaxis),
    };
    const css = style();
    const config = { displayModeBar: false, responsive: true, doubleClick: "reset+autosize" };
    return Plotly.react(plot, resolve(figure.data, css), resolve(layout, css), config);
  };
  const plots = [...document.querySelectorAll(".plot")];
  const drawAll = () => Promise.all(plots.map(draw)).then(() => { document.documentElement.dataset.drawn = plots.length; });
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.querySelectorAll("select[data-plot]").forEach((chooser) => {
    chooser.addEventListener("change", () => {
      const plot = document.getElementById(chooser.dataset.plot);
      plot.dataset.figure = chooser.value;
      draw(plot);
    });
  });
  document.querySelectorAll("button[data-copy]").forEach((button) => {
    button.addEventListener("click", async () => {
      let done = "Copied";
      try { await navigator.clipboard.writeText(button.dataset.copy); }
      catch { // a page from disk may not touch the clipboard everywhere: mark the text for the keyboard
        const range = document.createRange();
        range.selectNodeContents(button.previousElementSibling);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        done = "Marked";
      }
      button.textContent = done;
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  });
})();
