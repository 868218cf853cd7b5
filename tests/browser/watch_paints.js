// Marks each plot once, and notes the time from the last key or click to the next drawing.
() => {
  window.tookMs = window.startedAt = null;
  if (!window.watching) {
    window.watching = true;
    const start = () => { window.startedAt = performance.now(); };
    for (const what of ['keydown', 'click']) document.addEventListener(what, start, true);
  }
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    if (plot.watched || !plot.on) continue;
    plot.watched = true;
    plot.on('plotly_afterplot', () => {
      // a drawing that came before the key is somebody else's
      if (window.tookMs !== null || window.startedAt === null) return;
      window.tookMs = performance.now() - window.startedAt;
    });
  }
}
