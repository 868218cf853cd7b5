// What a reader sees of each plot: its width and its box's, its words, and the lowest contrast
// (WCAG 2) of a word with what lies behind it.
() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = node => {
    for (let up = node; up; up = up.parentElement) {
      const colour = rgb(getComputedStyle(up).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.9) return colour;
    }
    return [255, 255, 255];
  };
  return Array.from(document.querySelectorAll('.js-plotly-plot')).map(plot => {
    plot.seenAs = plot.seenAs || String(Math.random());
    const svg = plot.querySelector('.main-svg');
    const paper = light(behind(plot));
    const texts = Array.from(plot.querySelectorAll('.main-svg text:not(.bartext)'))
      .filter(text => text.textContent.trim());
    const ratios = texts.map(text => {
      const ink = light(rgb(getComputedStyle(text).fill));
      return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
    return {
      id: plot.seenAs,
      live: !!plot.closest('.reclab-explorer'),
      output: !!plot.closest('.jp-OutputArea-output'),
      plots_in_output: plot.closest('.jp-OutputArea').querySelectorAll('.js-plotly-plot').length,
      width: svg ? svg.getBoundingClientRect().width : 0,
      height: svg ? svg.getBoundingClientRect().height : 0,
      // what stands beside an explorer's plot has its place too
      box: (plot.closest('.reclab-beside') || plot.closest('.jp-OutputArea-output')).clientWidth,
      marks: plot.querySelectorAll('.trace path, .points path, .point path').length,
      words: texts.map(text => text.textContent),
      contrast: ratios.length ? Math.min(...ratios) : 0,
      buttons: Array.from(plot.querySelectorAll('.modebar-btn')).map(
        button => button.getAttribute('data-title')),
    };
  });
}
