// Runs on the page beside an explorer: lets its plot fill its box, and gives each slider's handle
// the name and the value that a screen reader reads out.

function nameSliders(box, places) {
  for (const handle of box.querySelectorAll(".noUi-handle")) {
    const row = handle.closest(".widget-inline-hbox");
    const label = row && row.querySelector(".widget-label");
    if (!label) continue;
    const words = label.textContent;
    if (handle.getAttribute("aria-label") !== words) handle.setAttribute("aria-label", words);
    const place = (places[words] || [])[Math.round(handle.getAttribute("aria-valuenow"))];
    if (place && handle.getAttribute("aria-valuetext") !== place) {
      handle.setAttribute("aria-valuetext", place);
    }
  }
}

// A responsive plot listens to the window. That is too little, since a plot drawn before its cell
// is attached measures 0 and falls back to 700 px, and too much, since it also redraws itself at
// width 0 when its cell has been scrolled away. So the plot's listener is taken off the window and
// called from here.
function fitPlots(box) {
  for (const plot of box ? box.querySelectorAll(".js-plotly-plot") : []) {
    const resize = plot._responsiveChartHandler;
    if (!resize) return window.dispatchEvent(new Event("resize"));
    window.removeEventListener("resize", resize);
    if (plot.isConnected && plot.clientWidth > 0) resize();
  }
}

function render({ model, el }) {
  let box = null;
  let width = 0;
  let gone = false;
  const fit = () => fitPlots(box);
  const sized = new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    if (width > 0) fit();
  });
  const changed = new MutationObserver(() => nameSliders(box, model.get("places")));
  const attach = () => {
    box = el.closest(".reclab-explorer");
    if (!box && !gone) requestAnimationFrame(attach);
    if (!box) return;
    sized.observe(box);
    const what = { childList: true, subtree: true, attributeFilter: ["aria-valuenow"] };
    changed.observe(box, what);
    nameSliders(box, model.get("places"));
  };
  document.addEventListener("plotlywidget-after-render", fit);
  attach();
  return () => {
    document.removeEventListener("plotlywidget-after-render", fit);
    sized.disconnect();
    changed.disconnect();
    gone = true;
    box = null;
  };
}

export default { render };
